//! Properties of Envoy as text. Envoy returns them as bytes without a type: plain text, eight bytes for numbers, times and durations, one byte for
//! flags, and forms without meaning outside of Envoy for everything else (`source/extensions/common/wasm/context.cc`, `serializeValue`). Envoy
//! documents the type of each property (<https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/advanced/attributes>). This module repeats
//! it.

use std::fmt::Write;
use std::time::Duration;

use crate::json::MAX_WHOLE_DOUBLE;
use crate::template::rfc3339;

/// The type of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Text, or a property that this module does not know.
    Text,
    /// A whole number.
    Whole,
    /// A flag.
    Flag,
    /// A time, in nanoseconds since 1970.
    Time,
    /// A duration, in nanoseconds.
    Duration,
    /// A value of metadata: text, a number or a flag.
    Value,
    /// A map, a list or a message, which has no text form.
    Compound,
    /// A property of the primary's response.
    OfResponse,
}

/// The fields of a node that have no text form.
const COMPOUND_OF_NODE: [&str; 8] = [
    "metadata",
    "dynamic_parameters",
    "locality",
    "user_agent_build_version",
    "extensions",
    "client_features",
    "listening_addresses",
    "build_version",
];

fn kind(path: &[&str]) -> Kind {
    match path {
        // Each of these is a family of properties, not a property.
        ["request"
        | "connection"
        | "source"
        | "destination"
        | "upstream"
        | "xds"
        | "node"
        | "filter_state"
        | "upstream_filter_state"] => Kind::Compound,
        ["response", ..] => Kind::OfResponse,
        ["request", "headers"] | ["upstream", "locality"] => Kind::Compound,
        ["request", "time"] => Kind::Time,
        ["request", "duration"] | ["upstream", "cx_pool_ready_duration"] => Kind::Duration,
        ["request", "size" | "total_size" | "headers_bytes"]
        | ["source" | "destination" | "upstream", "port"]
        | ["connection", "id"]
        | ["connection_id"]
        | ["upstream", "num_endpoints" | "request_attempt_count"]
        | ["xds", "listener_direction"]
        | ["listener_direction"] => Kind::Whole,
        ["connection", "mtls"] => Kind::Flag,
        ["xds", "node", rest @ ..] | ["node", rest @ ..] => kind_in_node(rest),
        ["metadata", rest @ ..] => kind_in_metadata(rest),
        ["xds", name, rest @ ..] | [name, rest @ ..] if name.ends_with("_metadata") => kind_in_metadata(rest),
        _ => Kind::Text,
    }
}

/// The fields of `core.v3.Node`.
fn kind_in_node(path: &[&str]) -> Kind {
    match path {
        [] => Kind::Compound,
        [name] if COMPOUND_OF_NODE.contains(name) => Kind::Compound,
        ["metadata", _, ..] => Kind::Value,
        _ => Kind::Text,
    }
}

/// The fields of `core.v3.Metadata`: maps of names to structs and to messages.
fn kind_in_metadata(path: &[&str]) -> Kind {
    match path {
        ["filter_metadata", _, _, ..] => Kind::Value,
        ["typed_filter_metadata", _, _, ..] => Kind::Text,
        [] | ["filter_metadata" | "typed_filter_metadata", ..] => Kind::Compound,
        _ => Kind::Text,
    }
}

