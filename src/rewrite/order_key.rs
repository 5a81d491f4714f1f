//! The key of a request, by which its copies are kept in order.

use std::rc::Rc;

use crate::http::work_limit::TooMuch;
use crate::json::{Kind, Node, Pointer, Unread};
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

    /// The key of a request. `None` if it has none: there is no such header, the body is empty or cannot be read as JSON, or there is no such value,
    /// or it is null, a list or an object.
    ///
    /// Values of different types are different keys. Numbers are the same key if they are worth the same. The reading must keep all headers: they
    /// say how the body is encoded.
    ///
    /// # Errors
    /// Returns an error if the key is not known, because to read it takes more work than one request may cause.
    pub fn of(&self, reading: &Reading<'_>) -> Result<Option<Rc<[u8]>>, TooMuch> {
        let pointer = match self {
            Self::Header(name) => return Ok(reading.head().all().get_all(name.as_bytes()).next().map(Rc::from)),
            Self::Body(pointer) => pointer,
        };
        let found = reading.look_into_body().and_then(|body| body.map_or(Ok(None), |body| body.at(pointer)));
        match found {
            Ok(value) => Ok(value.and_then(written)),
            Err(Unread::NotJson) => Ok(None),
            Err(Unread::TooMuchWork) => Err(TooMuch),
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
    fn key(of: &OrderKey, headers: &[(&str, &str)], body: &[u8]) -> Option<Vec<u8>> {
        key_within(of, headers, body, 1 << 20).unwrap()
    }

    fn key_within(of: &OrderKey, headers: &[(&str, &str)], body: &[u8], max_work: usize) -> Result<Option<Vec<u8>>, TooMuch> {
        let headers: Pairs = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let correlation = Correlation { header: "x-request-id".into(), traceparent: false };
        let needs = Needs { all: true, ..Needs::default() };
        let head = CapturedHead::capture(HeaderMap::from(&headers), false, None, needs, &correlation);
        let pointers = Rc::new(PointerSet::new(of.pointer().cloned()));
        let reading = Reading::new(&head, body, &Terms { max_body: 1 << 20, max_work, pointers });
        Ok(of.of(&reading)?.map(|key| key.to_vec()))
    }

    fn of_body(body: &str) -> Option<Vec<u8>> {
        key(&OrderKey::Body(Pointer::from_str("/a/b").unwrap()), &[], body.as_bytes())
    }

    #[test]
    fn the_first_value_of_the_header_is_the_key() {
        let of = |headers: &[(&str, &str)]| key(&OrderKey::Header("x-user".to_owned()), headers, b"");
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
        assert_eq!(key(&pointer, &[("content-encoding", "br")], br#"{"a":1}"#), None, "an encoding that is not read");
    }

    #[test]
    fn a_key_that_takes_too_much_work_is_not_known() {
        let pointer = OrderKey::Body(Pointer::from_str("/a").unwrap());
        assert!(key_within(&pointer, &[], br#"{"a":1}"#, 1).is_err());
        assert_eq!(key_within(&OrderKey::Header("x-a".to_owned()), &[("x-a", "b")], b"{", 0), Ok(Some(b"b".to_vec())));
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
        assert_eq!(key(&pointer, &[("content-encoding", "deflate")], &parts.concat()), of_body(r#"{"a":{"b":"7"}}"#));
    }
}
