//! The grammar of signatures: `request.sign`.

use deserr::{Deserr, ValuePointerRef};

use super::problem::Problems;
use super::scalar::{Apart, NonEmpty, Text};
#[cfg(feature = "cli")]
use super::schema;
use super::templates::{Prefix, Secret};
use crate::http::header_names::alike;
use crate::http::names::SigningHeader;
use crate::rewrite::signing::{self, Scheme};

/// The most secrets of a target. Each of them costs a hash of every body.
pub const MAX_SECRETS: usize = 4;

/// Why a header that a signature makes cannot be named beside it.
pub(super) const SIGNED: &str =
    "`request.sign` sets this header and never sends the client's: leave the header out here, or leave out `sign`";

/// `request.sign`: exactly one of the fields.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields, validate = one_scheme -> Problems)]
#[cfg_attr(
    feature = "cli",
    derive(schemars::JsonSchema),
    schemars(
        deny_unknown_fields,
        transform = schema::one_of(&["standard_webhooks", "hmac_sha256"]),
        extend("$comment" = "shaping.md#signatures")
    )
)]
pub struct Sign {
    /// Follows the Standard Webhooks specification: `webhook-id`, `webhook-timestamp` and `webhook-signature`.
    #[deserr(default, from(Apart<Option<StandardWebhooks>>) = Apart::section)]
    pub standard_webhooks: Option<StandardWebhooks>,
    /// Sends an HMAC-SHA256 in a header that you name.
    #[deserr(default, from(Apart<Option<HmacSha256>>) = Apart::section)]
    pub hmac_sha256: Option<HmacSha256>,
}

/// `request.sign.standard_webhooks`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct StandardWebhooks {
    /// Secrets as `${env:NAME}`: `whsec_` and the base64 of 24 to 64 bytes. Each gives a signature. Set several during a rotation.
    pub secrets: NonEmpty<Text<Secret>, MAX_SECRETS>,
}

/// `request.sign.hmac_sha256`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields, validate = two_headers -> Problems)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct HmacSha256 {
    /// The header that holds the signatures.
    pub header: Text<SigningHeader>,
    /// Text before each signature. Absent: none.
    #[deserr(default)]
    pub prefix: Option<Text<Prefix>>,
    /// How the bytes of a signature are written.
    #[deserr(default)]
    #[cfg_attr(feature = "cli", schemars(default))]
    pub encoding: Encoding,
    /// Where to put the time of the attempt, in seconds since 1970. Set exactly one field. With it, the time, a dot and the body are signed. Absent: only the
    /// body is signed.
    #[deserr(default, from(Apart<Option<Timestamp>>) = Apart::section)]
    pub timestamp: Option<Timestamp>,
    /// Secrets as `${env:NAME}`: the bytes of their text are the keys. Each gives a signature; commas separate them. Set several during a rotation, if the
    /// receiver reads several.
    pub secrets: NonEmpty<Text<Secret>, MAX_SECRETS>,
}

/// `request.sign.hmac_sha256.encoding`.
#[derive(Clone, Copy, Debug, Default, Deserr)]
#[deserr(error = Problems, rename_all = lowercase)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema, serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Encoding {
    /// Hexadecimal digits in lower case.
    #[default]
    Hex,
    /// Base64, with padding.
    Base64,
}

/// `request.sign.hmac_sha256.timestamp`: exactly one of the fields.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields, validate = one_place -> Problems)]
#[cfg_attr(
    feature = "cli",
    derive(schemars::JsonSchema),
    schemars(deny_unknown_fields, transform = schema::one_of(&["header", "prefix"]))
)]
pub struct Timestamp {
    /// A header of its own.
    #[deserr(default)]
    pub header: Option<Text<SigningHeader>>,
    /// In the header of the signatures, before them: this text, the time and a comma.
    #[deserr(default)]
    pub prefix: Option<Text<Prefix>>,
}

fn one_scheme(sign: Sign, location: ValuePointerRef<'_>) -> Result<Sign, Problems> {
    one_of(
        sign,
        |sign| [sign.standard_webhooks.is_some(), sign.hmac_sha256.is_some()],
        "`standard_webhooks`, `hmac_sha256`",
        location,
    )
}

fn one_place(timestamp: Timestamp, location: ValuePointerRef<'_>) -> Result<Timestamp, Problems> {
    one_of(timestamp, |timestamp| [timestamp.header.is_some(), timestamp.prefix.is_some()], "`header`, `prefix`", location)
}

fn one_of<T>(section: T, given: impl Fn(&T) -> [bool; 2], names: &str, location: ValuePointerRef<'_>) -> Result<T, Problems> {
    match given(&section).iter().filter(|given| **given).count() {
        1 => Ok(section),
        count => Err(Problems::at(location, format!("expected exactly one of {names}, found {count}"))),
    }
}

fn two_headers(hmac: HmacSha256, location: ValuePointerRef<'_>) -> Result<HmacSha256, Problems> {
    let of_time = hmac.timestamp.as_ref().and_then(|timestamp| timestamp.header.as_ref());
    if of_time.is_some_and(|of_time| alike(of_time.0 .0.as_bytes(), hmac.header.0 .0.as_bytes())) {
        let expected = "expected a header other than that of the signatures; `prefix` puts the time before them";
        return Err(Problems::at(location.push_key("timestamp").push_key("header"), expected));
    }
    Ok(hmac)
}

impl Sign {
    /// The form of the signatures.
    pub(super) fn scheme(&self) -> Scheme {
        let Some(hmac) = &self.hmac_sha256 else {
            return Scheme::StandardWebhooks;
        };
        let text = |prefix: &Option<Text<Prefix>>| prefix.as_ref().map_or_else(String::new, |prefix| prefix.0 .0.clone());
        let place = |timestamp: &Timestamp| match &timestamp.header {
            Some(header) => signing::Timestamp::Header(header.0 .0.clone()),
            None => signing::Timestamp::Before(text(&timestamp.prefix)),
        };
        Scheme::Header(signing::SignatureHeader {
            name: hmac.header.0 .0.clone(),
            prefix: text(&hmac.prefix),
            encoding: match hmac.encoding {
                Encoding::Hex => signing::Encoding::Hex,
                Encoding::Base64 => signing::Encoding::Base64,
            },
            timestamp: hmac.timestamp.as_ref().map(place),
        })
    }

    /// True for a header that the signature makes.
    pub(super) fn makes(&self, name: &str) -> bool {
        self.scheme().makes(name.as_bytes())
    }

    /// The secrets.
    pub(super) fn secrets(&self) -> &[Text<Secret>] {
        let of_hmac = self.hmac_sha256.as_ref().map(|hmac| &hmac.secrets.0);
        let secrets = self.standard_webhooks.as_ref().map(|webhooks| &webhooks.secrets.0).or(of_hmac);
        secrets.map_or(&[], Vec::as_slice)
    }
}
