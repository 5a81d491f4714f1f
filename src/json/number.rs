//! JSON numbers by value, not by spelling. Nothing is calculated: digits are compared, so no number is too large or too precise.

use std::hash::{Hash, Hasher};

/// Exponents with more digits are compared as text. Equal numbers may then count as different, such as 1 and 10 times powers of ten whose exponents
/// differ by one. No such number has a practical meaning.
const MAX_EXPONENT_DIGITS: usize = 30;

/// True if two JSON numbers are equal.
pub fn same(number: &str, other: &str) -> bool {
    number == other || Decimal::of(number) == Decimal::of(other)
}

/// Hashes a number by value: equal numbers have the same hash.
pub fn hash(number: &str, hasher: &mut impl Hasher) {
    let decimal = Decimal::of(number);
    decimal.is_negative.hash(hasher);
    decimal.digits().for_each(|digit| hasher.write_u8(digit));
    // Ends the digits; 0 is not an ASCII digit.
    hasher.write_u8(0);
    decimal.power.hash(hasher);
}

/// Writes a number in a form that all equal numbers share.
pub fn canonical(number: &str) -> String {
    let Decimal { is_negative, digits: (first, second), power } = Decimal::of(number);
    let sign = if is_negative { "-" } else { "" };
    match power {
        Power::Of(power) => format!("{sign}{first}{second}e{power}"),
        Power::AsWritten(before_point, is_negative, magnitude) => {
            let sign_of_power = if is_negative { "-" } else { "" };
            format!("{sign}{first}{second}e{before_point}e{sign_of_power}{magnitude}")
        }
    }
}

/// A number as 0.DIGITS times a power of ten. Neither the first nor the last digit is 0.
#[derive(Debug)]
struct Decimal<'a> {
    is_negative: bool,
    /// The digits, in two parts because a point may separate them.
    digits: (&'a str, &'a str),
    power: Power<'a>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Power<'a> {
    Of(i128),
    /// The number of digits before the point, whether the exponent is negative, and the digits of the exponent.
    AsWritten(i128, bool, &'a str),
}

impl<'a> Decimal<'a> {
    fn of(number: &'a str) -> Self {
        let (is_negative, unsigned) = match number.strip_prefix('-') {
            Some(unsigned) => (true, unsigned),
            None => (false, number),
        };
        let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let whole = whole.trim_start_matches('0');
        let fraction = fraction.trim_end_matches('0');
        // If one part is empty, the other part loses its zeros on that side, too.
        let significant = if whole.is_empty() { fraction.trim_start_matches('0') } else { fraction };
        let before_point = whole.len() as i128 - (fraction.len() - significant.len()) as i128;
        let whole = if fraction.is_empty() { whole.trim_end_matches('0') } else { whole };
        if whole.is_empty() && significant.is_empty() {
            return Self { is_negative: false, digits: ("", ""), power: Power::Of(0) };
        }
        Self { is_negative, digits: (whole, significant), power: Power::new(before_point, exponent) }
    }

    fn digits(&self) -> impl Iterator<Item = u8> + 'a {
        self.digits.0.bytes().chain(self.digits.1.bytes())
    }
}

impl PartialEq for Decimal<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.is_negative == other.is_negative && self.power == other.power && self.digits().eq(other.digits())
    }
}

