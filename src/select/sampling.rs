//! Per-target sampling: admits a percentage of the requests that a target wants, by a key or by chance.
//!
//! With a key, the same key is always admitted or always left out: in every worker, every Envoy, every release, and for every target. Only the key
//! and the percentage decide. A key that a lower percentage admits is also admitted by a higher one.

use sha2::{Digest, Sha256};

use crate::http::headers::HeaderMap;

/// The number of values of 64 bits: 2^64.
const ALL: f64 = 18_446_744_073_709_551_616.0;

/// A percentage of requests to admit.
///
/// The key of a request is the first value of the header that the configuration names. The number of a key is the first 8 bytes of its SHA-256,
/// big-endian. The request is admitted if this number is less than `percent` / 100 * 2^64. Anybody can check that in a shell. For the key `alice`
/// and 25 percent, the threshold is `4000000000000000`:
///
/// ```text
/// $ printf %s alice | sha256sum | cut -c1-16
/// 2bd806c97f0e00af
/// ```
///
/// 2bd8... is less than 4000..., so requests with the key alice are admitted. For a request without the header, a random number decides. An empty
/// value is a key like any other.
///
/// The resolution is that of a double. No percentage is off by more than one part in 2^52 of itself. A percentage so small that it stands for less
/// than one number of 2^64 admits that one. 100 percent admits all requests without reading a key.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Numbers below it are admitted. From 1 to 2^64.
    threshold: u128,
    /// The header that holds the key, in lower case. `None` samples by chance.
    key: Option<String>,
}

impl Sampling {
    /// Samples this percentage of requests, above 0 and up to 100, by the named header or by chance.
    pub fn new(percent: f64, key: Option<String>) -> Self {
        // A whole number is below a fraction exactly if it is below the next whole number.
        let threshold = (percent / 100.0 * ALL).ceil();
        // The conversion saturates, also for NaN.
        Self { threshold: threshold as u128, key }
    }

    /// True if a request is admitted. `random` returns 64 random bits and is called only if chance decides.
    pub fn admits(&self, headers: &HeaderMap, random: impl FnOnce() -> u64) -> bool {
        if self.threshold > u128::from(u64::MAX) {
            return true;
        }
        let key = self.key.as_ref().and_then(|name| headers.get_all(name.as_bytes()).next());
        u128::from(key.map_or_else(random, number_of)) < self.threshold
    }
}

