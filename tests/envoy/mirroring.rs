//! Every kind of request reaches the primary untouched, and a copy of it each target.

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::Version;
use serde_json::json;

use crate::claims::claims;
use crate::scene::{everything_to, noise, Scene};
use crate::support::bootstrap::Filter;
use crate::support::client::{chunked, empty, full, Client};
use crate::support::recorded::Recorded;
use crate::support::setup::Setup;
use crate::support::upstream::Upstream;

#[tokio::test]
async fn a_request_is_mirrored_whole() {
    claims!(
        Scene::mirroring_to(["audit"]).await,
        a_request_of_headers_alone_is_mirrored,
        any_method_is_mirrored,
        a_body_of_known_length_arrives_byte_for_byte,
        a_chunked_body_arrives_byte_for_byte,
        an_empty_chunked_body_arrives_as_an_empty_body,
        trailers_reach_the_primary_and_the_body_before_them_the_target,
    );
}

async fn a_request_of_headers_alone_is_mirrored(scene: &Scene<1>) {
    let answer = scene.client().get("/orders?id=7").await;
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"answer of the upstream"[..]));
    for upstream in [&scene.primary, scene.target()] {
        let seen = upstream.take_one().await;
        assert_eq!((seen.method.as_str(), seen.path.as_str()), ("GET", "/orders?id=7"));
        assert_eq!(seen.body(), "");
    }
    let stats = scene.envoy.settled_at("audit", 1).await;
    assert_eq!((stats.of("audit", "attempts"), stats.of("audit", "delivered")), (1, 1));
}

async fn any_method_is_mirrored(scene: &Scene<1>) {
    let usual = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND"];
    let (http1, http2) = (scene.client(), scene.http2_client());
    let requests: Vec<_> = usual
        .iter()
        .flat_map(|method| [(*method, &http1), (*method, &http2)])
        // Envoy takes methods that it does not know only by HTTP/2.
        .chain([("BREW", &http2), ("x-y!z", &http2)])
        .collect();
    for (method, client) in &requests {
        let body = if ["TRACE", "HEAD"].contains(method) { empty() } else { full(*method) };
        let request = client.request(method, "/").body(body).unwrap();
        let answer = client.send(request).await;
        assert_eq!(answer.status, 200, "{method}");
        let first = scene.primary.take_one().await;
        let copy = scene.target().take_one().await;
        assert_eq!((first.method.as_str(), copy.method.as_str()), (*method, *method));
        assert_eq!(copy.body(), first.body());
    }
    let count = requests.len() as u64;
    let stats = scene.envoy.settled_at("audit", count).await;
    assert_eq!(stats.of("audit", "delivered"), count);
}

async fn a_body_of_known_length_arrives_byte_for_byte(scene: &Scene<1>) {
    for client in [scene.client(), scene.http2_client()] {
        for size in [1, 1024, 16 * 1024, 65_537, 300_000, 1024 * 1024] {
            let body = noise(size);
            assert_eq!(client.post("/", body.clone()).await.status, 200);
            assert_eq!(scene.primary.take_one().await.body(), body);
            let copy = scene.target().take_one().await;
            assert_eq!(copy.only("content-length"), size.to_string());
            assert!(copy.body() == body, "the copy of {size} bytes differs");
        }
    }
}

async fn a_chunked_body_arrives_byte_for_byte(scene: &Scene<1>) {
    let body = noise(200_000);
    for client in [scene.client(), scene.http2_client()] {
        let chunks: Vec<Bytes> = [0..1, 1..17, 17..40_000, 40_000..200_000].map(|range| body.slice(range)).to_vec();
        let request = client.request("PUT", "/").body(chunked(&chunks, None)).unwrap();
        assert_eq!(client.send(request).await.status, 200);
        assert_eq!(scene.primary.take_one().await.body(), body);
        let copy = scene.target().take_one().await;
        assert!(copy.body() == body, "the copy differs");
        assert!(!copy.has("transfer-encoding"));
    }
}

async fn an_empty_chunked_body_arrives_as_an_empty_body(scene: &Scene<1>) {
    let client = scene.client();
    let request = client.request("POST", "/").body(chunked(&[], None)).unwrap();
    assert_eq!(client.send(request).await.status, 200);
    assert_eq!(scene.target().take_one().await.body(), "");
    scene.envoy.settled_at("audit", 1).await;
}

