//! Requests that are answered before their body is complete, and clients that leave: who gets a copy all the same, and under which name the others are
//! counted.

use std::time::Duration;

use bytes::Bytes;
use hyper::body::Frame;
use serde_json::{json, Value};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::scene::{target, Scene};
use crate::stage::{one_after_another, Since};
use crate::support::answer::{Answer, Behaviour};
use crate::support::bootstrap::Filter;
use crate::support::bootstrap::{self, Protocol};
use crate::support::client::{pieces, Client, Pieces};
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::raw::{read_until, RawUpstream, Script};
use crate::support::setup::{binaries, Setup};
use crate::support::upstream::Upstream;

const HTTP: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
const SECOND: &str = "/static_resources/listeners/1/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0";
const ROUTES: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0";

/// Targets that need no body, and whose copies are sent whoever answers.
const BODILESS: [&str; 4] = ["omits", "notes", "waits", "items"];
/// Targets that need the body.
const OTHERS: [&str; 2] = ["plain", "reads"];

fn configuration() -> Value {
    let omits = json!({"body": {"omit": true}});
    let of = |name: &str, more: Value| {
        let mut target = target(name);
        target["cluster"] = "audit".into();
        target.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        target
    };
    let any = json!(["2xx", "3xx", "4xx", "5xx"]);
    json!({"targets": [
        of("plain", json!({})),
        of("omits", json!({"request": omits})),
        of("notes", json!({"request": {"body": {"template": {"path": "${path}"}}}})),
        of("reads", json!({"request": {"body": {"omit": true}, "headers": {"set": {"x-first": "${body:/0}"}}}})),
        of("waits", json!({"after": "response", "statuses": any, "request": {"path": "/${response:status}", "body": {"omit": true}}})),
        of("items", json!({"batch": {"max_items": 1}, "request": {"body": {"template": ["${path}"]}}})),
        // Whatever came, no copy would be sent.
        of("refuses", json!({"after": "response", "statuses": ["204"]})),
    ]})
}

fn filter(kind: &str, mut config: Value) -> Value {
    config["@type"] = format!("type.googleapis.com/envoy.extensions.filters.http.{kind}").into();
    config
}

/// Refuses what begins with `/forbidden`.
fn rbac() -> Value {
    let denied = json!({"permissions": [{"url_path": {"path": {"prefix": "/forbidden"}}}], "principals": [{"any": true}]});
    filter("rbac.v3.RBAC", json!({"rules": {"action": "DENY", "policies": {"denied": denied}}}))
}

/// Answers what begins with `/broken` with 418.
fn fault() -> Value {
    let abort = json!({"http_status": 418, "percentage": {"numerator": 100}});
    let path = json!({"name": ":path", "string_match": {"prefix": "/broken"}});
    filter("fault.v3.HTTPFault", json!({"abort": abort, "headers": [path]}))
}

fn buffer() -> Value {
    filter("buffer.v3.Buffer", json!({"max_request_bytes": 1_048_576}))
}

/// Routes to Envoy itself, to a cluster without a host, and to the primary.
fn routes() -> Value {
    json!([
        {"match": {"prefix": "/direct"}, "direct_response": {"status": 200, "body": {"inline_string": "direct"}}},
        {"match": {"prefix": "/moved"}, "redirect": {"path_redirect": "/elsewhere"}},
        {"match": {"prefix": "/empty"}, "route": {"cluster": "empty"}},
        {"match": {"prefix": "/idle"}, "route": {"cluster": "primary", "idle_timeout": "0.2s"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "primary", "timeout": "0s"}},
    ])
}

fn behind(setup: Setup) -> Setup {
    setup
        .cluster_json(bootstrap::cluster("empty", None, Protocol::Http1))
        .filter_behind("rbac", rbac())
        .filter_behind("fault", fault())
        .with(ROUTES, "routes", routes())
}

/// A request of which a half is sent; the rest never comes. Gives what sends it, which must be kept, and the status of the response.
async fn half(client: &Client, path: &str) -> (Pieces, u16) {
    let (sender, body) = pieces();
    sender.send(Frame::data(Bytes::from("[1, "))).unwrap();
    let answer = client.begin(client.request("POST", path).body(body).unwrap()).await;
    (sender, answer.unwrap().status().as_u16())
}

