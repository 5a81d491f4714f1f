//! The fields of `request.sign`.

use super::*;

/// The problems of a target that signs like this.
fn of_sign(sign: &str) -> Vec<String> {
    of_target(&format!(r#""request":{{"sign":{sign}}}"#))
}

/// The problems of a target that signs like this by an HMAC.
fn of_hmac(fields: &str) -> Vec<String> {
    of_sign(&format!(r#"{{"hmac_sha256":{{"header":"x-sig","secrets":["s"]{fields}}}}}"#))
}

/// The problems of a secret of a webhook.
fn of_secret(secret: &str) -> Vec<String> {
    of_sign(&format!(r#"{{"standard_webhooks":{{"secrets":["{secret}"]}}}}"#))
}

const WEBHOOKS: &str = r#""sign":{"standard_webhooks":{"secrets":["${env:WEBHOOK_SECRET}"]}}"#;

macro_rules! taken {
    ($($name:ident: $problems:expr;)*) => {
        $(#[test] fn $name() { assert_eq!($problems, [] as [&str; 0]); })*
    };
}

taken! {
    a_secret_of_the_environment: of_secret("${env:WEBHOOK_SECRET}");
    a_secret_in_the_file: of_secret("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
    four_secrets: of_sign(r#"{"hmac_sha256":{"header":"X-Sig","secrets":["a","b","${env:SECRET}","$${env:a}"]}}"#);
    a_header_with_a_scheme: of_sign(r#"{"hmac_sha256":{"header":"authorization","prefix":"HMAC ","encoding":"base64","secrets":["s"]}}"#);
    a_time_before_the_signature: of_hmac(r#","prefix":"v1=","timestamp":{"prefix":"t="}"#);
    a_time_in_a_header: of_hmac(r#","timestamp":{"header":"x-time"}"#);
    what_a_scheme_does_not_make_is_free: of_target(r#""request":{"headers":{"set":{"webhook-id":"a"},"forward":["webhook-signature"]},"sign":{"hmac_sha256":{"header":"x-sig","secrets":["s"]}}}"#);
    what_is_made_can_be_removed: of_target(&format!(r#""request":{{"headers":{{"remove":["webhook-id"]}},{WEBHOOKS}}}"#));
}

refused! {
    no_scheme: of_sign("{}") => "targets[0].request.sign: expected exactly one of `standard_webhooks`, `hmac_sha256`, found 0";
    two_schemes: of_sign(r#"{"standard_webhooks":{"secrets":["${env:WEBHOOK_SECRET}"]},"hmac_sha256":{"header":"x-sig","secrets":["s"]}}"#) => "targets[0].request.sign: expected exactly one of `standard_webhooks`, `hmac_sha256`, found 2";
    an_unknown_scheme: of_sign(r#"{"hmac_sha1":{}}"#) => "targets[0].request.sign.hmac_sha1: unknown field, expected one of `standard_webhooks`, `hmac_sha256`";
    no_secrets: of_sign(r#"{"standard_webhooks":{}}"#) => "targets[0].request.sign.standard_webhooks.secrets: missing, but required";
    an_empty_list_of_secrets: of_sign(r#"{"standard_webhooks":{"secrets":[]}}"#) => "targets[0].request.sign.standard_webhooks.secrets: expected 1 to 4 entries, found 0";
    five_secrets: of_sign(r#"{"hmac_sha256":{"header":"x-sig","secrets":["a","a","a","a","a"]}}"#) => "targets[0].request.sign.hmac_sha256.secrets: expected 1 to 4 entries, found 5";
    a_secret_that_is_no_list: of_sign(r#"{"standard_webhooks":{"secrets":"${env:WEBHOOK_SECRET}"}}"#) => "targets[0].request.sign.standard_webhooks.secrets: expected a list, found a string";
    a_secret_that_is_a_number: of_sign(r#"{"standard_webhooks":{"secrets":[7]}}"#) => "targets[0].request.sign.standard_webhooks.secrets[0]: expected a string, found the number 7";
    a_secret_that_is_not_set: of_secret("${env:NO}") => "targets[0].request.sign.standard_webhooks.secrets[0]: environment variable NO is not set";
    a_secret_that_is_empty: of_secret("${env:EMPTY}") => "targets[0].request.sign.standard_webhooks.secrets[0]: environment variable EMPTY is empty";
    a_secret_of_another_form: of_secret("${env:SECRET}") => "targets[0].request.sign.standard_webhooks.secrets[0]: expected `whsec_` and the base64 of 24 to 64 bytes, found no `whsec_`";
    a_secret_that_is_no_base64: of_secret("whsec_s3cret") => "targets[0].request.sign.standard_webhooks.secrets[0]: expected `whsec_` and the base64 of 24 to 64 bytes, found invalid base64, or no padding";
    a_key_that_is_too_short: of_secret("whsec_czNjcmV0") => "targets[0].request.sign.standard_webhooks.secrets[0]: expected `whsec_` and the base64 of 24 to 64 bytes, found that of 6";
    a_secret_of_two_parts: of_secret("whsec_${env:SECRET}") => "targets[0].request.sign.standard_webhooks.secrets[0]: expected one `${env:NAME}`, or a secret without expressions";
    a_secret_of_the_request: of_secret("${path}") => "targets[0].request.sign.standard_webhooks.secrets[0]: expected one `${env:NAME}`, or a secret without expressions";
    a_second_secret_that_is_empty: of_sign(r#"{"hmac_sha256":{"header":"x-sig","secrets":["s",""]}}"#) => "targets[0].request.sign.hmac_sha256.secrets[1]: expected one `${env:NAME}`, or a secret without expressions";
    no_header: of_sign(r#"{"hmac_sha256":{"secrets":["s"]}}"#) => "targets[0].request.sign.hmac_sha256.header: missing, but required";
    a_header_of_another_meaning: of_sign(r#"{"hmac_sha256":{"header":"Content-Type","secrets":["s"]}}"#) => "targets[0].request.sign.hmac_sha256.header: this header has another meaning, and cannot hold a signature";
    a_header_of_ours: of_sign(r#"{"hmac_sha256":{"header":"x-sidecast-sig","secrets":["s"]}}"#) => "targets[0].request.sign.hmac_sha256.header: Envoy or Sidecast sets this header";
    a_header_of_two_values: of_hmac(r#","timestamp":{"header":"X_Sig"}"#) => "targets[0].request.sign.hmac_sha256.timestamp.header: expected a header other than that of the signatures";
    a_time_nowhere: of_hmac(r#","timestamp":{}"#) => "targets[0].request.sign.hmac_sha256.timestamp: expected exactly one of `header`, `prefix`, found 0";
    a_time_in_two_places: of_hmac(r#","timestamp":{"header":"x-time","prefix":"t="}"#) => "targets[0].request.sign.hmac_sha256.timestamp: expected exactly one of `header`, `prefix`, found 2";
    an_empty_prefix: of_hmac(r#","prefix":"""#) => "targets[0].request.sign.hmac_sha256.prefix: expected ASCII text such as \"sha256=\"";
    a_prefix_that_begins_with_a_space: of_hmac(r#","prefix":" a""#) => "targets[0].request.sign.hmac_sha256.prefix: expected ASCII text";
    a_prefix_of_two_lines: of_hmac(r#","prefix":"a\nb""#) => "targets[0].request.sign.hmac_sha256.prefix: expected ASCII text";
    an_unknown_encoding: of_hmac(r#","encoding":"HEX""#) => "targets[0].request.sign.hmac_sha256.encoding: unknown value \"HEX\", expected one of `hex`, `base64`";
    a_made_header_that_is_set: of_target(&format!(r#""request":{{"headers":{{"set":{{"Webhook-Id":"a"}}}},{WEBHOOKS}}}"#)) => "targets[0].request.headers.set.webhook-id: `request.sign` sets this header";
    a_made_header_that_is_set_in_another_spelling: of_target(&format!(r#""request":{{"headers":{{"set":{{"webhook_timestamp":"a"}}}},{WEBHOOKS}}}"#)) => "targets[0].request.headers.set.webhook_timestamp: `request.sign` sets this header";
    a_made_header_that_is_forwarded: of_target(&format!(r#""request":{{"headers":{{"forward":["x-a","webhook-signature"]}},{WEBHOOKS}}}"#)) => "targets[0].request.headers.forward[1]: `request.sign` sets this header";
}

#[test]
fn the_header_of_the_correlation_id_cannot_be_made_by_a_signature() {
    let text = r#"{"correlation":{"header":"X-Time"},"targets":[{"name":"a","cluster":"c"},{"name":"b","cluster":"c",
        "request":{"sign":{"hmac_sha256":{"header":"x-sig","timestamp":{"header":"x-time"},"secrets":["s"]}}}}]}"#;
    assert_eq!(
        problems(text),
        ["targets[1].request.sign: expected a header other than `correlation.header`, found x-time for both"]
    );
    assert_eq!(problems(&text.replace("X-Time", "x-id")), [] as [&str; 0]);
}

#[test]
fn all_problems_of_secrets_are_told_together_and_none_shows_a_secret() {
    let text = r#"{"targets":[{"name":"t","cluster":"c","timeout":1,
        "request":{"sign":{"standard_webhooks":{"secrets":["whsec_hunter2","${env:NO}"]}}}},
        {"name":"u","cluster":"c","request":{"sign":{"hmac_sha256":{"header":"x-sig","secrets":["${env:EMPTY}"]}}}}]}"#;
    let found = problems(text);
    let places: Vec<&str> = found.iter().map(|problem| problem.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        [
            "targets[0].request.sign.standard_webhooks.secrets[0]",
            "targets[0].request.sign.standard_webhooks.secrets[1]",
            "targets[1].request.sign.hmac_sha256.secrets[0]",
            "targets[0].timeout",
        ]
    );
    assert!(!found.join("\n").contains("hunter2"), "{found:?}");
}

#[test]
fn a_target_that_signs_shows_no_secret_and_shapes_its_request() {
    let text = format!(r#"{{"targets":[{{"name":"t","cluster":"c","request":{{{WEBHOOKS}}}}}]}}"#);
    let config = Config::parse(text.as_bytes(), &env).unwrap();
    assert!(!config.targets[0].shape.is_plain() && config.targets[0].reads.headers);
    assert!(!format!("{config:?}").contains("C2FVsBQI"));
}

#[cfg(feature = "cli")]
#[test]
fn a_tool_has_keys_where_they_are_needed_and_no_other_values_change() {
    let text = br#"{"targets":[{"name":"t","cluster":"c","request":{"headers":{"set":{"x-a":"${env:A}"}},
        "sign":{"standard_webhooks":{"secrets":["${env:B}","${env:LONG}"]}}}}]}"#;
    let stand_in = crate::config::signing::stand_in(text, |name| if name == "LONG" { "x".repeat(99) } else { name.to_owned() });
    assert!(Config::parse(text, &stand_in).is_ok());
    assert_eq!(stand_in("A").as_deref(), Some("A"));
    assert!(stand_in("B").unwrap().starts_with("whsec_"));
}
