//! Sampling: by key, the same everywhere, and lower percentages are parts of higher ones.

use sha2::{Digest, Sha256};
use sidecast::config::raw_shape::{Sample, SampleKey};
use sidecast::config::scalar::{Percent, Text};
use sidecast::http::headers::{HeaderMap, Pairs};
use sidecast::http::names::ReadHeader;
use sidecast::select::sampling::Sampling;

use crate::choices::Choices;
use crate::hold;

/// Thousandths of a percent, so that what is expected can be calculated in whole numbers.
fn thousandths(choices: &mut Choices<'_>) -> u128 {
    let most = *choices.one_of(&[100_000, 1_000, 10]);
    1 + (u128::from(choices.number()) % most)
}

fn sampling(thousandths: u128) -> Sampling {
    let key = SampleKey { header: Text(ReadHeader("x-user".to_owned())) };
    Sampling::from(Sample { percent: Percent(thousandths as f64 / 1_000.0), key: Some(key) })
}

fn law(choices: &mut Choices<'_>) {
    let (one, other) = (thousandths(choices), thousandths(choices));
    let (low, high) = (one.min(other), one.max(other));
    let key = choices.bytes(24);
    let random = choices.number();
    let has_key = !choices.once_in(3);
    let pairs = [("x-other", &b"o"[..]), ("x-user", &key), ("x-user", b"second")];
    let headers = HeaderMap::from(&Pairs::from_iter(pairs.into_iter().filter(|(name, _)| has_key || *name != "x-user")));
    let number = if has_key {
        Sha256::digest(&key).iter().take(8).fold(0, |number, byte| number << 8 | u128::from(*byte))
    } else {
        random.into()
    };
    for part in [low, high] {
        let threshold = (part << 64) / 100_000;
        // A double holds 53 bits of the threshold.
        if number.abs_diff(threshold) > 1 << 13 {
            assert_eq!(
                sampling(part).admits(&headers, || random),
                number < threshold,
                "{part} thousandths of a percent, {key:?}"
            );
        }
    }
    let [in_low, in_high] = [low, high].map(|part| sampling(part).admits(&headers, || random));
    assert!(!in_low || in_high, "in at {low}, out at {high}");
    assert!(sampling(100_000).admits(&headers, || u64::MAX));
}

#[test]
fn a_key_is_in_if_its_number_says_so() {
    hold(96, law);
}
