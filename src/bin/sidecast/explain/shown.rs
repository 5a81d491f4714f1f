//! The request that a target would receive, for display.

use base64ct::{Base64, Encoding as _};
use percent_encoding::{utf8_percent_encode, AsciiSet, NON_ALPHANUMERIC};
use serde::Serialize;
use sidecast::http::text::text_of;
use sidecast::template::fits_authority;

use super::recorder::Sent;

/// The characters to encode in a path value.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request as it would be sent.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) authority: String,
    pub(super) headers: Vec<(String, String)>,
    /// The names of given headers that are not sent.
    pub(super) left_out: Vec<String>,
    /// The body, if it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<String>,
    /// The body, if it is not text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) body_base64: Option<String>,
    #[serde(skip)]
    pub(super) size: usize,
}

impl Shown {
    /// Prepares a copy for display. `replaced` are pairs of a text in the copy and its replacement. It also replaces their encoded forms.
    pub(super) fn new(sent: &Sent, given: &[&str], replaced: &[(String, String)]) -> Self {
        let shown = |text: String, as_sent: &dyn Fn(&str) -> String| {
            replaced.iter().fold(text, |text, (made, shown)| text.replace(&as_sent(made), shown))
        };
        let (mut method, mut path, mut authority, mut headers) = <(String, String, String, Vec<_>)>::default();
        for (name, value) in sent.headers.iter() {
            let text = text_of(value).into_owned();
            match name {
                b":method" => method = text,
                b":path" => path = shown(text, &|value| utf8_percent_encode(value, RESERVED).to_string()),
                b":authority" => {
                    authority = shown(text, &|value| value.chars().filter(|char| fits_authority(*char)).collect());
                }
                // The connection determines the scheme.
                b":scheme" => {}
                _ => headers.push((text_of(name).into_owned(), shown(text, &str::to_owned))),
            }
        }
        let (body, body_base64) = match String::from_utf8(sent.body.clone()) {
            Ok(text) => (Some(shown(text, &str::to_owned)), None),
            Err(_) => (None, Some(Base64::encode_string(&sent.body))),
        };
        let is_sent = |given: &str| headers.iter().any(|(name, _)| name == given);
        let left_out = given.iter().filter(|given| !is_sent(given)).map(|given| (*given).to_owned()).collect();
        Self { method, path, authority, headers, left_out, body, body_base64, size: sent.body.len() }
    }
}
