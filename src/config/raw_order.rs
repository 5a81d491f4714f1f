//! The grammar of `order`: which copies go one after the other.

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};

use super::fields::fields;
use super::problem::Problems;
use super::scalar::Text;
#[cfg(feature = "cli")]
use super::schema;
use crate::http::names::ReadHeader;
use crate::json::SinglePointer;
use crate::rewrite::order_key::OrderKey;

/// `order`. Its readers are written by hand: derived ones are large.
#[derive(Debug)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields, extend("$comment" = "delivery.md#order-by-key")))]
pub struct Order {
    /// Copies with the same key go one after the other. A request without a key waits for none. Set exactly one field.
    pub key: Key,
}

/// `order.key`.
#[derive(Debug)]
#[cfg_attr(
    feature = "cli",
    derive(schemars::JsonSchema),
    schemars(deny_unknown_fields, transform = schema::one_of(&["header", "body"]))
)]
pub struct Key {
    /// The header whose value is the key. If the header is repeated, the first counts.
    pub header: Option<Text<ReadHeader>>,
    /// Where the key is in a JSON body: a string, a number, `true` or `false`.
    pub body: Option<Text<SinglePointer>>,
}

impl Deserr<Problems> for Order {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Problems> {
        let mut key = None;
        fields(value, location, &["key"], &mut |name, value, place| {
            (name == "key").then(|| Key::deserialize_from_value(value, place).map(|read| key = Some(read)))
        })?;
        let key = key.ok_or_else(|| Problems::at(location.push_key("key"), "missing, but required"))?;
        Ok(Self { key })
    }
}

impl Deserr<Problems> for Key {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Problems> {
        let mut key = Self { header: None, body: None };
        fields(value, location, &["header", "body"], &mut |name, value, place| match name {
            "header" => Some(Option::deserialize_from_value(value, place).map(|header| key.header = header)),
            "body" => Some(Option::deserialize_from_value(value, place).map(|body| key.body = body)),
            _ => None,
        })?;
        match (&key.header, &key.body) {
            (Some(_), None) | (None, Some(_)) => Ok(key),
            (header, _) => {
                let given = if header.is_some() { 2 } else { 0 };
                Err(Problems::at(location, format!("expected exactly one of `header`, `body`, found {given}")))
            }
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
