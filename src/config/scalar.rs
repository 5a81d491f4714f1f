//! The scalar types of the configuration: each knows its range, its syntax and how to say what was expected.

use std::str::FromStr;
use std::time::Duration;

use deserr::{Deserr, IntoValue, Sequence, Value, ValuePointerRef};
use fundu::{DurationParser, TimeUnit};

use super::problem::{found, Problems};

use crate::http::invalid::Invalid;
use crate::json::MAX_WHOLE_DOUBLE;

/// A whole number from `MIN` to `MAX`. A double without a fraction counts: `3.0`, `1e6`; and text that is such a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole<const MIN: u64, const MAX: u64>(pub u64);

impl<const MIN: u64, const MAX: u64> Deserr<Problems> for Whole<MIN, MAX> {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Problems> {
        match whole(&value) {
            Some(number) if (MIN..=MAX).contains(&number) => Ok(Self(number)),
            _ => Err(Problems::at(
                location,
                format!("expected a whole number from {MIN} to {MAX}, found {}", found_number(&value)),
            )),
        }
    }
}

/// A length of time in whole milliseconds, from `MIN` to `MAX` milliseconds: `"250ms"`, `"1.5s"`, `"2m"`, `"1h"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Millis<const MIN: u64, const MAX: u64>(pub u64);

impl<const MIN: u64, const MAX: u64> Millis<MIN, MAX> {
    fn parse(text: &str) -> Option<Self> {
        // A bare number would be read as seconds; nobody can see that in the file.
        if !text.ends_with(|last: char| last.is_ascii_alphabetic()) {
            return None;
        }
        let duration: Duration = DurationParser::builder()
            .time_units(&[TimeUnit::MilliSecond, TimeUnit::Second, TimeUnit::Minute, TimeUnit::Hour])
            .disable_exponent()
            .disable_infinity()
            .build()
            .parse(text)
            .ok()?
            .try_into()
            .ok()?;
        let millis = u64::try_from(duration.as_millis()).ok()?;
        (MIN..=MAX).contains(&millis).then_some(Self(millis))
    }
}

impl<const MIN: u64, const MAX: u64> Deserr<Problems> for Millis<MIN, MAX> {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Problems> {
        let expected = || {
            format!(
                "expected a duration from {} to {} such as \"250ms\", \"1.5s\" or \"2m\"",
                duration_text(MIN),
                duration_text(MAX)
            )
        };
        match &value {
            Value::String(text) => {
                Self::parse(text).ok_or_else(|| Problems::at(location, format!("{}, found {text:?}", expected())))
            }
            other => Err(Problems::at(location, format!("{}, found {}", expected(), found(other)))),
        }
    }
}

/// A length of time as it would be written.
pub(crate) fn duration_text(millis: u64) -> String {
    match millis {
        hours if hours > 0 && hours % 3_600_000 == 0 => format!("{}h", hours / 3_600_000),
        seconds if seconds > 0 && seconds % 1_000 == 0 => format!("{}s", seconds / 1_000),
        millis => format!("{millis}ms"),
    }
}

/// The longest time that most settings take, in milliseconds.
pub(super) const HOUR: u64 = 3_600_000;

/// A number of bytes from `MIN` to `MAX`: a whole number, or text such as `"64KiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size<const MIN: u64, const MAX: u64>(pub u64);

impl<const MIN: u64, const MAX: u64> Deserr<Problems> for Size<MIN, MAX> {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Problems> {
        let (bytes, shown) = match &value {
            Value::String(text) => (parse_size::parse_size(text).ok(), format!("{text:?}")),
            other => (whole(other), found(other)),
        };
        match bytes {
            Some(bytes) if (MIN..=MAX).contains(&bytes) => Ok(Self(bytes)),
            _ => Err(Problems::at(
                location,
                format!("expected a size from {MIN} to {MAX} bytes such as 65536 or \"64KiB\", found {shown}"),
            )),
        }
    }
}

