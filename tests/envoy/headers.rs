//! What a target receives, header for header.

use hyper::header::HeaderValue;
use serde_json::json;

use crate::claims::claims;
use crate::scene::{everything_to, Scene};
use crate::support::answer::{Answer, Behaviour};
use crate::support::bootstrap::Filter;
use crate::support::client::{full, Client};
use crate::support::raw;
use crate::support::recorded::{Headers, Recorded};
use crate::support::setup::Setup;

/// Names that the filter, or Envoy's own client, adds to a copy.
const ADDED: [&str; 8] = [
    "x-sidecast-target",
    "x-sidecast-attempt",
    "x-sidecast-loop",
    "idempotency-key",
    "x-envoy-internal",
    "x-envoy-expected-rq-timeout-ms",
    "content-length",
    "transfer-encoding",
];

/// The headers that came from the client.
fn from_client(seen: &Recorded) -> Headers {
    seen.headers.iter().filter(|(name, _)| !ADDED.contains(&name.as_str())).cloned().collect()
}

fn pairs(list: &[(&str, &[u8])]) -> Headers {
    list.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect()
}

#[tokio::test]
async fn the_headers_of_a_copy_are_those_of_its_request_but_for_what_is_not_for_a_target() {
    let mut correlated = everything_to(&["audit"]);
    correlated["correlation"] = json!({"header": "x-correlation"});
    let add = |setup: Setup| setup.listener("plain", Filter::None).listener("correlated", Filter::json(&correlated));
    claims!(
        Scene::set_up(["audit"], everything_to(&["audit"]), add).await,
        headers_that_connection_names_are_stripped_by_envoy,
        the_copy_has_the_headers_of_the_primary_in_their_order,
        what_belongs_to_one_connection_is_not_copied,
        credentials_are_not_copied_but_reach_the_primary,
        headers_that_steer_envoy_are_neither_copied_nor_obeyed,
        the_filters_own_headers_cannot_be_sent_by_a_client,
        the_primary_receives_what_it_would_without_the_filter,
        another_correlation_header_is_made_when_it_is_missing,
    );
}

async fn headers_that_connection_names_are_stripped_by_envoy(scene: &Scene<1>) {
    let request = b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: close, X-Hop\r\nx-hop: private\r\nx-kept: public\r\n\r\n";
    assert_eq!(raw::status(&raw::exchange(scene.envoy.address("main"), request).await), 200);
    let names: Vec<_> = from_client(&scene.target().take_one().await).into_iter().map(|(name, _)| name).collect();
    assert!(names.contains(&"x-kept".to_owned()), "{names:?}");
    assert!(!names.contains(&"x-hop".to_owned()) && !names.contains(&"connection".to_owned()), "{names:?}");
}

async fn the_copy_has_the_headers_of_the_primary_in_their_order(scene: &Scene<1>) {
    for client in [scene.client(), scene.http2_client()] {
        let request = client
            .request("POST", "http://shop.example:8443/a/b;c=1?d=%2F&e=")
            .header("x-request-id", "11111111-2222-4333-8444-555555555555")
            .header("x-repeated", "one")
            .header("x-repeated", "two, three")
            .header("x-repeated", "one")
            .header("content-type", "application/json; charset=utf-8")
            .header("x-empty", "")
            .header("x-spaces", "a  b\tc")
            .header("accept", "*/*")
            .header("x-bytes", HeaderValue::from_bytes(&(0x80..=0xff).collect::<Vec<u8>>()).unwrap())
            .body(full("{}"))
            .unwrap();
        assert_eq!(client.send(request).await.status, 200);
        let copy = scene.target().take_one().await;
        assert_eq!(copy.authority, "shop.example:8443");
        assert_eq!(copy.path, "/a/b;c=1?d=%2F&e=");
        let all_high: Vec<u8> = (0x80..=0xff).collect();
        let mut seen = from_client(&copy);
        // Envoy's connection manager puts this one in front of the filter.
        seen.retain(|(name, _)| name != "x-forwarded-proto");
        assert_eq!(
            seen,
            pairs(&[
                ("x-request-id", b"11111111-2222-4333-8444-555555555555"),
                ("x-repeated", b"one"),
                ("x-repeated", b"two, three"),
                ("x-repeated", b"one"),
                ("content-type", b"application/json; charset=utf-8"),
                ("x-empty", b""),
                ("x-spaces", b"a  b\tc"),
                ("accept", b"*/*"),
                ("x-bytes", &all_high),
            ])
        );
    }
}

async fn what_belongs_to_one_connection_is_not_copied(scene: &Scene<1>) {
    let request = "POST /hop HTTP/1.1\r\nhost: a.example\r\n\
        connection: close, x-foo, X-Bar\r\nx-foo: 1\r\nx-bar: 2\r\nx-baz: 3\r\n\
        keep-alive: timeout=5\r\nproxy-connection: keep-alive\r\nproxy-authenticate: Basic\r\n\
        proxy-authorization: Basic YTpi\r\nte: trailers\r\ntrailer: x-sum\r\n\
        expect: 100-continue\r\ncontent-length: 4\r\n\r\nbody";
    let answer = raw::exchange(scene.envoy.address("main"), request.as_bytes()).await;
    assert!(String::from_utf8_lossy(&answer).contains("answer of the upstream"));
    let copy = scene.target().take_one().await;
    assert_eq!((copy.body(), copy.only("x-baz")), ("body".into(), "3".to_owned()));
    for name in [
        "connection",
        "x-foo",
        "x-bar",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "expect",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
    ] {
        assert!(!copy.has(name), "{name} was copied: {copy:?}");
    }
}

