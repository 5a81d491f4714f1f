//! Reads conditions of rules. All kinds are read by one function: a derived reader for each would take 4 KiB of the module.

use deserr::{Deserr, IntoValue, Map, Value, ValuePointerRef};

use super::problem::{found, Problems};
use super::raw_match::{AuthorityRule, BodyRule, HeaderRule, PathRule, QueryRule};
use super::scalar::Text;
use crate::http::invalid::Invalid;
use crate::select::condition::ExactValue;
use std::str::FromStr;

/// What a condition is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Path,
    Authority,
    Query,
    Header,
    Body,
}

impl Kind {
    /// The fields that it has.
    const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Path => &["exact", "prefix", "regex"],
            Self::Authority => &["exact", "prefix", "suffix", "regex", "present"],
            Self::Query | Self::Header => &["name", "exact", "prefix", "suffix", "regex", "present"],
            Self::Body => &["pointer", "exact", "prefix", "suffix", "regex", "present"],
        }
    }

    /// The field that says what it is about, if it has one.
    fn subject(self) -> Option<&'static str> {
        self.fields().first().copied().filter(|field| matches!(*field, "name" | "pointer"))
    }
}

/// The fields of a condition as they are written, and what is wrong with them.
struct Fields<'l> {
    kind: Kind,
    location: ValuePointerRef<'l>,
    subject: Option<String>,
    exact: Option<ExactValue>,
    prefix: Option<String>,
    suffix: Option<String>,
    regex: Option<String>,
    present: Option<bool>,
    /// How many conditions there are.
    given: usize,
    problems: Problems,
}

impl<'l> Fields<'l> {
    fn read<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'l>, kind: Kind) -> Result<Self, Problems> {
        let Value::Map(entries) = value else {
            return Err(Problems::at(location, format!("expected an object, found {}", found(&value))));
        };
        let (prefix, suffix, regex) = (None, None, None);
        let problems = Problems::default();
        let mut fields =
            Self { kind, location, subject: None, exact: None, prefix, suffix, regex, present: None, given: 0, problems };
        for (key, value) in entries.into_iter() {
            let place = location.push_key(&key);
            let read = fields.read_field(&key, value.into_value(), place);
            fields.problems.extend(read.err().unwrap_or_default());
        }
        let Self { exact, prefix, suffix, regex, present, .. } = &fields;
        let given = [exact.is_some(), prefix.is_some(), suffix.is_some(), regex.is_some(), present.is_some()];
        fields.given = given.iter().filter(|given| **given).count();
        Ok(fields)
    }

    fn read_field<V: IntoValue>(&mut self, key: &str, value: Value<V>, place: ValuePointerRef<'_>) -> Result<(), Problems> {
        match key {
            key if !self.kind.fields().contains(&key) => {
                Err(Problems::at(place, format!("unknown field, expected one of {}", self.names(|_| true))))
            }
            "exact" if self.kind == Kind::Body => {
                ExactValue::deserialize_from_value(value, place).map(|value| self.exact = Some(value))
            }
            "present" => Option::deserialize_from_value(value, place).map(|flag| self.present = flag),
            other => Option::deserialize_from_value(value, place).map(|text: Option<String>| match other {
                "exact" => self.exact = text.map(ExactValue::Text),
                "prefix" => self.prefix = text,
                "suffix" => self.suffix = text,
                "regex" => self.regex = text,
                _ => self.subject = text,
            }),
        }
    }

    fn names(&self, wanted: impl Fn(&str) -> bool) -> String {
        let names = self.kind.fields().iter().filter(|field| wanted(field)).map(|field| format!("`{field}`"));
        names.collect::<Vec<_>>().join(", ")
    }

    /// A text of one of the fields as what it has to be.
    fn typed<T: FromStr<Err = Invalid>>(&mut self, field: &str, text: Option<String>) -> Option<Text<T>> {
        match T::from_str(&text?) {
            Ok(typed) => Some(Text(typed)),
            Err(expected) => {
                self.problems.extend(Problems::at(self.location.push_key(field), expected));
                None
            }
        }
    }

    /// What the condition is about.
    fn subject<T: FromStr<Err = Invalid>>(&mut self) -> Option<Text<T>> {
        let field = self.kind.subject().unwrap_or_default();
        if self.subject.is_none() {
            self.problems.extend(Problems::at(self.location.push_key(field), "missing, but required"));
        }
        let text = self.subject.take();
        self.typed(field, text)
    }

    fn regex<T: FromStr<Err = Invalid>>(&mut self) -> Option<Text<T>> {
        let text = self.regex.take();
        self.typed("regex", text)
    }

    /// `exact` where it is text.
    fn exact(&mut self) -> Option<String> {
        match self.exact.take() {
            Some(ExactValue::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// All is well: every field is what it has to be, and exactly one condition is given.
    fn end(&mut self) -> Result<(), Problems> {
        let mut problems = std::mem::take(&mut self.problems);
        if problems.is_empty() && self.given != 1 {
            let names = self.names(|field| Some(field) != self.kind.subject());
            problems = Problems::at(self.location, format!("expected exactly one of {names}, found {}", self.given));
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    /// The same for something that must be there: without it there is a problem.
    fn end_with<T>(&mut self, subject: Option<T>) -> Result<T, Problems> {
        self.end()?;
        subject.ok_or_else(|| Problems::at(self.location, "missing, but required"))
    }
}

impl Deserr<Problems> for PathRule {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Problems> {
        let mut fields = Fields::read(value, location, Kind::Path)?;
        let (exact, prefix) = (fields.exact(), fields.prefix.take());
        let (exact, prefix, regex) = (fields.typed("exact", exact), fields.typed("prefix", prefix), fields.regex());
        fields.end().map(|()| Self { exact, prefix, regex })
    }
}

impl Deserr<Problems> for AuthorityRule {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Problems> {
        let mut fields = Fields::read(value, location, Kind::Authority)?;
        let (exact, regex) = (fields.exact(), fields.regex());
        fields.end()?;
        Ok(Self { exact, prefix: fields.prefix, suffix: fields.suffix, regex, present: fields.present })
    }
}

impl Deserr<Problems> for HeaderRule {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Problems> {
        let mut fields = Fields::read(value, location, Kind::Header)?;
        let (name, exact, regex) = (fields.subject(), fields.exact(), fields.regex());
        let name = fields.end_with(name)?;
        Ok(Self { name, exact, prefix: fields.prefix, suffix: fields.suffix, regex, present: fields.present })
    }
}

impl Deserr<Problems> for QueryRule {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Problems> {
        let mut fields = Fields::read(value, location, Kind::Query)?;
        let (name, exact, regex) = (fields.subject(), fields.exact(), fields.regex());
        let name = fields.end_with(name)?;
        Ok(Self { name, exact, prefix: fields.prefix, suffix: fields.suffix, regex, present: fields.present })
    }
}

impl Deserr<Problems> for BodyRule {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Problems> {
        let mut fields = Fields::read(value, location, Kind::Body)?;
        let (pointer, regex) = (fields.subject(), fields.regex());
        let pointer = fields.end_with(pointer)?;
        Ok(Self { pointer, exact: fields.exact, prefix: fields.prefix, suffix: fields.suffix, regex, present: fields.present })
    }
}