/// A number of bytes as it would be written.
#[cfg(feature = "cli")]
pub(crate) fn size_text(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.iter().find(|(_, shift)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    unit.map_or_else(|| bytes.to_string(), |(unit, shift)| format!("{}{unit}", bytes >> shift))
}

/// A percentage above 0 and up to 100, fractions allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percent(pub f64);

impl Deserr<Problems> for Percent {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Problems> {
        match number(&value) {
            Some(percent) if percent > 0.0 && percent <= 100.0 => Ok(Self(percent)),
            _ => Err(Problems::at(location, format!("expected a number above 0 and up to 100, found {}", found_number(&value)))),
        }
    }
}

/// A number above 0, fractions allowed: a rate per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate(pub f64);

impl Deserr<Problems> for Rate {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Problems> {
        match number(&value) {
            Some(rate) if rate > 0.0 && rate <= 1e9 => Ok(Self(rate)),
            _ => Err(Problems::at(
                location,
                format!("expected a number above 0 and up to 1000000000, found {}", found_number(&value)),
            )),
        }
    }
}

/// A string that is parsed by the rule of `T`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text<T>(pub T);

impl<T: FromStr<Err = Invalid>> Deserr<Problems> for Text<T> {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Problems> {
        match &value {
            Value::String(text) => T::from_str(text).map(Self).map_err(|expected| Problems::at(location, expected)),
            other => Err(Problems::at(location, format!("expected a string, found {}", found(other)))),
        }
    }
}

/// A list with at least one entry and at most `MAX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NonEmpty<T, const MAX: usize = 1024>(pub Vec<T>);

impl<T: Deserr<Problems>, const MAX: usize> Deserr<Problems> for NonEmpty<T, MAX> {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Problems> {
        let Value::Sequence(sequence) = value else {
            return Err(Problems::at(location, format!("expected a list, found {}", found(&value))));
        };
        let length = sequence.len();
        let entries = Vec::<Apart<T>>::deserialize_from_value(Value::<V>::Sequence(sequence), location);
        if (1..=MAX).contains(&length) {
            return entries.map(|entries| Self(entries.into_iter().map(Apart::section).collect()));
        }
        let mut problems = Problems::at(location, format!("expected 1 to {MAX} entries, found {length}"));
        if let Err(inner) = entries {
            problems.extend(inner);
        }
        Err(problems)
    }
}

fn whole<V: IntoValue>(value: &Value<V>) -> Option<u64> {
    match value {
        Value::Integer(number) => Some(*number),
        other => number(other)
            .filter(|number| number.fract() == 0.0 && (0.0..=MAX_WHOLE_DOUBLE).contains(number))
            .map(|number| number as u64),
    }
}

fn number<V: IntoValue>(value: &Value<V>) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::NegativeInteger(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        Value::String(text) => number_in(text),
        _ => None,
    }
}

/// The number that a text is, in JSON. Envoy's reader of YAML makes text of all numbers but whole ones of 32 bits when it fills a Struct
/// (`source/common/protobuf/yaml_utility.cc` of 1.40), so what was a number in the file may come as text.
fn number_in(text: &str) -> Option<f64> {
    serde_json::from_slice::<serde_json::Value>(text.as_bytes()).ok()?.as_f64().filter(|_| text.trim() == text)
}

/// What stands where a number is expected.
fn found_number<V: IntoValue>(value: &Value<V>) -> String {
    match value {
        Value::String(text) if number_in(text).is_some() => format!("the number {text}"),
        other => found(other),
    }
}

/// Reads a section in a function of its own. What reads a section that stands in one place is otherwise made a part of what reads the section around it, and
/// the larger a function is, the more memory V8 takes to compile it, and keeps.
pub struct Apart<T>(T);

impl<T> Apart<T> {
    /// The section.
    pub fn section(self) -> T {
        self.0
    }
}

impl<T: Deserr<Problems>> Deserr<Problems> for Apart<T> {
    #[inline(never)]
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Problems> {
        T::deserialize_from_value(value, location).map(Self)
    }
}