async fn credentials_are_not_copied_but_reach_the_primary(scene: &Scene<1>) {
    let client = scene.http2_client();
    let secrets = [
        ("authorization", "Bearer secret"),
        ("cookie", "session=secret"),
        ("x-api-key", "secret"),
        ("x-forwarded-client-cert", "Hash=secret"),
    ];
    let mut request = client.request("GET", "/").header("x-open", "yes");
    for (name, value) in secrets {
        request = request.header(name, value);
    }
    client.send(request.body(full("")).unwrap()).await;
    let first = scene.primary.take_one().await;
    let copy = scene.target().take_one().await;
    for (name, value) in secrets {
        assert_eq!(first.only(name), value);
        assert!(!copy.has(name), "{name} was copied");
    }
    assert_eq!(copy.only("x-open"), "yes");
    let leaked = copy.headers.iter().any(|(_, value)| String::from_utf8_lossy(value).contains("secret"));
    assert!(!leaked, "{copy:?}");
}

async fn headers_that_steer_envoy_are_neither_copied_nor_obeyed(scene: &Scene<1>) {
    // Envoy's client would retry a 503 three times if it saw these.
    scene.target().behave(Behaviour::Answer(Answer::status(503)));
    let client = scene.client();
    let steering = [
        ("x-envoy-retry-on", "5xx"),
        ("x-envoy-max-retries", "3"),
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("x-envoy-upstream-alt-stat-name", "other"),
        ("x-envoy-decorator-operation", "op"),
        ("x-envoy-attempt-count", "9"),
    ];
    let mut request = client.request("GET", "/");
    for (name, value) in steering {
        request = request.header(name, value);
    }
    client.send(request.body(full("")).unwrap()).await;
    scene.envoy.settled_at("audit", 1).await;
    let copy = scene.target().take_one().await;
    for (name, _) in steering {
        assert!(!copy.has(name), "{name} was copied: {copy:?}");
    }
}

async fn the_filters_own_headers_cannot_be_sent_by_a_client(scene: &Scene<1>) {
    let client = scene.client();
    let request = client
        .request("GET", "/")
        .header("x-sidecast-target", "forged")
        .header("x-sidecast-attempt", "9")
        .header("x-sidecast-other", "forged");
    client.send(request.body(full("")).unwrap()).await;
    let copy = scene.target().take_one().await;
    assert_eq!(copy.only("x-sidecast-target"), "audit");
    assert!(!copy.has("x-sidecast-attempt"), "{copy:?}");
    assert!(!copy.has("x-sidecast-other"));
}

async fn the_primary_receives_what_it_would_without_the_filter(scene: &Scene<1>) {
    let request = b"PUT /x?y=1 HTTP/1.1\r\nHost: a.example:99\r\nX-Request-Id: 11111111-2222-4333-8444-555555555555\r\n\
        Cookie: a=b\r\nX-Two: \x80\xfe\r\nx-two: again\r\nTraceparent: nonsense\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let mut seen = Vec::new();
    let mut answers = Vec::new();
    for listener in ["plain", "main"] {
        answers.push(raw::exchange(scene.envoy.address(listener), request).await);
        let first = scene.primary.take_one().await;
        let body = first.body();
        seen.push((first.method, first.path, first.authority, first.headers, body, first.trailers));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(answers[0], answers[1]);
    assert_eq!(scene.target().take_one().await.body(), "abcde");
}

#[tokio::test]
async fn a_client_idempotency_key_is_kept() {
    let scene = Scene::mirroring_to(["one", "two"]).await;
    let client = scene.client();
    client.get("/made").await;
    let made = [scene.targets[0].take_one().await, scene.targets[1].take_one().await];
    let keys = made.each_ref().map(|copy| copy.only("idempotency-key"));
    for (copy, key) in made.iter().zip(&keys) {
        assert!(is_uuid_v4(key), "{key}");
        assert_eq!(&copy.only("x-sidecast-loop"), key);
    }
    assert_ne!(keys[0], keys[1], "each target has a delivery of its own");

    let request = client.request("GET", "/sent").header("Idempotency-Key", "mine");
    client.send(request.body(full("")).unwrap()).await;
    for target in &scene.targets {
        let copy = target.take_one().await;
        assert_eq!(copy.only("idempotency-key"), "mine");
        assert!(is_uuid_v4(&copy.only("x-sidecast-loop")));
    }
}

/// Whether this is a version 4 UUID in its usual spelling.
pub(crate) fn is_uuid_v4(text: &str) -> bool {
    let shape: String = text
        .chars()
        .map(|char| match char {
            '0'..='9' | 'a'..='f' => 'x',
            other => other,
        })
        .collect();
    shape == "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx" && &text[14..15] == "4" && "89ab".contains(&text[19..20])
}

async fn another_correlation_header_is_made_when_it_is_missing(scene: &Scene<1>) {
    let client = Client::http1(scene.envoy.address("correlated"));
    client.get("/").await;
    let made = scene.target().take_one().await.only("x-correlation");
    assert!(is_uuid_v4(&made), "{made}");
    assert!(!scene.primary.take_one().await.has("x-correlation"));
    let request = client.request("GET", "/").header("x-correlation", "from the client");
    client.send(request.body(full("")).unwrap()).await;
    assert_eq!(scene.target().take_one().await.only("x-correlation"), "from the client");
}
