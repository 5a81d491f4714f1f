//! Signatures: let a target tell that a request comes from a holder of its secret, that nobody has changed the body, and when it was sent.
//!
//! A call is signed last, over the bytes that are sent, and anew for each attempt. Two forms are known: that of the Standard Webhooks specification
//! (<https://github.com/standard-webhooks/standard-webhooks>), and a header of any name with an HMAC-SHA256, as GitHub, Stripe and Shopify send it.
//! Several secrets make several signatures, so that a receiver can change from one secret to the next.

use std::fmt;
use std::time::Duration;

use base64ct::{Base64, Encoding as _};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::http::header_names::alike;
use crate::http::headers::Pairs;
use crate::http::invalid::Invalid;
use crate::http::work_limit::HASHED_BYTE;

/// The headers of the Standard Webhooks specification.
const WEBHOOK_ID: &str = "webhook-id";
const WEBHOOK_TIMESTAMP: &str = "webhook-timestamp";
const WEBHOOK_SIGNATURE: &str = "webhook-signature";

/// What a secret of the Standard Webhooks specification begins with. Its key follows as Base64.
const WEBHOOK_SECRET: &str = "whsec_";
/// The shortest and the longest key of the Standard Webhooks specification, in bytes.
const WEBHOOK_KEY: (usize, usize) = (24, 64);

/// What stands in place of a signature that is not made.
const NO_SIGNATURE: &str = "[signature]";

/// How the calls of a target are signed.
#[derive(Debug)]
pub struct Signing {
    scheme: Scheme,
    keys: Vec<Key>,
}

/// The form of the signatures.
#[derive(Debug)]
pub enum Scheme {
    /// That of the Standard Webhooks specification: the ID of the delivery, the timestamp and the body are signed.
    StandardWebhooks,
    /// A header of any name.
    Header(SignatureHeader),
}

/// A header with signatures over the body, or over the timestamp and the body.
#[derive(Debug)]
pub struct SignatureHeader {
    /// The name, in lower case.
    pub name: String,
    /// The text before each signature.
    pub prefix: String,
    /// How a signature is written.
    pub encoding: Encoding,
    /// Where the timestamp stands. `None` signs the body alone.
    pub timestamp: Option<Timestamp>,
}

/// How the bytes of a signature are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Hexadecimal digits in lower case.
    Hex,
    /// Base64 with padding.
    Base64,
}

/// Where the timestamp of a signature stands.
#[derive(Debug)]
pub enum Timestamp {
    /// In a header of its own. The name is in lower case.
    Header(String),
    /// Before the signatures, after this text.
    Before(String),
}

/// The key of a secret.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl Key {
    /// The key whose bytes are the text.
    ///
    /// # Errors
    /// Returns an error if there is no text.
    pub fn of_text(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Err("expected text, found none".into());
        }
        Self::new(text.as_bytes())
    }

    /// The key of a secret of the Standard Webhooks specification.
    ///
    /// # Errors
    /// Returns an error that does not show the secret if it has another form or length.
    pub fn of_webhook_secret(text: &str) -> Result<Self, Invalid> {
        let (least, most) = WEBHOOK_KEY;
        let expected = |found: &dyn fmt::Display| {
            format!("expected `{WEBHOOK_SECRET}` and the base64 of {least} to {most} bytes, found {found}")
        };
        let Some(key) = text.strip_prefix(WEBHOOK_SECRET) else {
            return Err(expected(&format_args!("no `{WEBHOOK_SECRET}`")).into());
        };
        match Base64::decode_vec(key) {
            Ok(key) if (least..=most).contains(&key.len()) => Self::new(&key),
            Ok(key) => Err(expected(&format_args!("that of {} bytes", key.len())).into()),
            Err(_) => Err(expected(&"invalid base64, or no padding").into()),
        }
    }

    fn new(bytes: &[u8]) -> Result<Self, Invalid> {
        // HMAC takes keys of any length, so this is never an error.
        Hmac::new_from_slice(bytes).map(Self).map_err(|_| "expected a key".into())
    }

    /// Signs the concatenation of these parts.
    fn sign(&self, parts: &[&[u8]], encoding: Encoding) -> String {
        let mut mac = self.0.clone();
        parts.iter().for_each(|part| mac.update(part));
        let tag = mac.finalize().into_bytes();
        match encoding {
            Encoding::Base64 => Base64::encode_string(&tag),
            Encoding::Hex => format!("{tag:x}"),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Scheme {
    /// The names of the headers that it makes, in lower case.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        let (first, others) = match self {
            Self::StandardWebhooks => (WEBHOOK_SIGNATURE, [Some(WEBHOOK_ID), Some(WEBHOOK_TIMESTAMP)]),
            Self::Header(header) => match &header.timestamp {
                Some(Timestamp::Header(name)) => (header.name.as_str(), [Some(name.as_str()), None]),
                _ => (header.name.as_str(), [None, None]),
            },
        };
        [first].into_iter().chain(others.into_iter().flatten())
    }

    /// True for a header that it makes, also if it is spelled with underscores.
    pub fn makes(&self, name: &[u8]) -> bool {
        self.headers().any(|made| alike(name, made.as_bytes()))
    }
}