/// The number of a key. All numbers are equally likely.
fn number_of(key: &[u8]) -> u64 {
    let digest: [u8; 32] = Sha256::digest(key).into();
    digest.first_chunk().copied().map(u64::from_be_bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::raw_shape::{Sample, SampleKey};
    use crate::config::scalar::{Percent, Text};
    use crate::http::headers::Pairs;
    use crate::http::names::ReadHeader;
    use proptest::prelude::*;

    fn by_key(percent: f64) -> Sampling {
        let key = SampleKey { header: Text(ReadHeader("x-user-id".to_owned())) };
        Sampling::from(Sample { percent: Percent(percent), key: Some(key) })
    }

    fn by_chance(percent: f64) -> Sampling {
        Sampling::from(Sample { percent: Percent(percent), key: None })
    }

    /// Headers with these values of the key.
    fn keyed(values: &[&[u8]]) -> HeaderMap {
        HeaderMap::from(
            &[(&b"x-other"[..], &b"alice"[..])]
                .into_iter()
                .chain(values.iter().map(|value| (&b"x-user-id"[..], *value)))
                .collect::<Pairs>(),
        )
    }

    fn admits_key(percent: f64, key: &[u8]) -> bool {
        by_key(percent).admits(&keyed(&[key]), || panic!("the key decides"))
    }

    macro_rules! vectors {
        ($($name:ident: $key:expr => $number:literal;)*) => {
            $(#[test] fn $name() { assert_eq!(format!("{:016x}", number_of($key)), $number); })*
        };
    }

    vectors! {
        a_name: b"alice" => "2bd806c97f0e00af";
        another_name: b"bob" => "81b637d8fcd2c6da";
        nothing: b"" => "e3b0c44298fc1c14";
        a_space_counts: b"a b" => "c8687a08aa5d6ed2";
        a_number: b"42" => "73475cb40a568e8d";
        a_uuid: b"6f1c7a52-0d0f-4c55-9a3e-8a7b1c2d3e4f" => "b0f19b9ad7d0289a";
        an_umlaut: "m\u{fc}ller".as_bytes() => "2dbd218072117713";
        bytes_that_are_no_text: b"\xff\x00\xfe" => "af9ceddc9d8b08ac";
    }

    #[test]
    fn a_percentage_is_a_part_of_all_numbers() {
        for (percent, threshold) in [
            (100.0, 1 << 64),
            (50.0, 1 << 63),
            (25.0, 1 << 62),
            // 2^64 / 1,000 is 18446744073709551.616, / 100,000 is 184467440737095.516.
            (0.1, 18_446_744_073_709_552),
            (0.001, 184_467_440_737_096),
            (f64::MIN_POSITIVE, 1),
        ] {
            assert_eq!(by_key(percent).threshold, threshold, "{percent} percent");
        }
    }

    #[test]
    fn the_key_alice_is_in_up_from_her_number() {
        // 2bd806c97f0e00af of 2^64 is 17.126... percent.
        assert!(!admits_key(17.12, b"alice"));
        assert!(admits_key(17.13, b"alice"));
    }

    #[test]
    fn the_number_at_the_threshold_is_out() {
        let half = by_chance(50.0);
        assert!(half.admits(&HeaderMap::default(), || (1 << 63) - 1));
        assert!(!half.admits(&HeaderMap::default(), || 1 << 63));
    }

    #[test]
    fn at_100_percent_all_are_in() {
        assert!(by_chance(100.0).admits(&HeaderMap::default(), || u64::MAX));
        assert!(by_key(100.0).admits(&HeaderMap::default(), || u64::MAX));
        // The next smaller percentage leaves out only the largest numbers, not one in a hundred.
        let below = by_chance(100.0_f64.next_down());
        assert!(!below.admits(&HeaderMap::default(), || u64::MAX));
        assert!(below.admits(&HeaderMap::default(), || u64::MAX - (1 << 12)));
    }

    #[test]
    fn without_the_key_chance_decides() {
        for (number, admitted) in [(0, true), (u64::MAX, false)] {
            assert_eq!(by_key(10.0).admits(&keyed(&[]), || number), admitted);
            assert_eq!(by_chance(10.0).admits(&keyed(&[b"alice"]), || number), admitted);
        }
    }

    #[test]
    fn an_empty_value_is_a_key() {
        // Its number is e3b0..., which is 88.9 percent.
        assert!(!admits_key(88.0, b""));
        assert!(admits_key(89.0, b""));
    }

    const MANY: u32 = 1_000_000;

    /// Panics unless the count is within 4 standard deviations of the expected one. With random numbers, 1 of 16,000 runs would be outside. The
    /// numbers of these tests are fixed.
    fn assert_share(percent: f64, count: u32) {
        let share = percent / 100.0;
        let expected = f64::from(MANY) * share;
        let deviation = (expected * (1.0 - share)).sqrt();
        assert!(
            (f64::from(count) - expected).abs() <= 4.0 * deviation,
            "{count} at {percent} percent, expected {expected} +- {deviation}"
        );
    }

    #[test]
    fn of_a_million_keys_as_many_are_in_as_the_percentage_says() {
        let numbers: Vec<u64> = (0..MANY).map(|user| number_of(format!("user-{user}").as_bytes())).collect();
        for percent in [99.9, 50.0, 10.0, 1.0, 0.1, 0.001] {
            // The number of a key is compared in the same way as a random one.
            let sampling = by_chance(percent);
            let count = numbers.iter().filter(|number| sampling.admits(&HeaderMap::default(), || **number)).count();
            assert_share(percent, u32::try_from(count).unwrap());
        }
    }

    #[test]
    fn by_chance_as_many_are_in_as_the_percentage_says() {
        // SplitMix64 from seed 1.
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        };
        for percent in [99.9, 50.0, 10.0, 1.0, 0.1, 0.001] {
            let sampling = by_chance(percent);
            let count = (0..MANY).filter(|_| sampling.admits(&HeaderMap::default(), &mut random)).count();
            assert_share(percent, u32::try_from(count).unwrap());
        }
    }

    fn percent() -> impl Strategy<Value = f64> {
        prop_oneof![0.000_001_f64..=100.0, 0.000_001_f64..0.01, Just(100.0)]
    }

    proptest! {
        #[test]
        fn what_a_lower_percentage_admits_a_higher_one_admits(
            percents in (percent(), percent()), number in any::<u64>(), keys in prop::collection::vec(".{0,12}", 20),
        ) {
            let (low, high) = (percents.0.min(percents.1), percents.0.max(percents.1));
            for key in &keys {
                prop_assert!(!admits_key(low, key.as_bytes()) || admits_key(high, key.as_bytes()));
            }
            // A number near both thresholds, where an off-by-one error would show.
            for near in [low, high].map(|percent| (by_chance(percent).threshold as u64).wrapping_add(number % 4).wrapping_sub(2)) {
                let admits = |percent| by_chance(percent).admits(&HeaderMap::default(), || near);
                prop_assert!(!admits(low) || admits(high));
            }
        }

        #[test]
        fn two_of_the_same_percentage_pick_the_same(percent in percent(), keys in prop::collection::vec(any::<[u8; 5]>(), 20)) {
            let other = by_key(percent);
            for key in &keys {
                prop_assert_eq!(admits_key(percent, key), other.admits(&keyed(&[key]), || 0));
            }
        }

        #[test]
        fn the_first_value_of_the_header_decides(percent in percent(), first in any::<[u8; 5]>(), second in any::<[u8; 5]>()) {
            let both = by_key(percent).admits(&keyed(&[&first, &second]), || panic!("the key decides"));
            prop_assert_eq!(both, admits_key(percent, &first));
        }

        /// Holds for keys that are not text, too: only the first 8 bytes of the SHA-256 decide.
        #[test]
        fn a_key_is_in_if_its_number_is(percent in percent(), key in prop::collection::vec(any::<u8>(), 0..40)) {
            let digest = Sha256::digest(&key);
            let number = digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
            // Compared as doubles, which drop up to 11 of the 64 bits. That is enough except next to the threshold.
            let (number, threshold) = (number as f64, percent / 100.0 * ALL);
            prop_assume!((number - threshold).abs() > 4_096.0);
            prop_assert_eq!(admits_key(percent, &key), number < threshold);
        }
    }
}
