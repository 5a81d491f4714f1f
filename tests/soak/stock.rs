//! Texts that mean something: names of clusters and headers, paths, pointers, templates, durations, as the requests of the
//! soak have them. A pattern of the schema picks what can stand in a field.

use serde_json::{json, Map, Value};

use crate::dice::Dice;

/// Clusters that are there, and how their upstreams behave. See `stage`.
pub(crate) const TARGETS: [&str; 11] =
    ["calm", "calm", "moody", "moody", "slow", "hanging", "cutting", "babbling", "narrow", "mixed", "notes"];
/// Clusters that cannot be reached: nobody listens, no endpoint, unknown to Envoy.
pub(crate) const UNREACHABLE: [&str; 3] = ["gone", "empty", "nowhere"];
pub(crate) const KEEPERS: [&str; 5] = ["keeper", "keeper", "keeper-moody", "keeper-cutting", "keeper-hanging"];

pub(crate) const PATHS: [&str; 15] = [
    "/",
    "/orders",
    "/orders/7",
    "/v1/user/7/ping",
    "/v1",
    "/files/a%20b",
    "/a",
    "/ordersX",
    "/a//b",
    "/x/../y",
    "/%2e%2e/z",
    "/health",
    "/direct",
    "/redirect",
    "/nobody",
];
pub(crate) const QUERIES: [&str; 7] =
    ["", "?page=2&sort=asc", "?page=", "?", "?a=%20b&a=c+d", "?channel=web%20shop", "?page=%ff%00"];
pub(crate) const METHODS: [&str; 9] = ["GET", "POST", "PUT", "HEAD", "DELETE", "PATCH", "OPTIONS", "PURGE", "TRACE"];
pub(crate) const HEADERS: [&str; 9] =
    ["x-tenant", "x-user-id", "x-debug", "x-a", "content-type", "user-agent", "x-request-id", "x-trace", "host"];
pub(crate) const VALUES: [&str; 10] = ["acme", "soak.example", "a", "1", "application/json", "", "z", "A", "acme-a", "0"];
/// Headers with credentials, which targets do not get unless they are asked for.
pub(crate) const CREDENTIALS: [&str; 5] =
    ["authorization", "proxy-authorization", "cookie", "x-api-key", "x-forwarded-client-cert"];

const POINTERS: [&str; 14] = [
    "/card/number",
    "/card",
    "/items/*/ssn",
    "/items",
    "/secret",
    "/*/ssn",
    "",
    "/*",
    "/id",
    "/items/0/sku",
    "/total",
    "/nothing",
    "/0",
    "/a~1b",
];
const REGEXES: [&str; 15] = [
    "/v[0-9]+/.*",
    "/orders(/.*)?",
    ".*",
    "a|b",
    "[a-z]+",
    r"/\<orders\>(/.*)?",
    "(?i)ACME.*",
    r"/files/a%20b",
    r"^/a$",
    r"\x61",
    "",
    r"/(orders|files)/\S*",
    r"(?s).+",
    "acme?",
    r"/v1/user/([0-9]+)/ping",
];
const DURATIONS: [&str; 10] = ["1ms", "20ms", "100ms", "0.25s", "+300ms", "500ms", "800ms", "1s", "1.5s", "2s"];
const LONG: [&str; 5] = ["1h", "60s", "2m", "10s", "30m"];
const SIZES: [&str; 12] = ["0", "100", "1KiB", "4 KiB", "16KiB", "64KiB", "100_000", "1e6", "1MiB", "8MiB", "16MiB", "64MiB"];
const STATUSES: [&str; 12] = ["2xx", "3xx", "4xx", "5xx", "1xx", "200", "204", "404", "410", "429", "503", "500"];
const CONDITIONS: [&str; 4] = ["reset", "timeout", "connect_failure", "no_healthy_upstream"];
const EXPRESSIONS: [&str; 34] = [
    "method",
    "path",
    "query",
    "query:page",
    "query:a",
    "authority",
    "header:x-tenant",
    "header:x-user-id",
    "header:authorization",
    "header:content-type",
    "body",
    "body:/id",
    "body:/card",
    "body:/items",
    "body:/items/0/sku",
    "body:",
    "body_text",
    "body_base64",
    "target",
    "delivery_id",
    "correlation_id",
    "attempt",
    "now",
    "now_ms",
    "now_s",
    "env:RABBIT_BASIC",
    "property:xds.route_name",
    "property:source.port",
    "property:request.size",
    "response:status",
    "response:header:content-type",
    "dead_letter",
    "dead_letter_base64",
    "property:source.address",
];
const PIECES: [&str; 14] = ["", "/", "/events", "?src=", "&b=", "a", ".", "..", ":", "acme", "$${", "$", "%20", "-"];

