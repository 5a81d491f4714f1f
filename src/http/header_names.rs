//! The meaning of header names to Sidecast: which headers hold credentials, which belong to one connection, and which headers a configuration may
//! name for which purpose. No other module decides about that. Names are in lower case.

use crate::http::loop_mark;
use crate::http::trace_context::{TRACEPARENT, TRACESTATE};

/// True for headers that hold credentials, with which somebody could act in the client's name.
pub fn is_sensitive(name: &[u8]) -> bool {
    matches!(name, b"authorization" | b"proxy-authorization" | b"cookie" | b"x-api-key" | b"x-forwarded-client-cert")
}

/// True for headers that are never forwarded and never settable: hop-by-hop and framing headers (RFC 9110, 7.6.1), headers that Envoy obeys or sets
/// itself, and Sidecast's own.
pub fn is_reserved(name: &[u8]) -> bool {
    match name {
        b"connection" | b"keep-alive" | b"te" | b"trailer" | b"transfer-encoding" | b"upgrade" | b"http2-settings"
        | b"content-length" | b"expect" => true,
        b"proxy-authorization" => false,
        _ => name.is_empty() || begins(name, b"x-envoy-") || begins(name, b"proxy-") || begins(name, b"x-sidecast-"),
    }
}

/// True for a name with this beginning, also if it is spelled with underscores: many servers read `x_sidecast_target` as `x-sidecast-target`.
fn begins(name: &[u8], beginning: &[u8]) -> bool {
    let alike = |(byte, wanted): (&u8, &u8)| byte == wanted || (*wanted == b'-' && *byte == b'_');
    name.len() >= beginning.len() && name.iter().zip(beginning).all(alike)
}

/// True for two spellings of one name: many servers read underscores as hyphens.
pub fn alike(name: &[u8], other: &[u8]) -> bool {
    let plain = |byte: &u8| if *byte == b'_' { b'-' } else { *byte };
    name.len() == other.len() && name.iter().map(plain).eq(other.iter().map(plain))
}

/// True for headers that describe the body.
pub fn describes_body(name: &[u8]) -> bool {
    name.starts_with(b"content-") || matches!(name, b"digest" | b"repr-digest")
}

/// The purpose for which a configuration names a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// To read its value: in conditions, as a sampling key, in expressions. Reading alone sends nothing.
    Read,
    /// To send or omit it: in `forward`, `remove` and `set`.
    Send,
    /// To hold the correlation ID. Its value is sent to every target, logged, and generated if a request has none.
    Correlate,
    /// To hold a signature or its timestamp.
    Sign,
}

/// Why a header cannot be named for this purpose. `None` if it can.
pub fn objection(name: &str, purpose: Use) -> Option<&'static str> {
    let bytes = name.as_bytes();
    // Envoy maps the host of every HTTP version to the authority.
    if bytes == b"host" {
        return Some(match purpose {
            Use::Read => "Envoy keeps the host as the authority, not as a header: use `authority` instead",
            Use::Send => "the host is the authority of a request: use `authority` instead",
            Use::Correlate => "the host is the authority of a request, and cannot hold the correlation id",
            Use::Sign => "the host is the authority of a request, and cannot hold a signature",
        });
    }
    match purpose {
        Use::Read => None,
        Use::Send | Use::Sign if is_reserved(bytes) => {
            Some("Envoy or Sidecast sets this header itself, or it belongs to one connection")
        }
        Use::Send => None,
        Use::Sign if has_another_meaning(bytes) => Some("this header has another meaning, and cannot hold a signature"),
        Use::Sign => None,
        Use::Correlate if is_sensitive(bytes) => {
            Some("this header holds credentials: they would be sent to every target, and logged")
        }
        Use::Correlate if is_reserved(bytes) => {
            Some("Envoy or Sidecast sets this header itself, or it belongs to one connection")
        }
        Use::Correlate if has_another_meaning(bytes) => {
            Some("this header has another meaning, and cannot hold the correlation id")
        }
        Use::Correlate => None,
    }
}

/// True for headers whose value must not be generated.
fn has_another_meaning(name: &[u8]) -> bool {
    describes_body(name)
        || matches!(name, TRACEPARENT | TRACESTATE | b"idempotency-key" | b"set-cookie")
        || name == loop_mark::HEADER.as_bytes()
}

