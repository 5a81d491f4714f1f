//! Reads the secrets of signatures, and converts their grammar to what the filter runs.

use std::str::FromStr;

#[cfg(feature = "cli")]
use base64ct::{Base64, Encoding as _};
use serde_json::Value;

use super::problem::Problems;
use super::raw_sign::Sign;
use super::templates::Secret;
use crate::http::invalid::Invalid;
use crate::rewrite::signing::{Key, Signing};
use crate::template::Env;
#[cfg(feature = "cli")]
use crate::template::Expression;

/// Reads a secret.
type ReadKey = fn(&str) -> Result<Key, Invalid>;

/// The schemes, and how each reads a secret.
const SCHEMES: [(&str, ReadKey); 2] = [(STANDARD_WEBHOOKS, Key::of_webhook_secret), ("hmac_sha256", Key::of_text)];
const STANDARD_WEBHOOKS: &str = "standard_webhooks";

/// Finds secrets that are not set, or are no keys. Reads the document itself, so that these problems are reported together with all others. The
/// grammar reports what has another form.
pub(super) fn check(document: &Value, env: Env<'_>, problems: &mut Problems) {
    for (scheme, key) in SCHEMES {
        for (path, secret) in secrets(document, scheme) {
            if let Err(expected) = secret.0.with_env(env).and_then(|text| key(&text)) {
                problems.push(path, expected);
            }
        }
    }
}

/// The secrets of a scheme, with their paths.
fn secrets(document: &Value, scheme: &str) -> Vec<(String, Secret)> {
    let targets = document.get("targets").and_then(Value::as_array);
    let mut found = Vec::new();
    for (index, target) in targets.into_iter().flatten().enumerate() {
        let fields = ["request", "sign", scheme, "secrets"];
        let secrets = fields.iter().try_fold(target, |value, field| value.get(field)).and_then(Value::as_array);
        for (number, secret) in secrets.into_iter().flatten().enumerate() {
            let secret = secret.as_str().and_then(|text| Secret::from_str(text).ok());
            let path = format!("targets[{index}].request.sign.{scheme}.secrets[{number}]");
            found.extend(secret.map(|secret| (path, secret)));
        }
    }
    found
}

/// How a target's calls are signed. A secret that is no key has been reported by [`check`].
pub(super) fn signing(raw: &Sign, env: Env<'_>) -> Signing {
    let key = if raw.hmac_sha256.is_some() { Key::of_text } else { Key::of_webhook_secret };
    let keys = raw.secrets().iter().filter_map(|secret| key(&secret.0 .0.with_env(env).ok()?).ok());
    Signing::new(raw.scheme(), keys.collect())
}

/// An environment for tools that do not have that of Envoy. `value` gives the values of variables. Those that must be secrets of the Standard
/// Webhooks specification are made of them.
#[cfg(feature = "cli")]
pub fn stand_in(text: &[u8], value: impl Fn(&str) -> String) -> impl Fn(&str) -> Option<String> {
    let document = serde_json::from_slice(text).unwrap_or_default();
    let secrets = secrets(&document, STANDARD_WEBHOOKS);
    let names: Vec<String> = secrets.iter().flat_map(|(_, secret)| secret.0.expressions()).filter_map(name).collect();
    move |name| {
        let value = value(name);
        let is_secret = names.iter().any(|secret| secret == name);
        // A key has 24 to 64 bytes.
        Some(if is_secret { format!("whsec_{}", Base64::encode_string(format!("{value:-<24.64}").as_bytes())) } else { value })
    }
}

#[cfg(feature = "cli")]
fn name(expression: &Expression) -> Option<String> {
    match expression {
        Expression::Env(name) => Some(name.clone()),
        _ => None,
    }
}