/// Text with expressions; most often it begins with a slash, as paths do.
fn template(dice: &mut Dice) -> String {
    let mut text = String::from(if dice.once_in(2) { "/" } else { "" });
    for _ in 0..dice.below(4) {
        if dice.once_in(2) {
            text.push_str(&pick(dice, &PIECES));
        } else {
            text.push_str(&format!("${{{}}}", dice.one_of(&EXPRESSIONS)));
        }
    }
    text
}

fn pick(dice: &mut Dice, all: &[&str]) -> String {
    (*dice.one_of(all)).to_owned()
}

fn anything(dice: &mut Dice) -> String {
    match dice.below(14) {
        0 => pick(dice, &PATHS),
        1 => pick(dice, &METHODS),
        2 => pick(dice, &HEADERS),
        3 => pick(dice, &VALUES),
        4 => pick(dice, &CREDENTIALS),
        5 => pick(dice, &POINTERS),
        6 => pick(dice, &REGEXES),
        7 => pick(dice, &DURATIONS),
        8 => pick(dice, &SIZES),
        9 => pick(dice, &STATUSES),
        10 => pick(dice, &CONDITIONS),
        11 => dice.letters(3),
        _ => template(dice),
    }
}

/// A text for the field at the end of a way. Fields that are not known here get anything, of which their pattern takes what fits.
pub(crate) fn text(dice: &mut Dice, way: &str) -> String {
    let mut keys = way.rsplit('/').filter(|key| *key != "*");
    let (key, section) = (keys.next().unwrap_or_default(), keys.next().unwrap_or_default());
    // A field that takes anything must not wait for hours at the end, nor go anywhere but to clusters of the soak.
    match (section, key) {
        ("dead_letter", "cluster") if !dice.once_in(8) => return pick(dice, &KEEPERS),
        (_, "cluster") if dice.once_in(8) => return pick(dice, &UNREACHABLE),
        (_, "cluster") => return pick(dice, &TARGETS),
        (_, "window" | "open_for" | "max_open_for" | "longer_than") if dice.once_in(4) => return pick(dice, &LONG),
        _ => {}
    }
    if dice.once_in(8) {
        return anything(dice);
    }
    match (section, key) {
        ("targets", "name") => format!("t{}", dice.below(64)),
        ("query", "name") => pick(dice, &["page", "a", "channel", "b", ""]),
        (_, "name" | "header" | "forward" | "remove") => match dice.below(6) {
            0 => pick(dice, &CREDENTIALS),
            1 => format!("x-{}", dice.letters(2)),
            _ => pick(dice, &HEADERS),
        },
        (_, "methods" | "method") => pick(dice, &METHODS),
        ("path" | "prefix_rewrite", "exact" | "prefix" | "replacement") => pick(dice, &PATHS),
        (_, "exact" | "prefix" | "suffix") if dice.once_in(2) => pick(dice, &PATHS),
        (_, "exact" | "prefix" | "suffix") => pick(dice, &VALUES),
        (_, "max_buffered_bytes") if !dice.once_in(6) => pick(dice, &["64MiB", "16MiB", "4MiB", "1MiB"]),
        (_, "max_body_bytes") if !dice.once_in(6) => pick(dice, &["1MiB", "256KiB", "16KiB"]),
        ("regex_rewrite", "substitution") => pick(dice, &["\\1", "/v2\\0", "x", "", "\\2/\\1", "/"]),
        (_, "pointer") => pick(dice, &POINTERS),
        (_, "regex" | "pattern") => pick(dice, &REGEXES),
        (_, "redact" | "ignore" | "unordered") => pick(dice, &POINTERS),
        ("standard_webhooks", "secrets") => format!("whsec_{}", data_encoding::BASE64.encode(dice.letters(24).as_bytes())),
        (_, "secret" | "secrets") => {
            if dice.once_in(2) {
                "${env:RABBIT_BASIC}".to_owned()
            } else {
                dice.letters(5)
            }
        }
        (_, "on") if dice.once_in(2) => pick(dice, &CONDITIONS),
        (_, "on" | "success" | "statuses" | "failure_statuses") => pick(dice, &STATUSES),
        (_, "path" | "authority" | "value") => template(dice),
        _ => anything(dice),
    }
}

/// Any JSON, with expressions in its strings.
pub(crate) fn any_json(dice: &mut Dice, depth: usize) -> Value {
    match dice.below(if depth == 0 { 6 } else { 10 }) {
        0 => json!(null),
        1 => json!(dice.once_in(2)),
        2 => json!(dice.below(1000)),
        3..=5 => json!(template(dice)),
        6 => (0..dice.below(4)).map(|_| any_json(dice, depth - 1)).collect(),
        _ => {
            let fields = (0..dice.below(4)).map(|_| (dice.letters(2), any_json(dice, depth - 1)));
            Value::Object(fields.collect::<Map<String, Value>>())
        }
    }
}