/// The names that [`objection`] refuses, as a regular expression for JSON Schema. It ignores case, as header names do.
#[cfg(feature = "cli")]
pub fn refused_pattern(purpose: Use) -> String {
    const RESERVED: &str = "connection|keep-alive|te|trailer|transfer-encoding|upgrade|http2-settings|content-length|expect|x[-_]envoy[-_].*|x[-_]sidecast[-_].*|\
proxy-(?!authorization$).*|proxy_.*";
    const MEANT: &str = "content-.*|digest|repr-digest|traceparent|tracestate|idempotency-key|set-cookie";
    let names = match purpose {
        Use::Read => "host".to_owned(),
        Use::Send => format!("host|{RESERVED}"),
        Use::Correlate => {
            format!("host|{RESERVED}|authorization|proxy-authorization|cookie|x-api-key|x-forwarded-client-cert|{MEANT}")
        }
        Use::Sign => format!("host|{RESERVED}|{MEANT}"),
    };
    let any_case: String = names
        .chars()
        .map(|char| if char.is_ascii_lowercase() { format!("[{char}{}]", char.to_ascii_uppercase()) } else { char.to_string() })
        .collect();
    format!("^({any_case})$")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENSITIVE: [&str; 5] = ["authorization", "proxy-authorization", "cookie", "x-api-key", "x-forwarded-client-cert"];
    const RESERVED: [&str; 14] = [
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
        "content-length",
        "expect",
        "proxy-connection",
        "proxy-authenticate",
        "x-envoy-retry-on",
        "x-sidecast-loop",
        "x-sidecast-anything",
    ];
    const MEANT: [&str; 7] =
        ["content-type", "content-encoding", "digest", "traceparent", "tracestate", "idempotency-key", "set-cookie"];
    const FREE: [&str; 5] = ["x-request-id", "x-correlation-id", "x-user", "authorization-id", "x-envoyage"];

    #[test]
    fn each_use_refuses_the_names_that_make_no_sense_for_it() {
        for (purpose, refused) in [
            (Use::Read, vec!["host"]),
            (Use::Send, [&["host"][..], &RESERVED].concat()),
            (Use::Correlate, [&["host"][..], &RESERVED, &SENSITIVE, &MEANT].concat()),
            (Use::Sign, [&["host"][..], &RESERVED, &MEANT].concat()),
        ] {
            for name in ["host"].iter().chain(&SENSITIVE).chain(&RESERVED).chain(&MEANT).chain(&FREE) {
                assert_eq!(objection(name, purpose).is_some(), refused.contains(name), "{purpose:?} {name}");
            }
        }
    }

    #[test]
    fn spellings_of_one_name_are_alike() {
        for (name, other, are) in [("x-a-b", "x_a-b", true), ("x_a", "x-a", true), ("x-a", "x-a", true), ("x-a", "x-ab", false)] {
            assert_eq!(alike(name.as_bytes(), other.as_bytes()), are, "{name} {other}");
        }
        assert!(!alike(b"x-a", b"x.a"));
    }

    #[cfg(feature = "cli")]
    #[test]
    fn the_schema_refuses_the_same_names_in_any_case() {
        for purpose in [Use::Read, Use::Send, Use::Correlate, Use::Sign] {
            // The pattern is an ECMAScript one. Its only feature that this crate's regular expressions lack is `(?!...)`.
            let pattern = refused_pattern(purpose);
            assert!(pattern.starts_with("^([hH][oO][sS][tT]"), "{pattern}");
            let behind = "(?![aA][uU][tT][hH][oO][rR][iI][zZ][aA][tT][iI][oO][nN]$)";
            let plain = regex_lite::Regex::new(&pattern.replace(behind, "")).unwrap();
            for name in ["host"].iter().chain(&SENSITIVE).chain(&RESERVED).chain(&MEANT).chain(&FREE) {
                let is_spared = *name == "proxy-authorization" && matches!(purpose, Use::Send | Use::Sign);
                let refused = objection(name, purpose).is_some();
                assert_eq!(plain.is_match(&name.to_uppercase()) && !is_spared, refused, "{purpose:?} {name}");
            }
        }
    }
}
