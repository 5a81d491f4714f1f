//! The grammar of `order`: which copies go one after the other.

use deserr::{Deserr, IntoValue, Map, Value, ValuePointerRef};

use super::problem::{found, Mistake, Problems};
use super::scalar::Text;
#[cfg(feature = "cli")]
use super::schema;
use crate::http::names::ReadHeader;
use crate::json::SinglePointer;
use crate::rewrite::order_key::OrderKey;

/// `order`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields, extend("$comment" = "delivery.md#order-by-key")))]
pub struct Order {
    /// Copies with the same key go one after the other: exactly one of the fields. A request without it waits for none.
    pub key: Key,
}

/// `order.key`. Its reader is written by hand: a derived one is large.
#[derive(Debug)]
#[cfg_attr(
    feature = "cli",
    derive(schemars::JsonSchema),
    schemars(deny_unknown_fields, transform = schema::one_of(&["header", "body"]))
)]
pub struct Key {
    /// The header whose value is the key; of repeated ones, the first.
    pub header: Option<Text<ReadHeader>>,
    /// Where the key is in a JSON body: a string, a number, `true` or `false`.
    pub body: Option<Text<SinglePointer>>,
}

impl Deserr<Problems> for Key {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Problems> {
        let Value::Map(entries) = value else {
            return Err(Problems::at(location, format!("expected an object, found {}", found(&value))));
        };
        let mut key = Self { header: None, body: None };
        let mut problems = Problems::default();
        for (name, value) in entries.into_iter() {
            let (value, place) = (value.into_value(), location.push_key(&name));
            let read = match &*name {
                "header" => Option::deserialize_from_value(value, place).map(|header| key.header = header),
                "body" => Option::deserialize_from_value(value, place).map(|body| key.body = body),
                _ => Err(Problems::at(place, Mistake::UnknownField { known: vec!["header".to_owned(), "body".to_owned()] })),
            };
            problems.extend(read.err().unwrap_or_default());
        }
        let given = usize::from(key.header.is_some()).saturating_add(usize::from(key.body.is_some()));
        if problems.is_empty() && given != 1 {
            problems = Problems::at(location, format!("expected exactly one of `header`, `body`, found {given}"));
        }
        if problems.is_empty() {
            Ok(key)
        } else {
            Err(problems)
        }
    }
}

impl From<Order> for OrderKey {
    fn from(raw: Order) -> Self {
        match raw.key {
            Key { body: Some(pointer), .. } => Self::Body(pointer.0 .0),
            // The grammar ensures that there is a header if there is no pointer.
            Key { header, .. } => Self::Header(header.map(|header| header.0 .0).unwrap_or_default()),
        }
    }
}
