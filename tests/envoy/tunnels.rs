//! Tunnels are left alone: no copy, no account, and the bytes pass. What only asks for one is copied like any request.

use hyper::ext::Protocol;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::claims::claims;
use crate::scene::{count_anew, everything_to};
use crate::support::bootstrap::Filter;
use crate::support::client::{empty, Client};
use crate::support::envoy::Envoy;
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::raw::{self, RawUpstream, Script};
use crate::support::setup::Setup;
use crate::support::upstream::Upstream;

/// Where the bootstrap has a route of a listener; the first one is that of CONNECT.
macro_rules! route {
    ($listener:literal, $route:literal) => {
        concat!(
            "/static_resources/listeners/",
            $listener,
            "/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes/",
            $route,
            "/route"
        )
    };
}

const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

/// One Envoy with a listener for each kind of primary.
struct Stage {
    envoy: Envoy,
    /// Of the listener `main`.
    primary: Upstream,
    /// Of the listener `switching`.
    switching: RawUpstream,
    /// Of the listeners `echo` and `executing`.
    _others: [RawUpstream; 2],
    audit: Upstream,
}

impl Stage {
    async fn start() -> Self {
        let (primary, audit) = (Upstream::start().await, Upstream::start().await);
        let switching = RawUpstream::start(Script::Reply(SWITCHING.to_vec())).await;
        let echo = RawUpstream::start(Script::Echo(b"hello;".to_vec())).await;
        let executing = RawUpstream::start(Script::Reply(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec())).await;
        let filter = || Filter::json(&everything_to(&["audit"]));
        let envoy = Setup::new()
            .cluster("primary", primary.address())
            .cluster("switching", switching.address())
            .cluster("echo", echo.address())
            .cluster("executing", executing.address())
            .cluster("audit", audit.address())
            .listener("main", filter())
            .listener("switching", filter())
            .with(route!(1, 1), "cluster", "switching".into())
            .listener("echo", filter())
            .with(route!(2, 0), "cluster", "echo".into())
            .listener("executing", filter())
            .with(route!(3, 1), "cluster", "executing".into())
            .start()
            .await;
        Self { envoy, primary, switching, _others: [echo, executing], audit }
    }

    async fn anew(&self) {
        count_anew(&self.envoy).await;
        self.primary.take(0).await;
        self.audit.take(0).await;
    }

    async fn assert_left_alone(&self) {
        let stats = self.envoy.settled(["audit"]).await;
        assert!(stats.target("audit").is_empty(), "{:?}", stats.target("audit"));
        assert!(self.audit.received().is_empty());
    }
}

#[tokio::test]
async fn only_a_real_tunnel_is_left_alone() {
    claims!(
        Stage::start().await,
        a_websocket_passes_and_is_not_copied,
        a_connect_tunnel_passes_and_is_not_copied,
        an_extended_connect_is_not_copied,
        an_upgrade_that_envoy_does_not_know_is_not_copied,
        an_offer_of_http2_is_an_ordinary_request,
        a_header_that_only_looks_like_an_upgrade_does_not_opt_out,
        an_upgrade_that_the_primary_executes_like_any_request_is_copied,
    );
}

async fn a_websocket_passes_and_is_not_copied(stage: &Stage) {
    let mut stream = TcpStream::connect(stage.envoy.address("switching")).await.unwrap();
    let request = b"GET /socket HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: WebSocket\r\nsec-websocket-key: x\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let head = raw::read_until(&mut stream, b"\r\n\r\n").await;
    assert_eq!(raw::status(&head), 101);
    stream.write_all(b"frames\r\n\r\n").await.unwrap();
    // The upstream replies to each empty line.
    raw::read_until(&mut stream, b"\r\n\r\n").await;
    assert!(String::from_utf8_lossy(&stage.switching.seen()[0]).ends_with("frames\r\n\r\n"));
    drop(stream);
    stage.assert_left_alone().await;
}

async fn a_connect_tunnel_passes_and_is_not_copied(stage: &Stage) {
    let mut stream = TcpStream::connect(stage.envoy.address("echo")).await.unwrap();
    stream.write_all(b"CONNECT far.example:443 HTTP/1.1\r\nhost: far.example:443\r\n\r\n").await.unwrap();
    let head = raw::read_until(&mut stream, b"\r\n\r\n").await;
    assert_eq!(raw::status(&head), 200);
    stream.write_all(b"ping;").await.unwrap();
    raw::read_until(&mut stream, b"ping;").await;
    drop(stream);
    stage.assert_left_alone().await;
}

async fn an_extended_connect_is_not_copied(stage: &Stage) {
    let client = Client::http2(stage.envoy.address("switching"));
    // It is allowed once the server's settings have arrived.
    let status = eventually(PATIENCE, "the extended CONNECT", async || {
        let mut request = client.request("CONNECT", "/socket").body(empty()).unwrap();
        let protocol = Protocol::from_static("websocket");
        request.extensions_mut().insert(protocol);
        Ok(client.begin(request).await?.status())
    });
    assert_eq!(status.await, 200);
    stage.assert_left_alone().await;
}

async fn an_upgrade_that_envoy_does_not_know_is_not_copied(stage: &Stage) {
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, close\r\nupgrade: something\r\n\r\n";
    let answer = raw::exchange(stage.envoy.address("main"), request).await;
    assert_eq!(raw::status(&answer), 403);
    stage.assert_left_alone().await;
}

async fn an_offer_of_http2_is_an_ordinary_request(stage: &Stage) {
    let request = b"POST /x HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings, close\r\nupgrade: h2c\r\n\
        http2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\ncontent-length: 3\r\n\r\nabc";
    let answer = raw::exchange(stage.envoy.address("main"), request).await;
    assert_eq!(raw::status(&answer), 200);
    let copy = stage.audit.take_one().await;
    assert_eq!(copy.body(), "abc");
    assert!(!copy.has("upgrade") && !copy.has("http2-settings"), "{copy:?}");
}

async fn a_header_that_only_looks_like_an_upgrade_does_not_opt_out(stage: &Stage) {
    let request = b"GET /x HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: close\r\n\r\n";
    let answer = raw::exchange(stage.envoy.address("main"), request).await;
    assert_eq!(raw::status(&answer), 200);
    assert_eq!(stage.primary.take_one().await.path, "/x");
    let copy = stage.audit.take_one().await;
    assert!(copy.path == "/x" && !copy.has("upgrade"), "{copy:?}");
}

async fn an_upgrade_that_the_primary_executes_like_any_request_is_copied(stage: &Stage) {
    let request = b"GET /transfer?to=x HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
    let mut stream = TcpStream::connect(stage.envoy.address("executing")).await.unwrap();
    stream.write_all(request).await.unwrap();
    let head = raw::read_until(&mut stream, b"\r\n\r\n").await;
    assert_eq!(raw::status(&head), 200);
    let copy = stage.audit.take_one().await;
    assert!(copy.path == "/transfer?to=x" && !copy.has("upgrade"), "{copy:?}");
    drop(stream);
    let stats = stage.envoy.settled(["audit"]).await;
    let audit = stats.target("audit");
    assert_eq!((audit.get("matched"), audit.get("delivered")), (Some(&1), Some(&1)), "{audit:?}");
}