impl Signing {
    /// Signs with these keys, the first one first.
    pub fn new(scheme: Scheme, keys: Vec<Key>) -> Self {
        Self { scheme, keys }
    }

    /// The form of the signatures.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// True if the time of an attempt is signed.
    pub fn is_dated(&self) -> bool {
        match &self.scheme {
            Scheme::StandardWebhooks => true,
            Scheme::Header(header) => header.timestamp.is_some(),
        }
    }

    /// The work to sign a body of this length.
    pub fn work(&self, body: usize) -> usize {
        body.saturating_mul(self.keys.len()).saturating_mul(HASHED_BYTE)
    }

    /// Adds the headers for an attempt of this delivery. `at` is the time of the attempt since 1970.
    pub fn sign(&self, headers: &mut Pairs, delivery_id: &str, at: Duration, body: &[u8]) {
        let timestamp = at.as_secs().to_string();
        match &self.scheme {
            Scheme::StandardWebhooks => {
                let parts = [delivery_id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
                headers.push(WEBHOOK_ID.as_bytes(), delivery_id.as_bytes());
                headers.push(WEBHOOK_TIMESTAMP.as_bytes(), timestamp.as_bytes());
                let value = self.value(&timestamp, |key| key.sign(&parts, Encoding::Base64));
                headers.push(WEBHOOK_SIGNATURE.as_bytes(), value.as_bytes());
            }
            Scheme::Header(header) => {
                let dated = [timestamp.as_bytes(), b".", body];
                let parts = if header.timestamp.is_some() { &dated[..] } else { &[body] };
                if let Some(Timestamp::Header(name)) = &header.timestamp {
                    headers.push(name.as_bytes(), timestamp.as_bytes());
                }
                let value = self.value(&timestamp, |key| key.sign(parts, header.encoding));
                headers.push(header.name.as_bytes(), value.as_bytes());
            }
        }
    }

    /// The header of the signatures, and its value with placeholders in place of the signatures and a timestamp.
    pub fn placeholder(&self) -> (&str, String) {
        let name = match &self.scheme {
            Scheme::StandardWebhooks => WEBHOOK_SIGNATURE,
            Scheme::Header(header) => &header.name,
        };
        (name, self.value("[timestamp]", |_| NO_SIGNATURE.to_owned()))
    }

    /// The value of the header of the signatures.
    fn value(&self, timestamp: &str, signature: impl Fn(&Key) -> String) -> String {
        let (prefix, separator, before) = match &self.scheme {
            Scheme::StandardWebhooks => ("v1,", " ", None),
            Scheme::Header(header) => match &header.timestamp {
                Some(Timestamp::Before(before)) => (header.prefix.as_str(), ",", Some(before)),
                _ => (header.prefix.as_str(), ",", None),
            },
        };
        let before = before.map(|before| format!("{before}{timestamp}"));
        let signatures = self.keys.iter().map(|key| format!("{prefix}{}", signature(key)));
        before.into_iter().chain(signatures).collect::<Vec<_>>().join(separator)
    }
}

#[cfg(test)]
mod tests;