async fn trailers_reach_the_primary_and_the_body_before_them_the_target(scene: &Scene<1>) {
    for client in [scene.client(), scene.http2_client()] {
        for chunks in [vec![], vec![Bytes::from("one "), Bytes::from("two")]] {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-checksum", HeaderValue::from_static("00ff"));
            let request =
                client.request("POST", "/").header("trailer", "x-checksum").body(chunked(&chunks, Some(trailers))).unwrap();
            assert_eq!(client.send(request).await.status, 200);
            let first = scene.primary.take_one().await;
            assert_eq!(first.trailers, [("x-checksum".to_owned(), b"00ff".to_vec())]);
            let copy = scene.target().take_one().await;
            assert_eq!(copy.body(), chunks.concat());
            assert!(!copy.has("trailer"));
        }
    }
    let stats = scene.envoy.settled_at("audit", 4).await;
    assert_eq!(stats.of("audit", "delivered"), 4);
}

#[tokio::test]
async fn http2_upstreams_receive_the_same() {
    let primary = Upstream::start().await;
    let audit = Upstream::start().await;
    let envoy = Setup::new()
        .http2_cluster("primary", primary.address())
        .http2_cluster("audit", audit.address())
        .listener("main", Filter::json(&everything_to(&["audit"])))
        .start()
        .await;
    let client = Client::http2(envoy.address("main"));
    let body = noise(100_000);
    assert_eq!(client.post("http://shop.example:81/a?b", body.clone()).await.status, 200);
    for upstream in [&primary, &audit] {
        let seen = upstream.take_one().await;
        assert_eq!(seen.version, Version::HTTP_2);
        assert_eq!((seen.authority.as_str(), seen.path.as_str()), ("shop.example:81", "/a?b"));
        assert!(seen.body() == body);
    }
    envoy.settled_at("audit", 1).await;
}

fn copies() -> Vec<String> {
    (0..32).map(|index| format!("copy-{index}")).collect()
}

#[tokio::test]
async fn each_of_several_targets_gets_what_is_meant_for_it() {
    let rules = json!({"targets": [
        {"name": "writes", "cluster": "writes", "match": [{"methods": ["POST", "PUT"], "path": {"prefix": "/orders"}}]},
        {"name": "gold", "cluster": "gold", "match": [
            {"headers": [{"name": "x-tier", "exact": "gold"}]},
            {"path": {"regex": "^/vip/[0-9]+$"}},
        ]},
    ]});
    let copies: Vec<_> = copies()
        .iter()
        .map(|name| json!({"name": name, "cluster": "copies", "timeout": "15s", "circuit_breaker": {"mode": "disabled"}}))
        .collect();
    let add = |setup: Setup| setup.listener("copies", Filter::json(&json!({ "targets": copies })));
    claims!(
        Scene::set_up(["writes", "gold", "copies"], rules, add).await,
        each_of_thirty_two_targets_gets_its_own_copy,
        a_target_gets_only_what_its_rules_match,
    );
}

async fn each_of_thirty_two_targets_gets_its_own_copy(scene: &Scene<3>) {
    let names = copies();
    let [.., upstream] = &scene.targets;
    let body = noise(50_000);
    assert_eq!(Client::http1(scene.envoy.address("copies")).post("/", body.clone()).await.status, 200);
    let copies = upstream.take(32).await;
    let mut seen: Vec<String> = copies.iter().map(|copy| copy.only("x-sidecast-target")).collect();
    let mut wanted = names.clone();
    seen.sort();
    wanted.sort();
    assert_eq!(seen, wanted);
    assert!(copies.iter().all(|copy| copy.body() == body));
    for name in &names {
        let stats = scene.envoy.settled_at(name, 1).await;
        assert_eq!(stats.of(name, "delivered"), 1);
    }
}

async fn a_target_gets_only_what_its_rules_match(scene: &Scene<3>) {
    let client = scene.client();
    client.get("/orders/1").await;
    client.post("/orders/2", "two").await;
    client.post("/other", "three").await;
    client.get("/vip/4").await;
    client.get("/vip/x").await;
    let tagged = client.request("PUT", "/orders/6").header("x-tier", "gold");
    client.send(tagged.body(full("six")).unwrap()).await;
    scene.primary.arrived(6).await;
    let stats = scene.envoy.settled(["writes", "gold"]).await;
    assert_eq!((stats.of("writes", "matched"), stats.of("gold", "matched")), (2, 2));
    let paths = |all: Vec<Recorded>| -> Vec<String> {
        let mut paths: Vec<String> = all.into_iter().map(|seen| seen.path).collect();
        paths.sort();
        paths
    };
    assert_eq!(paths(scene.targets[0].take(2).await), ["/orders/2", "/orders/6"]);
    assert_eq!(paths(scene.targets[1].take(2).await), ["/orders/6", "/vip/4"]);
}