/// Asserts that each of these requests counts under this name for those that need a body, and is delivered to the others.
async fn assert_answered_early(scene: &Scene<1>, since: &Since, requests: u64) {
    for name in BODILESS {
        let stats = since.settled_at(&scene.envoy, name, requests).await;
        assert_eq!((stats.of(name, "delivered"), stats.drops(name)), (requests, [].into()), "{name}");
    }
    for name in OTHERS {
        let stats = since.settled_at(&scene.envoy, name, requests).await;
        assert_eq!(stats.drops(name), [("answered_early".to_owned(), requests)].into(), "{name}");
    }
    let stats = since.settled_at(&scene.envoy, "refuses", requests).await;
    assert_eq!((stats.of("refuses", "not_triggered"), stats.drops("refuses")), (requests, [].into()));
}

#[tokio::test]
async fn who_needs_no_body_gets_a_copy_of_what_was_answered_early_and_the_others_are_counted_in_every_envoy() {
    for binary in binaries() {
        println!("in {}", binary.display());
        let halfway = RawUpstream::start(Script::Reply(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_vec())).await;
        let silent = Upstream::behaving(Behaviour::Hang).await;
        let adapt = |setup: Setup| {
            let setup = behind(setup.binary(binary));
            setup.cluster("halfway", halfway.address()).cluster("silent", silent.address()).with(ROUTES, "routes", {
                let mut routes = routes();
                for name in ["halfway", "silent"] {
                    let route = json!({"match": {"prefix": format!("/{name}")}, "route": {"cluster": name, "timeout": "0s"}});
                    routes.as_array_mut().unwrap().insert(0, route);
                }
                routes
            })
        };
        let scene = Scene::set_up(["audit"], configuration(), adapt).await;
        one_after_another!(&scene =>
            a_request_answered_at_its_headers_is_copied_to_those_who_need_no_body_and_counted_for_the_others,
            a_client_that_leaves_leaves_no_copy_whether_it_had_seen_half_an_answer_or_none(&silent),
            a_primary_that_does_not_wait_for_the_upload_has_answered_early,
            a_body_that_is_all_there_is_copied_though_its_end_was_not_seen,
        );
    }
}

async fn a_request_answered_at_its_headers_is_copied_to_those_who_need_no_body_and_counted_for_the_others(scene: &Scene<1>) {
    let since = Since::now(&scene.envoy).await;
    let mut requests = 0;
    for (path, status) in [("/direct", 200), ("/moved", 301), ("/empty", 503), ("/forbidden", 403), ("/broken", 418)] {
        for client in [scene.client(), scene.http2_client()] {
            assert_eq!(client.post(path, "[1, 2]").await.status, status, "{path}");
            assert_eq!(half(&client, path).await.1, status, "{path}");
            requests += 2;
            assert_answered_early(scene, &since, requests).await;
            let copies = scene.target().take(2 * BODILESS.len()).await;
            let waiting = copies.iter().filter(|copy| copy.only("x-sidecast-target") == "waits");
            assert!(waiting.map(|copy| copy.path.clone()).eq([format!("/{status}"), format!("/{status}")]), "{path}");
        }
    }
    assert_eq!(scene.primary.received().len(), 0);
}

async fn a_client_that_leaves_leaves_no_copy_whether_it_had_seen_half_an_answer_or_none(scene: &Scene<1>, silent: &Upstream) {
    let since = Since::now(&scene.envoy).await;
    let mut connection = TcpStream::connect(scene.envoy.address("main")).await.unwrap();
    connection.write_all(b"POST /halfway HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n[1, ").await.unwrap();
    let seen = read_until(&mut connection, b"half").await;
    assert!(seen.starts_with(b"HTTP/1.1 200"));
    drop(connection);
    assert_truncated(scene, &since, 1).await;
    for (seen_before, client) in [scene.client(), scene.http2_client()].into_iter().enumerate() {
        let (sender, body) = pieces();
        sender.send(Frame::data(Bytes::from("[1, "))).unwrap();
        let request = client.request("POST", "/silent").body(body).unwrap();
        let sending = tokio::spawn(async move { client.try_send(request).await });
        eventually(PATIENCE, "the half at the primary", async || match silent.received().len() {
            seen if seen > seen_before => Ok(()),
            seen => Err(format!("{seen}")),
        })
        .await;
        sending.abort();
        assert!(sending.await.unwrap_err().is_cancelled());
        assert_truncated(scene, &since, seen_before as u64 + 2).await;
        drop(sender);
    }
    assert_eq!(scene.target().received().len(), 0);
}

