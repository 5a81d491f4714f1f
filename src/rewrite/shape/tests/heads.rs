//! The request line and the headers of targets that change something.

use super::*;

const REQUEST: [(&str, &[u8]); 13] = [
    (":method", b"PUT"),
    (":path", b"/orders/1%20a?q=1&user=J%C3%B6"),
    (":authority", b"shop:81"),
    (":scheme", b"https"),
    ("content-type", b"text/plain"),
    ("content-encoding", b"identity"),
    ("x-user", b"J\xc3\xb6rg\tB"),
    ("x-tenant", b"t1"),
    ("authorization", b"Bearer secret"),
    ("cookie", b"session"),
    ("connection", b"keep-alive"),
    ("x-envoy-retry-on", b"5xx"),
    ("x-request-id", b"c1"),
];

/// The sent headers, as lines, without those that every copy gets.
fn lines(request: &str) -> Vec<String> {
    let (sent, _) = call(&asking(request), &REQUEST, b"body").unwrap();
    let ours = ["x-sidecast-target", "x-sidecast-loop", "idempotency-key"];
    let kept = sent.into_iter().filter(|(name, _)| !ours.contains(&name.as_str()));
    kept.map(|(name, value)| format!("{name}={}", String::from_utf8(value).unwrap())).collect()
}

const LINE: [&str; 4] = [":method=PUT", ":path=/orders/1%20a?q=1&user=J%C3%B6", ":authority=shop:81", ":scheme=https"];
const OF_THE_BODY: [&str; 2] = ["content-type=text/plain", "content-encoding=identity"];

#[test]
fn the_request_line_can_be_replaced() {
    let sent = lines(
        r#"{"method":"POST","path":"/events/${query:user}?src=${path}&u=${header:x-user}","authority":"${target}.internal:${response:status}"}"#,
    );
    assert_eq!(
        sent[..4],
        [
            ":method=POST",
            ":path=/events/J%C3%B6?src=/orders/1%2520a&u=J%C3%B6rg%09B",
            ":authority=audit.internal:201",
            ":scheme=https"
        ]
    );
}

