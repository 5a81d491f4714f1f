mod answers;
mod bodies;
mod codings;
mod heads;
mod items;
mod paths;
mod signatures;

use super::*;
use crate::config::Config;
use crate::http::headers::HeaderMap;
use crate::http::request_head::RequestHead;
use crate::rewrite::capture::Needs;
use crate::template::Property;
use proptest::prelude::*;

const ID: &str = "11111111-1111-1111-1111-111111111111";
const MADE: &str = "22222222-2222-2222-2222-222222222222";

type Sent = Vec<(String, Vec<u8>)>;

/// A configuration with one target that has these fields. `more` follows the targets.
fn configured(target: &str, more: &str) -> Config {
    let text = format!(r#"{{"targets":[{{"name":"audit","cluster":"c"{target}}}]{more}}}"#);
    let env = |name: &str| (name == "TOKEN").then(|| "t0ken\r\nx: y".to_owned());
    Config::parse(text.as_bytes(), &env).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn config(more: &str) -> Config {
    configured("", more)
}

/// A configuration with one target that has this `request` section.
fn asking(request: &str) -> Config {
    configured(&format!(r#","after":"response","request":{request}"#), "")
}

fn map(pairs: &[(&str, &[u8])]) -> HeaderMap {
    HeaderMap::from(&Pairs::from_iter(pairs.iter().copied()))
}

fn owned(headers: &HeaderMap) -> Sent {
    headers.iter().map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.to_vec())).collect()
}

fn attempt() -> Attempt<'static> {
    let at = Duration::from_millis(1_767_323_999_999);
    Attempt { target: "audit", number: 1, delivery_id: Uuid::from_bytes([0x11; 16]), span_id: [0xcd; 8], at, is_shown: false }
}

fn captured(config: &Config, pairs: &[(&str, &[u8])]) -> CapturedHead {
    let headers = map(pairs);
    let head = RequestHead::read(&headers, &config.loop_guard);
    let needs = Needs { plain: true, all: true, trace: true };
    let mut captured = CapturedHead::capture(headers.clone(), head.is_grpc, head.trace(), needs, &config.correlation);
    captured.correlate(|| Uuid::from_bytes([0x22; 16]));
    captured.push_property(Property { path: vec!["xds".to_owned(), "route_name".to_owned()], value: "all/orders".to_owned() });
    captured
}

fn response() -> Answer {
    Answer { headers: map(&[("location", b"/orders/7")]), ..Answer::new(crate::template::Answerer::Primary, Some(201)) }
}

fn source<'r, 'a>(reading: &'r Reading<'a>, response: &'r Answer) -> Source<'r, 'a> {
    Source { reading, answer: Some(response), at: Duration::from_millis(1_767_323_045_678) }
}

/// What is sent of a request: headers and body.
fn call(config: &Config, pairs: &[(&str, &[u8])], body: &[u8]) -> Result<(Sent, Vec<u8>), Unfit> {
    let (captured, response) = (captured(config, pairs), response());
    let reading = Reading::new(&captured, body, &config.reading);
    let call = config.targets[0].shape.call(&source(&reading, &response), &attempt(), &config.loop_guard)?;
    Ok((owned(&HeaderMap::new(call.headers)), call.body.into_owned()))
}

fn sent(config: &Config, pairs: &[(&str, &[u8])]) -> Sent {
    call(config, pairs, b"").unwrap().0
}

/// Removes the headers that every copy gets.
fn less_ours(mut sent: Sent) -> Sent {
    let ours = ["x-sidecast-target", "x-sidecast-attempt", "x-sidecast-loop", "idempotency-key", "x-request-id"];
    sent.retain(|(name, _)| !ours.contains(&name.as_str()));
    sent
}

fn of_the_primary(pairs: &[(&str, &[u8])]) -> Sent {
    less_ours(sent(&config(""), pairs))
}

fn value<'a>(sent: &'a Sent, name: &str) -> Option<&'a str> {
    let mut values = sent.iter().filter(|(other, _)| other == name);
    let value = values.next().map(|(_, value)| std::str::from_utf8(value).unwrap());
    assert!(values.next().is_none(), "{name} is repeated");
    value
}

#[test]
fn the_primarys_headers_are_kept_in_order_with_their_bytes() {
    let pairs: [(&str, &[u8]); 6] =
        [(":method", b"POST"), (":path", b"/a?b"), (":authority", b"a:81"), ("x-a", b"1"), ("x-b", b"\x80\xff"), ("x-a", b"2")];
    let expected: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
    assert_eq!(of_the_primary(&pairs), expected);
}

