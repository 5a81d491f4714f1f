//! The envelope of a dead letter, as `docs/dead-letters.md` defines it.

use std::time::SystemTime;

use base64ct::{Base64, Encoding as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::shown::shown;

/// A dead letter. Fields that this version does not know are kept.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Letter {
    version: u64,
    pub(super) id: String,
    pub(super) target: String,
    /// Letters of earlier versions of the filter have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cluster: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    received_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    given_up_at: Option<String>,
    pub(super) request: Request,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// The request in a letter.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Request {
    #[serde(default)]
    pub(super) method: Option<String>,
    #[serde(default)]
    pub(super) path: Option<String>,
    #[serde(default)]
    pub(super) authority: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    /// The same headers with the bytes of their values, if some are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    headers_base64: Option<Vec<(String, String)>>,
    /// What holds a value that a letter does not show. Letters of earlier versions of the filter do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) redacted: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// What tells letters apart: the target and the ID of the delivery.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub(super) struct Key {
    pub(super) target: String,
    pub(super) id: String,
}

impl Letter {
    /// Reads an envelope.
    ///
    /// # Errors
    /// Says why the value is none.
    pub(super) fn from_value(value: Value) -> Result<Self, String> {
        let letter: Self = serde_json::from_value(value).map_err(|error| shown(&error.to_string()))?;
        if letter.version != 1 {
            return Err(format!("version {} is not supported", letter.version));
        }
        if letter.id.is_empty() || letter.target.is_empty() {
            return Err("its id or its target is empty".to_owned());
        }
        Ok(letter)
    }

    pub(super) fn key(&self) -> Key {
        Key { target: self.target.clone(), id: self.id.clone() }
    }

    /// When its request was complete. `None` if it does not say so.
    pub(super) fn received_at(&self) -> Option<SystemTime> {
        time(self.received_at.as_deref())
    }

    /// What letters are sorted by: the oldest is the least, and what has no time comes last.
    pub(super) fn age(&self) -> impl Ord {
        let at = |text: Option<&str>| time(text).map_or((true, SystemTime::UNIX_EPOCH), |time| (false, time));
        (at(self.received_at.as_deref()), at(self.given_up_at.as_deref()))
    }

    /// The letter on one line.
    pub(super) fn line(&self) -> String {
        // Text and numbers always serialize.
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn time(text: Option<&str>) -> Option<SystemTime> {
    humantime::parse_rfc3339(text?).ok()
}

impl Request {
    /// Names and values, in their order.
    ///
    /// # Errors
    /// Says what is wrong with them.
    pub(super) fn headers(&self) -> Result<Vec<(&str, Vec<u8>)>, String> {
        let Some(exact) = &self.headers_base64 else {
            return Ok(self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes().to_vec())).collect());
        };
        let mut headers = Vec::with_capacity(exact.len());
        for (name, value) in exact {
            headers.push((name.as_str(), Base64::decode_vec(value).map_err(|error| format!("headers_base64: {error}"))?));
        }
        Ok(headers)
    }

    /// The bytes of the body.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(super) fn body(&self) -> Result<Vec<u8>, String> {
        match (&self.body, &self.body_base64) {
            (Some(text), None) => Ok(text.clone().into_bytes()),
            (None, Some(text)) => Base64::decode_vec(text).map_err(|error| format!("body_base64: {error}")),
            (None, None) => Ok(Vec::new()),
            (Some(_), Some(_)) => Err("it has both `body` and `body_base64`".to_owned()),
        }
    }
}