impl<'a> Power<'a> {
    fn new(before_point: i128, exponent: &'a str) -> Self {
        let is_negative = exponent.starts_with('-');
        let magnitude = exponent.trim_start_matches(['+', '-']).trim_start_matches('0');
        if magnitude.len() > MAX_EXPONENT_DIGITS {
            return Self::AsWritten(before_point, is_negative, magnitude);
        }
        // An exponent without digits is 0.
        let magnitude: i128 = magnitude.parse().unwrap_or(0);
        let exponent = if is_negative { -magnitude } else { magnitude };
        Self::Of(before_point.saturating_add(exponent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    macro_rules! cases {
        ($($name:ident: $number:literal $other:literal => $wanted:literal;)*) => {
            $(#[test] fn $name() {
                assert_eq!((same($number, $other), same($other, $number)), ($wanted, $wanted));
                assert_eq!(canonical($number) == canonical($other), $wanted);
                assert_eq!(hashed($number) == hashed($other), $wanted);
            })*
        };
    }

    cases! {
        a_point: "1" "1.0" => true;
        an_exponent: "1" "1e0" => true;
        an_exponent_in_capitals: "1e2" "1E+02" => true;
        zeros_for_an_exponent: "1e2" "100" => true;
        a_negative_exponent: "0.001" "1e-3" => true;
        a_point_in_between: "12.5e1" "125" => true;
        zeros_after_the_point: "0.1" "0.10" => true;
        zeros_around_the_point: "1000.0010" "1.000001e3" => true;
        a_fraction_with_zeros_first: "0.00120" "12.0e-4" => true;
        a_fraction_and_nothing_before_it: "0.5" "5" => false;
        the_number_of_zeros: "100" "1000" => false;
        the_zeros_in_between: "1.01" "1.001" => false;
        where_the_point_is: "12.3" "1.23" => false;
        minus_zero: "-0" "0" => true;
        zero_with_any_exponent: "0.000e5" "-0e99999999999999999999999999999999999999999" => true;
        zero_and_nearly_zero: "0" "1e-400" => false;
        the_sign: "-1" "1" => false;
        the_sign_of_the_exponent: "1e5" "1e-5" => false;
        more_digits_than_a_double_has: "12345678901234567890123" "12345678901234567890124" => false;
        more_than_a_double_can_be: "1e400" "2e400" => false;
        the_same_beyond_a_double: "1e400" "10e399" => true;
        a_huge_exponent: "1e999999999" "10e999999998" => true;
        a_huge_exponent_and_one_more: "1e999999999" "1e1000000000" => false;
        an_exponent_as_large_as_is_read: "1e123456789012345678901234567890" "0.1e123456789012345678901234567891" => true;
        an_exponent_beyond_that: "1e1234567890123456789012345678901" "1.0E+001234567890123456789012345678901" => true;
        the_sign_of_such_an_exponent: "1e1234567890123456789012345678901" "1e-1234567890123456789012345678901" => false;
        the_digits_before_such_an_exponent: "1e1234567890123456789012345678901" "10e1234567890123456789012345678901" => false;
        an_exponent_beyond_all_integers: "1e123456789012345678901234567890123456789012345" "1e0" => false;
        such_an_exponent_and_the_next: "1e123456789012345678901234567890123456789012345" "1e123456789012345678901234567890123456789012346" => false;
    }

    fn hashed(number: &str) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        hash(number, &mut hasher);
        hasher.finish()
    }

    /// DIGITS times ten to the power, with the point moved and zeros added around it.
    fn spell(digits: i64, power: i32, point: usize, zeros: usize) -> String {
        let sign = if digits < 0 { "-" } else { "" };
        let digits = digits.unsigned_abs().to_string();
        let (whole, fraction) = digits.split_at(point % (digits.len() + 1));
        let whole = if whole.is_empty() { "0" } else { whole };
        let exponent = i64::from(power) + fraction.len() as i64;
        let fraction = format!("{fraction}{}", "0".repeat(zeros));
        let point = if fraction.is_empty() { "" } else { "." };
        if exponent == 0 {
            format!("{sign}{whole}{point}{fraction}")
        } else {
            format!("{sign}{whole}{point}{fraction}e{exponent:+03}")
        }
    }

    proptest! {
        #[test]
        fn all_spellings_of_a_number_are_equal(digits: i64, power: i32, points: (u8, u8), zeros in (0..3_usize, 0..3_usize)) {
            let (one, other) = (spell(digits, power, points.0.into(), zeros.0), spell(digits, power, points.1.into(), zeros.1));
            prop_assert!(same(&one, &other), "{} {}", one, other);
            prop_assert_eq!(hashed(&one), hashed(&other), "{} {}", one, other);
            let next = spell(digits.wrapping_add(1), power, points.1.into(), zeros.1);
            prop_assert!(!same(&one, &next), "{} {}", one, next);
            prop_assert_ne!(hashed(&one), hashed(&next), "{} {}", one, next);
        }

        #[test]
        fn numbers_are_equal_as_integers_are(one in (-20..20_i64, 0..4_u32), other in (-20..20_i64, 0..4_u32), points: (u8, u8)) {
            let worth = |(digits, power): (i64, u32)| digits * 10_i64.pow(power);
            let text = |(digits, power): (i64, u32), point: u8| spell(digits, power as i32, point.into(), 0);
            prop_assert_eq!(same(&text(one, points.0), &text(other, points.1)), worth(one) == worth(other));
        }
    }
}
