//! Tunnels are left alone: no copy, no account, and the bytes pass. What only asks for one is copied like any request.

use hyper::ext::Protocol;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::scene::{everything_to, target, Scene};
use crate::support::bootstrap::Filter;
use crate::support::client::{empty, Client};
use crate::support::envoy::Envoy;
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::raw::{self, RawUpstream, Script};
use crate::support::setup::Setup;
use crate::support::upstream::Upstream;

async fn envoy(primary: &RawUpstream, audit: &Upstream) -> Envoy {
    Setup::new()
        .cluster("primary", primary.address())
        .cluster("audit", audit.address())
        .listener("main", Filter::json(&everything_to(&["audit"])))
        .start()
        .await
}

async fn assert_left_alone(envoy: &Envoy, audit: &Upstream) {
    let stats = envoy.settled(["audit"]).await;
    assert!(stats.target("audit").is_empty(), "{:?}", stats.target("audit"));
    assert!(audit.received().is_empty());
}

#[tokio::test]
async fn a_websocket_passes_and_is_not_copied() {
    let switching = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let primary = RawUpstream::start(Script::Reply(switching.to_vec())).await;
    let audit = Upstream::start().await;
    let envoy = envoy(&primary, &audit).await;
    let mut stream = TcpStream::connect(envoy.address("main")).await.unwrap();
    let request = b"GET /socket HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: WebSocket\r\nsec-websocket-key: x\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let head = raw::read_until(&mut stream, b"\r\n\r\n").await;
    assert_eq!(raw::status(&head), 101);
    stream.write_all(b"frames\r\n\r\n").await.unwrap();
    // The upstream replies to each empty line.
    raw::read_until(&mut stream, b"\r\n\r\n").await;
    assert!(String::from_utf8_lossy(&primary.seen()[0]).ends_with("frames\r\n\r\n"));
    drop(stream);
    assert_left_alone(&envoy, &audit).await;
}

#[tokio::test]
async fn a_connect_tunnel_passes_and_is_not_copied() {
    let primary = RawUpstream::start(Script::Echo(b"hello;".to_vec())).await;
    let audit = Upstream::start().await;
    let envoy = envoy(&primary, &audit).await;
    let mut stream = TcpStream::connect(envoy.address("main")).await.unwrap();
    stream.write_all(b"CONNECT far.example:443 HTTP/1.1\r\nhost: far.example:443\r\n\r\n").await.unwrap();
    let head = raw::read_until(&mut stream, b"\r\n\r\n").await;
    assert_eq!(raw::status(&head), 200);
    stream.write_all(b"ping;").await.unwrap();
    raw::read_until(&mut stream, b"ping;").await;
    drop(stream);
    assert_left_alone(&envoy, &audit).await;
}

#[tokio::test]
async fn an_extended_connect_is_not_copied() {
    let switching = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let primary = RawUpstream::start(Script::Reply(switching.to_vec())).await;
    let audit = Upstream::start().await;
    let envoy = envoy(&primary, &audit).await;
    let client = Client::http2(envoy.address("main"));
    // It is allowed once the server's settings have arrived.
    let status = eventually(PATIENCE, "the extended CONNECT", async || {
        let mut request = client.request("CONNECT", "/socket").body(empty()).unwrap();
        let protocol = Protocol::from_static("websocket");
        request.extensions_mut().insert(protocol);
        Ok(client.begin(request).await?.status())
    });
    assert_eq!(status.await, 200);
    assert_left_alone(&envoy, &audit).await;
}

#[tokio::test]
async fn an_upgrade_that_envoy_does_not_know_is_not_copied() {
    let primary = Upstream::start().await;
    let audit = Upstream::start().await;
    let envoy = Setup::new()
        .cluster("primary", primary.address())
        .cluster("audit", audit.address())
        .listener("main", Filter::json(&json!({"targets": [target("audit")]})))
        .start()
        .await;
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, close\r\nupgrade: something\r\n\r\n";
    let answer = raw::exchange(envoy.address("main"), request).await;
    assert_eq!(raw::status(&answer), 403);
    assert_left_alone(&envoy, &audit).await;
}

#[tokio::test]
async fn an_offer_of_http2_is_an_ordinary_request() {
    let scene = Scene::mirroring_to(["audit"]).await;
    let request = b"POST /x HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings, close\r\nupgrade: h2c\r\n\
        http2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\ncontent-length: 3\r\n\r\nabc";
    let answer = raw::exchange(scene.envoy.address("main"), request).await;
    assert_eq!(raw::status(&answer), 200);
    let copy = scene.target().take_one().await;
    assert_eq!(copy.body(), "abc");
    assert!(!copy.has("upgrade") && !copy.has("http2-settings"), "{copy:?}");
}

#[tokio::test]
async fn a_header_that_only_looks_like_an_upgrade_does_not_opt_out() {
    let scene = Scene::mirroring_to(["audit"]).await;
    let request = b"GET /x HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: close\r\n\r\n";
    let answer = raw::exchange(scene.envoy.address("main"), request).await;
    assert_eq!(raw::status(&answer), 200);
    assert_eq!(scene.primary.take_one().await.path, "/x");
    let copy = scene.target().take_one().await;
    assert!(copy.path == "/x" && !copy.has("upgrade"), "{copy:?}");
}

#[tokio::test]
async fn an_upgrade_that_the_primary_executes_like_any_request_is_copied() {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let primary = RawUpstream::start(Script::Reply(answer.to_vec())).await;
    let audit = Upstream::start().await;
    let envoy = envoy(&primary, &audit).await;
    let request = b"GET /transfer?to=x HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
    let mut stream = TcpStream::connect(envoy.address("main")).await.unwrap();
    stream.write_all(request).await.unwrap();
    let head = raw::read_until(&mut stream, b"\r\n\r\n").await;
    assert_eq!(raw::status(&head), 200);
    let copy = audit.take_one().await;
    assert!(copy.path == "/transfer?to=x" && !copy.has("upgrade"), "{copy:?}");
    drop(stream);
    let stats = envoy.settled(["audit"]).await;
    let audit = stats.target("audit");
    assert_eq!((audit.get("matched"), audit.get("delivered")), (Some(&1), Some(&1)), "{audit:?}");
}