#[test]
fn what_is_of_one_connection_or_envoys_or_a_credential_is_withheld() {
    for name in [
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
        "content-length",
        "expect",
        "proxy-authorization",
        "proxy-connection",
        "authorization",
        "cookie",
        "x-api-key",
        "x-forwarded-client-cert",
        "x-envoy-retry-on",
        "x-envoy-max-retries",
        "x-envoy-upstream-rq-timeout-ms",
        "x-sidecast-target",
        "x-sidecast-loop",
    ] {
        assert_eq!(of_the_primary(&[(name, b"v")]), [], "{name}");
    }
    for name in ["x-forwarded-for", "x-forwarded-proto", "accept", "content-type", "content-encoding", "host", "via", "forwarded"]
    {
        assert_eq!(of_the_primary(&[(name, b"v")]).len(), 1, "{name}");
    }
}

#[test]
fn a_copy_says_what_it_is() {
    let sent = sent(&config(""), &[(":path", b"/")]);
    assert_eq!(value(&sent, "x-sidecast-target"), Some("audit"));
    assert_eq!(value(&sent, "x-sidecast-attempt"), None, "it is the first");
    assert_eq!(value(&sent, "x-sidecast-loop"), Some(ID));
    assert_eq!(value(&sent, "idempotency-key"), Some(ID));
    assert_eq!(value(&sent, "x-request-id"), Some("22222222-2222-2222-2222-222222222222"));
    assert_eq!(value(&sent, "traceparent"), None);
}

#[test]
fn the_clients_ids_are_kept() {
    let config = config(r#","correlation":{"header":"X-Correlation"}"#);
    let sent = sent(&config, &[("idempotency-key", b"mine"), ("x-correlation", b"c1")]);
    assert_eq!(value(&sent, "idempotency-key"), Some("mine"));
    assert_eq!(value(&sent, "x-correlation"), Some("c1"));
}

const PARENT: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn a_copy_is_a_child_in_its_primarys_trace() {
    let sent = sent(&config(""), &[("traceparent", PARENT), ("tracestate", b"v=1")]);
    assert_eq!(value(&sent, "traceparent"), Some("00-0af7651916cd43dd8448eb211c80319c-cdcdcdcdcdcdcdcd-01"));
    assert_eq!(value(&sent, "tracestate"), Some("v=1"));
}

#[test]
fn an_invalid_trace_is_not_carried_on() {
    let sent_one = sent(&config(""), &[("traceparent", b"00-bad"), ("tracestate", b"v=1")]);
    assert_eq!(value(&sent_one, "traceparent"), None);
    assert_eq!(value(&sent_one, "tracestate"), None);
    let sent_two = sent(&config(""), &[("traceparent", PARENT), ("traceparent", PARENT)]);
    assert_eq!(value(&sent_two, "traceparent"), None);
}

#[test]
fn trace_headers_are_plain_headers_when_tracing_is_off() {
    let config = config(r#","correlation":{"traceparent":false}"#);
    let sent = sent(&config, &[("traceparent", PARENT), ("tracestate", b"v=1")]);
    assert_eq!(value(&sent, "traceparent").map(str::as_bytes), Some(PARENT));
    assert_eq!(value(&sent, "tracestate"), Some("v=1"));
}

#[test]
fn more_headers_than_envoy_takes_are_an_error() {
    let of_count = |count: usize| {
        let pairs: Vec<(&str, &[u8])> = (0..count).map(|_| ("x-a", &b"1"[..])).collect();
        call(&config(""), &pairs, b"").map(|_| ())
    };
    // Four more headers are added: target, loop, idempotency key, correlation ID.
    assert_eq!(of_count(1_024 - 4), Ok(()));
    assert_eq!(of_count(1_024 - 3), Err(Unfit::HeadersTooLarge));
    let long = vec![b'a'; 1 << 20];
    assert_eq!(call(&config(""), &[("x-a", &long)], b""), Err(Unfit::HeadersTooLarge));
    assert_eq!(call(&asking(r#"{"method":"PUT"}"#), &[("x-a", &long)], b""), Err(Unfit::HeadersTooLarge));
}

proptest! {
    #[test]
    fn no_header_bytes_escape_their_place(
        pairs in prop::collection::vec(("[a-z-]{1,12}", prop::collection::vec(any::<u8>(), 0..40)), 0..20),
    ) {
        let borrowed: Vec<(&str, &[u8])> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let sent = sent(&config(""), &borrowed);
        for (name, value) in &sent {
            let ours = name.starts_with("x-sidecast-") || ["idempotency-key", "x-request-id", "traceparent"].contains(&name.as_str());
            prop_assert!(ours || borrowed.iter().any(|pair| pair.0 == name && pair.1 == value.as_slice()));
        }
    }
}