async fn assert_truncated(scene: &Scene<1>, since: &Since, requests: u64) {
    for name in BODILESS.into_iter().chain(OTHERS).chain(["refuses"]) {
        let stats = since.settled_at(&scene.envoy, name, requests).await;
        assert_eq!(stats.drops(name), [("truncated".to_owned(), requests)].into(), "{name}");
    }
}

async fn a_primary_that_does_not_wait_for_the_upload_has_answered_early(scene: &Scene<1>) {
    let since = Since::now(&scene.envoy).await;
    let mut requests = 0;
    for status in [200, 413, 503] {
        scene.primary.behave(Behaviour::AnswerEarly(Answer::status(status)));
        for client in [scene.client(), scene.http2_client()] {
            let (sender, seen) = half(&client, "/upload").await;
            assert_eq!(seen, status);
            requests += 1;
            assert_answered_early(scene, &since, requests).await;
            drop(sender);
        }
    }
    scene.target().take(0).await;
}

async fn a_body_that_is_all_there_is_copied_though_its_end_was_not_seen(scene: &Scene<1>) {
    let since = Since::now(&scene.envoy).await;
    scene.primary.behave(Behaviour::AnswerEarly(Answer::status(200).after(Duration::from_millis(100))));
    let client = scene.http2_client();
    let (sender, body) = pieces();
    sender.send(Frame::data(Bytes::from("[1, 2]"))).unwrap();
    let request = client.request("POST", "/upload").header("content-length", "6").body(body).unwrap();
    assert_eq!(client.begin(request).await.unwrap().status(), 200);
    for name in BODILESS.into_iter().chain(OTHERS) {
        let stats = since.settled_at(&scene.envoy, name, 1).await;
        assert_eq!(stats.of(name, "delivered"), 1, "{name}: {:?}", stats.drops(name));
    }
    let copies = scene.target().take(6).await;
    assert_eq!(copies.iter().find(|copy| copy.only("x-sidecast-target") == "plain").unwrap().body(), "[1, 2]");
    drop(sender);
}

#[tokio::test]
async fn a_client_that_is_too_slow_for_envoy_is_answered_early() {
    let adapt = |setup| behind(setup).with(HTTP, "request_timeout", json!("0.3s"));
    let scene = Scene::set_up(["audit"], configuration(), adapt).await;
    let mut requests = 0;
    for path in ["/slow", "/idle"] {
        for client in [scene.client(), scene.http2_client()] {
            let (sender, status) = half(&client, path).await;
            assert_eq!(status, 408);
            requests += 1;
            let of = async |name| scene.envoy.settled_at(name, requests).await;
            assert_eq!(of("plain").await.drops("plain"), [("answered_early".to_owned(), requests)].into(), "{path}");
            assert_eq!(of("omits").await.of("omits", "delivered"), requests, "{path}");
            drop(sender);
        }
    }
}

#[tokio::test]
async fn the_buffer_filter_between_sidecast_and_what_answers_lets_every_body_through_and_before_sidecast_none() {
    let adapt = |setup: Setup| {
        let setup = setup.filter_behind_in("main", "envoy.filters.http.buffer", buffer());
        let setup = setup.filter_before_in("second", "envoy.filters.http.buffer", buffer());
        behind(setup).listener("second", Filter::json(&configuration())).with(SECOND, "routes", routes())
    };
    let scene = Scene::set_up(["audit"], configuration(), adapt).await;
    for (delivered, listener) in [(10, "main"), (0, "second")] {
        let since = Since::now(&scene.envoy).await;
        let mut requests = 0;
        for path in ["/direct", "/moved", "/empty", "/forbidden"] {
            let client = Client::http1(scene.envoy.address(listener));
            for _ in 0..10 {
                client.post(path, "[1, 2]").await;
            }
            requests += 10;
            let stats = since.settled_at(&scene.envoy, "plain", requests).await;
            assert_eq!(
                stats.of("plain", "delivered"),
                delivered * requests / 10,
                "{listener} {path}: {:?}",
                stats.drops("plain")
            );
        }
    }
}
