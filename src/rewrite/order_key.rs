//! The key of a request, by which its copies are kept in order.

use std::rc::Rc;

use crate::json::{Kind, Node, Pointer};
use crate::rewrite::reading::Reading;

/// Where the key of a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderKey {
    /// The first value of this header, whose name is in lower case, as the client sent it. An empty value is a key like any other.
    Header(String),
    /// The string, number or flag at this pointer into the decoded body.
    Body(Pointer),
}

impl OrderKey {
    /// The pointer into bodies, if the key is there.
    pub fn pointer(&self) -> Option<&Pointer> {
        match self {
            Self::Header(_) => None,
            Self::Body(pointer) => Some(pointer),
        }
    }

    /// The key of a request. `None` if it has none: there is no such header, the body is empty or cannot be read as JSON within the work of one
    /// request, or there is no such value, or it is null, a list or an object.
    ///
    /// Values of different types are different keys. Numbers are the same key if they are worth the same. The reading must keep all headers: they
    /// say how the body is encoded.
    pub fn of(&self, reading: &Reading<'_>) -> Option<Rc<[u8]>> {
        match self {
            Self::Header(name) => reading.head().all().get_all(name.as_bytes()).next().map(Rc::from),
            Self::Body(pointer) => written(reading.look_into_body().ok()??.at(pointer).ok()??),
        }
    }
}

/// Equal values are equal bytes. The first byte tells the types apart.
fn written(value: Node<'_>) -> Option<Rc<[u8]>> {
    let (kind, text) = match value.kind() {
        Kind::String(text) => ("s", text),
        Kind::Number(number) => ("n", crate::json::canonical(number).into()),
        Kind::Bool(flag) => (if flag { "t" } else { "f" }, "".into()),
        Kind::Null | Kind::Array(_) | Kind::Object(_) => return None,
    };
    Some([kind.as_bytes(), text.as_bytes()].concat().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::headers::{HeaderMap, Pairs};
    use crate::json::PointerSet;
    use crate::rewrite::capture::{CapturedHead, Correlation, Needs};
    use crate::rewrite::reading::Terms;
    use std::str::FromStr;

    /// The key of a request with these headers and this body.
    fn key(of: &OrderKey, headers: &[(&str, &str)], body: &[u8], max_work: usize) -> Option<Vec<u8>> {
        let headers: Pairs = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let correlation = Correlation { header: "x-request-id".into(), traceparent: false };
        let needs = Needs { all: true, ..Needs::default() };
        let head = CapturedHead::capture(HeaderMap::from(&headers), false, None, needs, &correlation);
        let pointers = Rc::new(PointerSet::new(of.pointer().cloned()));
        let reading = Reading::new(&head, body, &Terms { max_body: 1 << 20, max_work, pointers });
        of.of(&reading).map(|key| key.to_vec())
    }

    fn of_body(body: &str) -> Option<Vec<u8>> {
        key(&OrderKey::Body(Pointer::from_str("/a/b").unwrap()), &[], body.as_bytes(), 1 << 20)
    }

    #[test]
    fn the_first_value_of_the_header_is_the_key() {
        let of = |headers: &[(&str, &str)]| key(&OrderKey::Header("x-user".to_owned()), headers, b"", 1 << 20);
        assert_eq!(of(&[("x-other", "a"), ("x-user", "b"), ("x-user", "c")]), Some(b"b".to_vec()));
        assert_eq!(of(&[("x-user", "")]), Some(Vec::new()));
        assert_eq!(of(&[("x-other", "a")]), None);
    }

    #[test]
    fn equal_values_are_one_key_and_types_matter() {
        let [text, number, flag] = [r#"{"a":{"b":"7"}}"#, r#"{"a":{"b":7}}"#, r#"{"a":{"b":true}}"#].map(of_body);
        assert!(text.is_some() && number.is_some() && flag.is_some());
        assert!(
            text != number && number != flag && flag != of_body(r#"{"a":{"b":false}}"#) && flag != of_body(r#"{"a":{"b":"t"}}"#)
        );
        assert_eq!(of_body(r#" { "x": 1, "a": {"b": "\u0037"} }"#), text);
        assert_eq!(of_body(r#"{"a":{"b":7.0e0}}"#), number);
        assert_ne!(of_body(r#"{"a":{"b":"8"}}"#), text);
        assert!(of_body(r#"{"a":{"b":""}}"#).is_some());
    }

    #[test]
    fn what_is_no_such_value_is_no_key() {
        for body in ["", "no JSON", "{}", r#"{"a":{}}"#, r#"{"a":{"b":null}}"#, r#"{"a":{"b":[1]}}"#, r#"{"a":{"b":{}}}"#] {
            assert_eq!(of_body(body), None, "{body}");
        }
        let pointer = OrderKey::Body(Pointer::from_str("/a").unwrap());
        assert_eq!(key(&pointer, &[], br#"{"a":1}"#, 1), None, "too much work");
        assert_eq!(key(&pointer, &[("content-encoding", "br")], br#"{"a":1}"#, 1 << 20), None, "an encoding that is not read");
    }

    #[test]
    fn a_compressed_body_has_its_key() {
        // An uncompressed block of DEFLATE, in the frame of zlib.
        let text = br#"{"a":{"b":"7"}}"#;
        let adler = text.iter().fold((1_u32, 0_u32), |(a, b), byte| {
            let a = (a + u32::from(*byte)) % 65_521;
            (a, (b + a) % 65_521)
        });
        let length = u16::try_from(text.len()).unwrap();
        let parts = [
            &[0x78, 0x01, 0x01][..],
            &length.to_le_bytes(),
            &(!length).to_le_bytes(),
            text,
            &(adler.1 << 16 | adler.0).to_be_bytes(),
        ];
        let pointer = OrderKey::Body(Pointer::from_str("/a/b").unwrap());
        assert_eq!(key(&pointer, &[("content-encoding", "deflate")], &parts.concat(), 1 << 20), of_body(r#"{"a":{"b":"7"}}"#));
    }
}
