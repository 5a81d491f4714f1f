//! Keeps credentials out of what is shown.

use serde_json::Value;

use crate::check::is_secret;

/// What stands in place of a credential.
pub(super) const HIDDEN: &str = "(not shown)";

/// The value at a path, without credentials. Returns true if something was left out.
pub(super) fn without_secrets(path: &str, value: &Value) -> (Value, bool) {
    let mut value = value.clone();
    // A key of an object may have dots, so every part of the path may be the name of a header.
    let names_secret = path.split(['.', '[', ']']).any(is_name_of_secret);
    let is_hidden = hide(&mut value, names_secret);
    (value, is_hidden)
}

/// True for the name of a header, parameter or member that holds a credential.
fn is_name_of_secret(name: &str) -> bool {
    is_secret(&name.replace('_', "-"), "")
}

fn hide(value: &mut Value, is_secret_here: bool) -> bool {
    match value {
        Value::String(text) => hide_text(text, is_secret_here),
        Value::Number(_) | Value::Bool(_) if is_secret_here => {
            *value = HIDDEN.into();
            true
        }
        // All of them are hidden, not only the first.
        Value::Array(items) => items.iter_mut().filter_map(|item| hide(item, is_secret_here).then_some(())).count() > 0,
        Value::Object(fields) => {
            // A condition names its subject in a field beside the value.
            let subject = ["name", "pointer"].iter().filter_map(|field| fields.get(*field)?.as_str());
            let is_condition = subject.flat_map(|subject| subject.split('/')).any(is_name_of_secret);
            let mut hidden = false;
            for (name, value) in fields.iter_mut() {
                let is_subject = matches!(name.as_str(), "name" | "pointer" | "present");
                let is_secret = is_secret_here || is_name_of_secret(name) || (is_condition && !is_subject);
                hidden |= hide(value, is_secret);
            }
            hidden
        }
        _ => false,
    }
}

fn hide_text(text: &mut String, is_secret_here: bool) -> bool {
    if is_reference(text) || text.is_empty() {
        return false;
    }
    if is_secret_here || is_secret("", text) || has_password(text) {
        HIDDEN.clone_into(text);
        return true;
    }
    let without = without_parameters(text);
    let hidden = without != *text;
    *text = without;
    hidden
}

/// True if the text holds nothing but expressions, and the word for their scheme: it names a credential and holds none.
fn is_reference(text: &str) -> bool {
    let mut rest = text;
    for scheme in ["Bearer ", "Basic ", "bearer ", "basic "] {
        rest = rest.strip_prefix(scheme).unwrap_or(rest);
    }
    let mut count = 0_usize;
    while let Some((_, after)) = rest.strip_prefix("${").and_then(|rest| rest.split_once('}')) {
        rest = after;
        count = count.saturating_add(1);
    }
    rest.is_empty() && count > 0
}

/// True for an authority or address with a password, such as `http://user:password@host`.
fn has_password(text: &str) -> bool {
    let before_host = text.split_once('@').map(|(before, _)| before.rsplit('/').next().unwrap_or_default());
    before_host.is_some_and(|user| user.contains(':') && !user.contains(char::is_whitespace))
}

/// A path without the values of parameters that hold credentials.
fn without_parameters(text: &str) -> String {
    let Some((path, query)) = text.split_once('?') else { return text.to_owned() };
    // By these short names several clouds take a key or a signed permission in an address.
    let is_own =
        |name: &str| is_name_of_secret(name) || matches!(name.to_ascii_lowercase().as_str(), "key" | "sig" | "signature");
    let parameters = query.split('&').map(|parameter| match parameter.split_once('=') {
        Some((name, value)) if is_own(name) && !is_reference(value) => format!("{name}={HIDDEN}"),
        _ => parameter.to_owned(),
    });
    format!("{path}?{}", parameters.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn is_shown(path: &str, value: &Value) {
        assert_eq!(without_secrets(path, value), (value.clone(), false));
    }

    #[track_caller]
    fn is_hidden(path: &str, value: &Value) {
        let (shown, hidden) = without_secrets(path, value);
        assert!(hidden && !shown.to_string().contains("hunter2"), "{shown}");
    }

    #[test]
    fn credentials_are_hidden_wherever_they_stand() {
        is_hidden("targets[0].request.headers.set.authorization", &json!("hunter2"));
        is_hidden("targets[0].request.headers.set.x-a", &json!("Bearer hunter2"));
        is_hidden("targets[0].request.headers.set.x-api-key", &json!("${env:A}hunter2"));
        is_hidden("targets[0].dead_letter", &json!({"headers": {"set": {"Cookie": "hunter2"}}}));
        is_hidden("targets[0].request.sign", &json!({"hmac_sha256": {"secrets": ["hunter2"]}}));
        is_hidden("targets[0].request.sign.standard_webhooks.secrets", &json!(["whsec_hunter2"]));
        is_hidden("loop_guard.secret", &json!("hunter2"));
        is_hidden("targets[0].match", &json!([{"headers": [{"name": "x-token", "exact": "hunter2"}]}]));
        is_hidden("targets[0].match", &json!([{"query": [{"name": "api_key", "prefix": "hunter2"}]}]));
        is_hidden("targets[0].match", &json!([{"body": [{"pointer": "/user/password", "exact": "hunter2"}]}]));
        is_hidden("targets[0].request.body.template", &json!({"login": {"password": "hunter2"}}));
        is_hidden("targets[0].request.path", &json!("/a?b=c&access_token=hunter2"));
        is_hidden("targets[0].dead_letter.path", &json!("/a?sv=1&sig=hunter2"));
        is_hidden("targets[0].request.path", &json!("/a?key=hunter2"));
        is_hidden("targets[0].request.headers.set.x-functions-key", &json!("hunter2"));
        is_hidden("targets[0].request.body.template", &json!("https://me:hunter2@example.com/"));
    }

    #[test]
    fn what_only_names_a_credential_is_shown() {
        is_shown("targets[0].request.headers.set.authorization", &json!("Bearer ${env:TOKEN}"));
        is_shown("loop_guard.secret", &json!("${env:SECRET}"));
        is_shown("targets[0].request.headers.forward", &json!(["authorization"]));
        is_shown("targets[0].request.headers.sensitive", &json!("strip"));
        is_shown("targets[0].request.body.redact", &json!(["/card/token"]));
        is_shown("targets[0].match", &json!([{"headers": [{"name": "authorization", "present": true}]}]));
        is_shown("targets[0].request.path", &json!("/a?b=c"));
        is_shown("targets[0].request.headers.set.idempotency-key", &json!("${delivery_id}-a"));
    }
}