fn kind_of(path: &[String]) -> Kind {
    kind(&path.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Why a property cannot be used in a template. `None` if it can.
pub fn objection(path: &[String]) -> Option<String> {
    let name = path.join(".");
    match kind_of(path) {
        Kind::Compound => Some(format!("{name} is a map, a list or a message, not text: name a value in it")),
        Kind::OfResponse => Some(format!(
            "{name} is not known yet when properties are read: use ${{response:status}} or ${{response:header:NAME}} with `after: response`"
        )),
        _ => None,
    }
}

/// The text of a property. `None` if the bytes do not have the property's type.
pub fn text(path: &[String], value: Vec<u8>) -> Option<String> {
    match kind_of(path) {
        Kind::Whole => Some(whole(&value)?.to_string()),
        Kind::Flag => flag(&value),
        Kind::Time => Some(rfc3339(nanos(&value)?)).filter(|text| !text.is_empty()),
        Kind::Duration => Some(seconds(nanos(&value)?)),
        Kind::Value => plain(value.clone()).or_else(|| flag(&value)).or_else(|| number(&value)),
        Kind::Text => plain(value),
        Kind::Compound | Kind::OfResponse => None,
    }
}

/// Text without control characters. Binary numbers may happen to be UTF-8, but contain control characters.
fn plain(value: Vec<u8>) -> Option<String> {
    let is_text = |char: char| !char.is_control() || matches!(char, '\t' | '\r' | '\n');
    String::from_utf8(value).ok().filter(|text| text.chars().all(is_text))
}

fn whole(value: &[u8]) -> Option<i64> {
    value.try_into().ok().map(i64::from_le_bytes)
}

fn nanos(value: &[u8]) -> Option<Duration> {
    u64::try_from(whole(value)?).ok().map(Duration::from_nanos)
}

fn flag(value: &[u8]) -> Option<String> {
    match value {
        [0] => Some("false".to_owned()),
        [1] => Some("true".to_owned()),
        _ => None,
    }
}

/// A number of metadata, which is a double, in JSON's notation.
fn number(value: &[u8]) -> Option<String> {
    let number = value.try_into().ok().map(f64::from_le_bytes)?;
    if number.fract() == 0.0 && number.abs() <= MAX_WHOLE_DOUBLE {
        return Some((number as i64).to_string());
    }
    number.is_finite().then(|| serde_json::to_string(&number).unwrap_or_default())
}

/// A duration in seconds, in the JSON notation of protocol buffers: `1.5s`.
fn seconds(duration: Duration) -> String {
    let mut text = duration.as_secs().to_string();
    if duration.subsec_nanos() > 0 {
        // Writing to a string never fails.
        write!(text, ".{:09}", duration.subsec_nanos()).unwrap_or_default();
        text.truncate(text.trim_end_matches('0').len());
    }
    text.push('s');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> Vec<String> {
        name.split('.').map(str::to_owned).collect()
    }

    fn text_of(name: &str, value: &[u8]) -> Option<String> {
        text(&path(name), value.to_vec())
    }

    #[test]
    fn what_is_documented_as_a_number_a_time_a_duration_or_a_flag_is_text() {
        for name in
            ["source.port", "request.size", "request.headers_bytes", "connection.id", "connection_id", "xds.listener_direction"]
        {
            assert_eq!(text_of(name, &4_711_i64.to_le_bytes()).as_deref(), Some("4711"), "{name}");
            assert_eq!(text_of(name, b"4711"), None, "{name}");
        }
        assert_eq!(text_of("connection.mtls", &[1]).as_deref(), Some("true"));
        assert_eq!(text_of("connection.mtls", &[0]).as_deref(), Some("false"));
        assert_eq!(text_of("connection.mtls", b"true"), None);
        let time = 1_767_323_045_678_000_000_i64.to_le_bytes();
        assert_eq!(text_of("request.time", &time).as_deref(), Some("2026-01-02T03:04:05.678Z"));
        assert_eq!(text_of("request.time", &(-1_i64).to_le_bytes()), None);
        for (nanos, text) in [(0, "0s"), (1_500_000_000, "1.5s"), (1, "0.000000001s"), (60_000_000_000, "60s")] {
            assert_eq!(text_of("request.duration", &i64::to_le_bytes(nanos)).as_deref(), Some(text));
        }
    }

    #[test]
    fn values_of_metadata_are_text_numbers_and_flags() {
        for name in
            ["metadata.filter_metadata.a.b", "xds.route_metadata.filter_metadata.a.b.c", "xds.node.metadata.a", "node.metadata.a"]
        {
            assert_eq!(text_of(name, "é 1".as_bytes()).as_deref(), Some("é 1"), "{name}");
            for (number, text) in [(17.0, "17"), (0.0, "0"), (-1.5, "-1.5"), (1e300, "1e+300")] {
                assert_eq!(text_of(name, &f64::to_le_bytes(number)).as_deref(), Some(text), "{name}");
            }
            assert_eq!(text_of(name, &[1]).as_deref(), Some("true"), "{name}");
            assert_eq!(text_of(name, &f64::NAN.to_le_bytes()), None, "{name}");
            // An empty map, and a list of one value.
            assert_eq!(text_of(name, &[0, 0, 0, 0]), None, "{name}");
            assert_eq!(text_of(name, &[1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, b'a', 0, 0]), None, "{name}");
        }
    }

    #[test]
    fn what_is_not_known_is_text_or_absent() {
        for name in ["filter_state.a", "my.own", "xds.something_new", "metadata.typed_filter_metadata.a.value"] {
            assert_eq!(text_of(name, b"a\tb").as_deref(), Some("a\tb"), "{name}");
            assert_eq!(text_of(name, b"").as_deref(), Some(""), "{name}");
            for bytes in [&b"\xff"[..], b"\x01", b"a\0b", &0_i64.to_le_bytes(), &17_i64.to_le_bytes(), &1.5_f64.to_le_bytes()] {
                assert_eq!(text_of(name, bytes), None, "{name} {bytes:?}");
            }
        }
    }

    #[test]
    fn maps_lists_messages_and_what_is_of_the_response_are_refused() {
        for name in [
            "request",
            "request.headers",
            "metadata",
            "metadata.filter_metadata",
            "metadata.filter_metadata.envoy",
            "xds",
            "xds.node",
            "xds.node.metadata",
            "xds.node.locality",
            "xds.route_metadata",
            "xds.upstream_host_locality_metadata",
            "listener_metadata",
            "listener_metadata.typed_filter_metadata.a",
            "node",
            "filter_state",
            "upstream.locality",
        ] {
            assert!(objection(&path(name)).is_some_and(|text| text.contains("not text")), "{name}");
        }
        for name in ["response", "response.code", "response.headers", "response.headers.location", "response.flags"] {
            assert!(objection(&path(name)).is_some_and(|text| text.contains("${response:status}")), "{name}");
        }
        for name in [
            "request.headers.x-user",
            "request.path",
            "xds.node.id",
            "xds.node.locality.zone",
            "node.cluster",
            "plugin_name",
            "filter_state.a",
            "unknown",
            "connection.sha256_peer_certificate_digest",
        ] {
            assert_eq!(objection(&path(name)), None, "{name}");
        }
    }
}
