//! Letters that a hostile client shaped, and such as are none.

use serde_json::{json, Value};

use super::{keys, letter, summary, told, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_is_refused_and_the_rest_goes() {
    let scene = Scene::new().await;
    let with = |id: &str, field: &str, value: Value| {
        let mut letter = letter(id, 1, "/");
        letter["request"][field] = value;
        letter.to_string()
    };
    let mut evil = letter("evil\u{1b}[2J\r\nforged", 1, "/");
    evil["target"] = json!("\u{202e}tegrat");
    let text = [
        with("good", "body", json!("x".repeat(20 << 20))),
        with("split", "path", json!("/a HTTP/1.1\r\nevil: 1\r\n\r\n")),
        with("header", "headers", json!([["x-a", "1\r\nevil: 1"]])),
        with("method", "method", json!("GET / HTTP/1.1\r\n")),
        with("base64", "body_base64", json!("???")),
        with("many", "headers", (0..24_575).map(|number| json!([format!("h{number}"), "v"])).collect()),
        evil.to_string(),
        "{\"version\": 1, \"torn".to_owned(),
        "[".repeat(200_000),
        json!({"deep": (0..100).fold(json!(1), |inner, _| json!([inner]))}).to_string(),
        "\"\u{1b}[2J\"".to_owned(),
        letter("last", 2, "/").to_string(),
    ]
    .join("\n");
    scene.write("letters", text);
    let ran = scene.replay(&["letters", "--format", "json"]);
    assert_eq!((ran.status, summary(&ran)), (1, json!({"sent": 2, "refused": 6, "no_letter": 4})), "{ran:?}");
    let mut received = keys(&scene.target.take(2).await);
    received.sort();
    assert_eq!(received, ["good", "last"]);
    // What failed is kept. It is not delivered by another replay, and is there once.
    let failed = scene.read("sidecast-replay.failed.jsonl");
    assert_eq!(failed.lines().count(), 10);
    let again = scene.replay(&["sidecast-replay.failed.jsonl"]);
    assert_eq!((again.status, again.out.as_str()), (1, "0 sent, 6 refused, 4 unreadable\n"), "{}", again.err);
    assert!(scene.read("sidecast-replay.failed.jsonl") == failed, "it was there once");
    let shown = again.err.bytes().all(|byte| byte == b'\n' || (0x20..0x7f).contains(&byte));
    assert!(shown && again.err.lines().all(|line| line.len() < 600), "{}", again.err);
    assert_eq!(told(&ran).len(), 12);
}
