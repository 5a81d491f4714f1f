//! Servers that fail, and such that speak TLS or gRPC.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use hyper::Version;
use serde_json::json;
use tempfile::TempDir;

use super::{letter, lines, summary, told, Scene};
use crate::support::answer::{Answer, Behaviour};
use crate::support::tls::{Authority, Door};
use crate::support::upstream::Upstream;

/// What a server does with a path: the first time, and from then on.
fn behaviour(path: &str, is_first: bool) -> Behaviour {
    let answer = |status| Behaviour::Answer(Answer::status(status));
    let asking =
        |seconds: &str| Behaviour::Answer(Answer { headers: vec![("retry-after", seconds.to_owned())], ..Answer::status(429) });
    match (path, is_first) {
        ("/once", true) => answer(503),
        ("/asks", true) => asking("1"),
        ("/asks-too-much", _) => asking("3600"),
        ("/closes", true) => Behaviour::CloseBeforeHeaders,
        ("/cut", true) => Behaviour::CloseInAnswer,
        ("/hangs", _) => Behaviour::Hang,
        ("/hangs-in-answer", _) => Behaviour::HangInAnswer,
        ("/slow", _) => Behaviour::Answer(Answer::status(200).after(Duration::from_millis(50))),
        ("/long", _) => Behaviour::Answer(Answer { body: vec![b'x'; 3 << 20].into(), ..Answer::status(200) }),
        ("/moved", _) => Behaviour::Answer(Answer { headers: vec![("location", "/ok".to_owned())], ..Answer::status(307) }),
        ("/gone", _) => answer(404),
        ("/conflict", _) => answer(409),
        ("/down", _) => answer(500),
        _ => answer(200),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_now_is_tried_again_and_what_fails_for_good_is_kept() {
    let scene = Scene::new().await;
    let (seen, tries) = (std::sync::Mutex::new(std::collections::BTreeSet::new()), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&tries);
    scene.target.behave(Behaviour::chosen(move |request| {
        counted.fetch_add(1, Ordering::Relaxed);
        behaviour(&request.path, seen.lock().unwrap().insert(request.path.clone()))
    }));
    let expected = [
        ("/asks", "sent status_200 2"),
        ("/asks-too-much", "failed status_429 1"),
        ("/closes", "sent status_200 2"),
        ("/conflict", "sent status_409 1"),
        ("/cut", "sent status_200 2"),
        ("/down", "failed status_500 2"),
        ("/gone", "failed status_404 1"),
        ("/hangs", "failed timeout 2"),
        ("/hangs-in-answer", "failed timeout 2"),
        ("/long", "sent status_200 1"),
        ("/moved", "failed status_307 1"),
        ("/once", "sent status_200 2"),
        ("/slow", "sent status_200 1"),
    ];
    let letters = expected.map(|(path, _)| letter(path, 1, path));
    scene.write("letters", lines(&letters));
    let options = ["--attempts", "2", "--timeout", "700ms", "--success", "200-299,409", "--concurrency", "16"];
    let ran = scene.replay(&[&["letters", "--format", "json"], &options[..]].concat());
    assert_eq!(told(&ran), expected.map(|(path, told)| (path.to_owned(), told.to_owned())), "{}", ran.err);
    assert_eq!((ran.status, tries.load(Ordering::Relaxed)), (1, 20));
    let failed = scene.read("sidecast-replay.failed.jsonl");
    assert_eq!(failed.lines().count(), 6, "{failed}");
    // When the server is well again, what failed goes, and nothing else.
    scene.target.behave(Behaviour::Answer(Answer::status(204)));
    let again = scene.replay(&["sidecast-replay.failed.jsonl", "--format", "json"]);
    assert_eq!((again.status, summary(&again)), (0, json!({"sent": 6})));
    let third = scene.replay(&["letters", "sidecast-replay.failed.jsonl", "--format", "json"]);
    assert_eq!((third.status, summary(&third)), (0, json!({"in_journal": 19})));
    let mut scene = scene;
    scene.target.close().await;
    let refused = scene.replay(&["letters", "--journal", "other", "--attempts", "1", "--format", "json", "--only", "id=/slow"]);
    assert_eq!(told(&refused)[12], ("/slow".to_owned(), "failed connect_failure 1".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_with_an_authority_and_a_certificate_of_ones_own() {
    let authority = Authority::new();
    let (server, client) = (authority.issue("localhost"), authority.issue("replay"));
    let door = Door::new(&server, &authority);
    let target = Upstream::secured(Arc::clone(&door)).await;
    let scene = Scene { directory: TempDir::new().unwrap(), target };
    scene.write("ca.pem", &authority.pem);
    scene.write("cert.pem", &client.pem);
    scene.write("key.pem", &client.key);
    scene.write("other.pem", &Authority::new().pem);
    scene.write("letter", letter("i1", 1, "/a?b").to_string());
    let to = format!("https://localhost:{}", scene.target.address().port());
    let base = ["letter", "--to", &to, "--attempts", "1", "--failed", "failed"];
    let with_client = ["--cert", "cert.pem", "--key", "key.pem"];
    let foreign = [&["--ca", "other.pem"][..], &with_client[..]].concat();
    for options in [&["--ca", "ca.pem"][..], &["--insecure"], &foreign[..], &with_client] {
        let ran = scene.run(&[&base[..], options].concat(), &[("SSL_CERT_FILE", "other.pem")]);
        assert_eq!((ran.status, ran.out.as_str()), (1, "0 sent, 1 failed\n"), "{options:?}: {}", ran.err);
    }
    assert!(door.guests().is_empty() && scene.target.received().is_empty());
    let ran = scene.run(&[&base[..], &["--ca", "ca.pem"], &with_client[..]].concat(), &[]);
    assert_eq!((ran.status, ran.out.as_str()), (0, "1 sent\n"), "{}", ran.err);
    let insecure = scene.run(&[&base[..], &["--insecure", "--journal", "other"], &with_client[..]].concat(), &[]);
    assert_eq!(insecure.status, 0, "{}", insecure.err);
    let received = scene.target.take(2).await;
    let first = &received[0];
    assert_eq!((first.version, first.authority.as_str(), first.path.as_str()), (Version::HTTP_2, "shop.example", "/a?b"));
    assert_eq!(door.guests(), [client.der.clone(), client.der]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_of_grpc_goes_over_http2_and_its_own_status_counts() {
    let scene = Scene::new().await;
    let status =
        |code: &str| Behaviour::Answer(Answer { headers: vec![("grpc-status", code.to_owned())], ..Answer::status(200) });
    let (well, ill) = (status("0"), status("5"));
    scene.target.behave(Behaviour::by_path("/shop.Orders/Put", well, ill));
    let grpc = |id: &str, path: &str| {
        let mut letter = letter(id, 1, path);
        letter["request"]["headers"] = json!([["content-type", "application/grpc"], ["te", "trailers"]]);
        letter["request"]["body_base64"] = json!("AAAAAAH/");
        letter["request"]["body"] = json!(null);
        letter
    };
    scene.write("letters", lines(&[grpc("i1", "/shop.Orders/Put"), grpc("i2", "/shop.Orders/Get")]));
    let ran = scene.replay(&["letters", "--format", "json"]);
    let expected = [("i1", "sent grpc_0 1"), ("i2", "failed grpc_5 1")];
    assert_eq!(told(&ran), expected.map(|(id, told)| (id.to_owned(), told.to_owned())));
    for request in scene.target.take(2).await {
        assert_eq!((request.version, request.authority.as_str()), (Version::HTTP_2, "shop.example"));
        assert!(request.headers.contains(&("te".to_owned(), b"trailers".to_vec())), "{request:?}");
        assert_eq!(request.body(), &b"\x00\x00\x00\x00\x01\xff"[..]);
    }
}
