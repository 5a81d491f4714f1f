//! Requests at the edge of what Envoy lets through. Each Envoy's log is searched for traps when its test ends, which is after all claims about it.

use hyper::header::HeaderValue;

use crate::claims::claims;
use crate::scene::{everything_to, noise, Scene};
use crate::support::bootstrap::Filter;
use crate::support::client::{empty, full};
use crate::support::raw;

#[tokio::test]
async fn an_odd_request_is_copied_counted_or_refused() {
    claims!(
        Scene::mirroring_to(["audit"]).await,
        header_values_of_any_bytes_are_copied,
        a_hundred_kilobytes_of_headers_are_copied,
        a_request_with_more_headers_than_a_call_may_have_is_counted,
        a_path_of_eight_kilobytes_is_copied,
        paths_are_copied_as_they_were_written,
        an_authority_with_a_port_is_copied,
        a_request_in_absolute_form_is_copied_like_any_other,
        requests_that_envoy_itself_refuses_are_not_copied,
        pipelined_requests_are_each_copied,
    );
}

async fn header_values_of_any_bytes_are_copied(scene: &Scene<1>) {
    let client = scene.client();
    for value in [vec![0x80], vec![0xff; 300], (0x80..=0xff).collect(), b"\xc3\x28 \xe2\x82".to_vec(), "žluť".into()] {
        let request = client
            .request("GET", "/")
            .header("x-odd", HeaderValue::from_bytes(&value).unwrap())
            .header("x-request-id", HeaderValue::from_bytes(&value).unwrap())
            .header("traceparent", HeaderValue::from_bytes(&value).unwrap());
        client.send(request.body(empty()).unwrap()).await;
        let copy = scene.target().take_one().await;
        let odd = copy.headers.iter().find(|(name, _)| name == "x-odd");
        assert_eq!(odd.unwrap().1, value);
    }
}

async fn a_hundred_kilobytes_of_headers_are_copied(scene: &Scene<1>) {
    for client in [scene.client(), scene.http2_client()] {
        let mut request = client.request("GET", "/").header("x-long", "l".repeat(40_000));
        for index in 0..600 {
            request = request.header(format!("x-{index}"), "v".repeat(100));
        }
        assert_eq!(client.send(request.body(empty()).unwrap()).await.status, 200);
        let copy = scene.target().take_one().await;
        assert_eq!(copy.only("x-long").len(), 40_000);
        assert!((0..600).all(|index| copy.only(&format!("x-{index}")) == "v".repeat(100)));
    }
    scene.envoy.settled_at("audit", 2).await;
}

async fn a_request_with_more_headers_than_a_call_may_have_is_counted(scene: &Scene<1>) {
    let client = scene.client();
    let mut request = client.request("GET", "/");
    for index in 0..1100 {
        request = request.header(format!("x-{index}"), "v");
    }
    assert_eq!(client.send(request.body(empty()).unwrap()).await.status, 200);
    let stats = scene.envoy.settled_at("audit", 1).await;
    assert_eq!(stats.drops("audit").values().sum::<u64>(), 1, "{:?}", stats.target("audit"));
    // The filter lives on.
    client.get("/next").await;
    assert_eq!(scene.target().take_one().await.path, "/next");
}

async fn a_path_of_eight_kilobytes_is_copied(scene: &Scene<1>) {
    let path = format!("/{}?{}", "p".repeat(4096), "q".repeat(4096));
    for client in [scene.client(), scene.http2_client()] {
        assert_eq!(client.get(&path).await.status, 200);
        assert_eq!(scene.target().take_one().await.path, path);
    }
}

