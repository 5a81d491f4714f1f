//! Laws of what reads what others wrote, each held against a million made-up cases: bodies, headers, answers, configurations. `make
//! fuzz` runs them; `SIDECAST_FUZZ_CASES` says how many cases of each.
//!
//! A case is a row of random bytes, from which decisions are taken: which document, which pointers, where to damage it. So cases
//! get deep into the code, and a case that fails is made smaller. What is right is told by a second way to find it, written here
//! without the code that it judges, or by another library.
mod answers;
mod batches;
mod choices;
mod comparison;
mod configuration;
mod document;
mod documents;
mod encodings;
mod grpc;
mod redaction;
mod request;
mod sampling;
mod selection;
mod shaping;
mod templates;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use self::choices::Choices;

/// Fails unless the law holds for every case, each made of at most so many bytes. A law that does not hold panics.
fn hold(most: usize, law: impl Fn(&mut Choices<'_>)) {
    let cases = std::env::var("SIDECAST_FUZZ_CASES").map_or(1_000_000, |cases| cases.parse().expect("SIDECAST_FUZZ_CASES"));
    let config = ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 4_096, ..ProptestConfig::default() };
    let outcome = TestRunner::new(config).run(&prop::collection::vec(any::<u8>(), 0..most), |bytes| {
        law(&mut Choices::new(&bytes));
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