#[test]
fn all_headers_are_sent_but_the_sensitive_and_those_of_the_hop() {
    let expected = [&LINE[..], &OF_THE_BODY, &["x-user=J\u{f6}rg\tB", "x-tenant=t1", "x-request-id=c1"]].concat();
    assert_eq!(lines(r#"{"headers":{"forward":"all","remove":["x-none"]}}"#), expected);
}

#[test]
fn sensitive_headers_are_sent_where_that_is_asked_for() {
    let sent = lines(r#"{"headers":{"sensitive":"forward"}}"#);
    assert!(sent.contains(&"authorization=Bearer secret".to_owned()) && sent.contains(&"cookie=session".to_owned()), "{sent:?}");
    assert!(!sent.iter().any(|line| line.starts_with("x-envoy") || line.starts_with("connection")));
}

#[test]
fn none_of_the_headers_is_sent_but_what_describes_the_body_and_ties_the_copy_to_its_primary() {
    assert_eq!(lines(r#"{"headers":{"forward":"none"}}"#), [&LINE[..], &OF_THE_BODY, &["x-request-id=c1"]].concat());
    // `sensitive` only matters for headers that `forward` allows.
    assert_eq!(lines(r#"{"headers":{"forward":"none","sensitive":"forward"}}"#), lines(r#"{"headers":{"forward":"none"}}"#));
}

#[test]
fn the_headers_that_are_named_are_sent_even_the_sensitive() {
    let sent = lines(r#"{"headers":{"forward":["Cookie","x-tenant"]}}"#);
    assert_eq!(sent, [&LINE[..], &OF_THE_BODY, &["x-tenant=t1", "cookie=session", "x-request-id=c1"]].concat());
}

#[test]
fn headers_can_be_removed_and_set() {
    let sent = lines(
        r#"{"headers":{"remove":["x-user","x-request-id","content-encoding"],
                       "set":{"x-tenant":"${body_text}/${property:xds.route_name}","Authorization":"Bearer ${env:TOKEN}","x-new":" ${response:header:location} "}}}"#,
    );
    let expected = ["content-type=text/plain", "authorization=Bearer t0kenx: y", "x-new=/orders/7", "x-tenant=body/all/orders"];
    assert_eq!(sent, [&LINE[..], &expected].concat());
}

#[test]
fn a_variable_does_not_stand_in_what_is_shown_in_a_letter() {
    let request = r#"{"path":"/hook/${env:TOKEN}","headers":{"set":{"authorization":"Bearer ${env:TOKEN}"}},"body":{"template":{"key":"${env:TOKEN}"}}}"#;
    let config = asking(request);
    let (captured, response) = (captured(&config, &REQUEST), response());
    let of = |is_shown| {
        let attempt = Attempt { is_shown, ..attempt() };
        let reading = Reading::new(&captured, b"{}", &config.reading);
        let call = config.targets[0].shape.call(&source(&reading, &response), &attempt, &config.loop_guard).unwrap();
        (owned(&HeaderMap::new(call.headers)), String::from_utf8(call.body.into_owned()).unwrap())
    };
    let (sent, body) = of(false);
    assert_eq!((value(&sent, "authorization"), body.as_str()), (Some("Bearer t0kenx: y"), r#"{"key":"t0ken\r\nx: y"}"#));
    let (shown, body) = of(true);
    assert_eq!((value(&shown, "authorization"), body.as_str()), (Some("Bearer [redacted]"), r#"{"key":"[redacted]"}"#));
    assert_eq!(value(&shown, ":path"), Some("/hook/%5Bredacted%5D"));
    assert_eq!(config.targets[0].shape.variable_places().collect::<Vec<_>>(), [":path", "authorization", ":body"]);
}

#[test]
fn an_id_that_the_client_sent_none_of_is_made_whatever_is_forwarded_unless_it_is_removed_or_set() {
    let id = |request: &str| {
        let sent = sent(&asking(request), &REQUEST[..4]);
        value(&sent, "x-request-id").map(str::to_owned)
    };
    assert_eq!(id(r#"{"headers":{"forward":"none"}}"#).as_deref(), Some(MADE));
    assert_eq!(id(r#"{"headers":{"remove":["x-request-id"]}}"#), None);
    assert_eq!(id(r#"{"headers":{"set":{"x-request-id":"mine"}}}"#).as_deref(), Some("mine"));
    assert_eq!(id(r#"{"headers":{"set":{"x-copy":"${correlation_id}"}}}"#).as_deref(), Some(MADE));
}

#[test]
fn the_idempotency_key_is_the_clients_if_it_is_forwarded_else_the_deliverys() {
    let pairs = [&REQUEST[..4], &[("idempotency-key", &b"mine"[..])]].concat();
    let key = |request: &str| value(&sent(&asking(request), &pairs), "idempotency-key").map(str::to_owned);
    assert_eq!(key(r#"{"method":"POST"}"#).as_deref(), Some("mine"));
    assert_eq!(key(r#"{"headers":{"forward":"none"}}"#).as_deref(), Some(ID));
    assert_eq!(key(r#"{"headers":{"set":{"idempotency-key":"${delivery_id}-x"}}}"#), Some(format!("{ID}-x")));
}

#[test]
fn a_trace_goes_on_whatever_is_forwarded_unless_it_is_removed() {
    let pairs = [&REQUEST[..4], &[("traceparent", PARENT), ("tracestate", b"v=1")]].concat();
    let sent_with = |request: &str| sent(&asking(request), &pairs);
    let traced = sent_with(r#"{"headers":{"forward":"none"}}"#);
    assert_eq!(value(&traced, "traceparent"), Some("00-0af7651916cd43dd8448eb211c80319c-cdcdcdcdcdcdcdcd-01"));
    assert_eq!(value(&traced, "tracestate"), Some("v=1"));
    let removed = sent_with(r#"{"headers":{"remove":["traceparent"]}}"#);
    assert_eq!((value(&removed, "traceparent"), value(&removed, "tracestate")), (None, None));
}

#[test]
fn a_grpc_request_keeps_what_grpc_needs_unless_its_body_is_another() {
    let grpc = [&[(":method", &b"POST"[..])], &REQUEST[1..4], &[("content-type", &b"application/grpc"[..]), ("te", b"trailers")]]
        .concat();
    for (config, te) in [
        (config(""), Some("trailers")),
        (asking(r#"{"headers":{"forward":"none"}}"#), Some("trailers")),
        (asking(r#"{"body":{"template":{}}}"#), None),
    ] {
        assert_eq!(value(&sent(&config, &grpc), "te"), te);
    }
}

proptest! {
    /// No header value of a client adds a header, ends one, or ends a path.
    #[test]
    fn no_value_escapes_its_place(
        header in prop::collection::vec(any::<u8>(), 0..40),
        path in prop::collection::vec(any::<u8>(), 0..40),
        body in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let request = r#"{"path":"/e/${header:x-a}?p=${path}&q=${query:q}&b=${body_text}","authority":"h${header:x-a}",
            "headers":{"forward":"none","set":{"x-out":"<${header:x-a}${body_text}${path}>"}}}"#;
        let pairs: [(&str, &[u8]); 4] = [(":method", b"POST"), (":path", &path), (":authority", b"a"), ("x-a", &header)];
        let sent = match call(&asking(request), &pairs, &body) {
            Ok((sent, _)) => sent,
            Err(unfit) => {
                prop_assert_eq!(unfit, Unfit::UnsafePath);
                return Ok(());
            }
        };
        let names: Vec<&str> = sent.iter().map(|(name, _)| name.as_str()).collect();
        let expected = [":method", ":path", ":authority", "x-request-id", "x-out", "x-sidecast-target", "x-sidecast-loop", "idempotency-key"];
        prop_assert_eq!(names, expected);
        let path = value(&sent, ":path").unwrap();
        prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'), "{}", path);
        prop_assert_eq!(path.matches('?').count(), 1);
        prop_assert_eq!(path.matches('&').count(), 2);
        for name in [":authority", "x-out"] {
            prop_assert!(!value(&sent, name).unwrap().contains(['\r', '\n', '\0']));
        }
    }
}