async fn paths_are_copied_as_they_were_written(scene: &Scene<1>) {
    let paths =
        ["/", "/?", "/a?", "/a?b", "/a??b", "//a", "/a/../b", "/%00%0d%0a", "/a;b=c", "/*", "/a%2Fb", "/?q=%ff", "/{x}|^"];
    for path in paths {
        let request = format!("GET {path} HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n");
        let answer = raw::exchange(scene.envoy.address("main"), request.as_bytes()).await;
        assert_eq!(raw::status(&answer), 200, "{path}");
        let first = scene.primary.take_one().await;
        let copy = scene.target().take_one().await;
        assert_eq!((first.path.as_str(), copy.path.as_str()), (path, path));
    }
}

async fn an_authority_with_a_port_is_copied(scene: &Scene<1>) {
    let authorities = ["a.example:8443", "[::1]:80", "127.0.0.1:1", "a.example", "A.Example:80"];
    for client in [scene.client(), scene.http2_client()] {
        for authority in authorities {
            assert_eq!(client.get(&format!("http://{authority}/x")).await.status, 200);
            let first = scene.primary.take_one().await;
            let copy = scene.target().take_one().await;
            assert_eq!((copy.authority.as_str(), first.authority.as_str()), (authority, authority));
        }
    }
}

async fn a_request_in_absolute_form_is_copied_like_any_other(scene: &Scene<1>) {
    let request = "GET http://other.example:81/abs?x HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n";
    let answer = raw::exchange(scene.envoy.address("main"), request.as_bytes()).await;
    assert_eq!(raw::status(&answer), 200);
    let first = scene.primary.take_one().await;
    let copy = scene.target().take_one().await;
    assert_eq!((copy.authority, copy.path), (first.authority, first.path));
}

async fn requests_that_envoy_itself_refuses_are_not_copied(scene: &Scene<1>) {
    let refused = [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nhost: a\r\nx-nul: a\x00b\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\nnot a chunk\r\n\r\n",
    ];
    // Envoy takes a second to close each connection.
    let address = scene.envoy.address("main");
    let exchanges = refused.map(|request| (request, tokio::spawn(raw::exchange(address, request))));
    for (request, exchange) in exchanges {
        let answer = exchange.await.unwrap();
        assert_eq!(raw::status(&answer), 400, "{}", String::from_utf8_lossy(request));
    }
    let client = scene.client();
    client.post("/good", noise(10)).await;
    assert_eq!(scene.target().take_one().await.path, "/good");
    let stats = scene.envoy.settled(["audit"]).await;
    // The one whose head was good and whose body was not.
    assert_eq!(stats.drops("audit"), [("truncated".to_owned(), 1)].into());
    assert_eq!(stats.of("audit", "matched"), 2);
}

async fn pipelined_requests_are_each_copied(scene: &Scene<1>) {
    let request = "POST /1 HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\none\
        GET /2 HTTP/1.1\r\nhost: a\r\n\r\n\
        POST /3 HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 5\r\n\r\nthree";
    let answer = raw::exchange(scene.envoy.address("main"), request.as_bytes()).await;
    assert_eq!(String::from_utf8_lossy(&answer).matches("HTTP/1.1 200").count(), 3);
    let mut copies: Vec<_> = scene.target().take(3).await.into_iter().map(|copy| (copy.path.clone(), copy.body())).collect();
    copies.sort();
    let wanted = [("/1", "one"), ("/2", ""), ("/3", "three")];
    assert_eq!(copies, wanted.map(|(path, body)| (path.to_owned(), body.into())));
}

#[tokio::test]
async fn two_listeners_with_filters_of_their_own_do_not_mix() {
    let names = ["one", "two"];
    let scene =
        Scene::set_up(names, everything_to(&["one"]), |setup| setup.listener("other", Filter::json(&everything_to(&["two"]))))
            .await;
    scene.client().post("/", "to one").await;
    let other = crate::support::client::Client::http1(scene.envoy.address("other"));
    other.send(other.request("POST", "/").body(full("to two")).unwrap()).await;
    assert_eq!(scene.targets[0].take_one().await.body(), "to one");
    assert_eq!(scene.targets[1].take_one().await.body(), "to two");
    scene.envoy.settled(names).await;
}
