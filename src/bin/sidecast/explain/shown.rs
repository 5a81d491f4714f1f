//! The request that a target would receive, to be shown.

use std::collections::BTreeSet;

use data_encoding::BASE64;
use percent_encoding::{utf8_percent_encode, AsciiSet, NON_ALPHANUMERIC};
use serde::Serialize;
use sidecast::http::headers::HeaderMap;
use sidecast::http::text::text_of;
use sidecast::rewrite::shape::Call;
use sidecast::template::fits_authority;

/// What is encoded of a value in a path.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request as it would be sent.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) authority: String,
    pub(super) headers: Vec<(String, String)>,
    /// The names of headers that were given and are not among them.
    pub(super) left_out: Vec<String>,
    /// The body, if it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<String>,
    /// The body, if it is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) body_base64: Option<String>,
    #[serde(skip)]
    pub(super) size: usize,
}

impl Shown {
    /// `unknown` are the values that only Envoy knows, as they are written: they stand as such, also where a real one would be encoded.
    pub(super) fn new(call: &Call<'_>, given: &[&str], unknown: &BTreeSet<String>) -> Self {
        let (mut method, mut path, mut authority, mut headers) = <(String, String, String, Vec<_>)>::default();
        for (name, value) in HeaderMap::new(call.headers.clone()).iter() {
            let text = text_of(value).into_owned();
            match name {
                b":method" => method = text,
                b":path" => path = plain(text, unknown, encoded),
                b":authority" => {
                    authority = plain(text, unknown, |value| value.chars().filter(|char| fits_authority(*char)).collect())
                }
                // What follows of the connection.
                b":scheme" => {}
                _ => headers.push((text_of(name).into_owned(), text)),
            }
        }
        let (body, body_base64) = match std::str::from_utf8(&call.body) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(BASE64.encode(&call.body))),
        };
        let is_sent = |given: &str| headers.iter().any(|(name, _)| name == given);
        let left_out = given.iter().filter(|given| !is_sent(given)).map(|given| (*given).to_owned()).collect();
        Self { method, path, authority, headers, left_out, body, body_base64, size: call.body.len() }
    }
}

/// Values that are not known, as they are written.
fn plain(text: String, unknown: &BTreeSet<String>, as_sent: impl Fn(&str) -> String) -> String {
    unknown.iter().fold(text, |text, value| text.replace(&as_sent(value), value))
}

fn encoded(value: &str) -> String {
    utf8_percent_encode(value, RESERVED).to_string()
}
