//! Values that letters do not show.

use serde_json::json;

use super::{keys, letter, lines, Scene};
use crate::support::recorded::values;

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_without_its_secret_waits_for_it_and_the_secret_is_shown_nowhere() {
    let scene = Scene::new().await;
    let mut letters = [letter("i1", 1, "/"), letter("i2", 2, "/"), letter("i3", 3, "/")];
    letters[0]["request"]["headers"] = json!([["authorization", "Bearer [redacted]"], ["x-a", "1"]]);
    letters[0]["request"]["redacted"] = json!(["authorization"]);
    letters[1]["request"]["redacted"] = json!([":body"]);
    letters[2]["request"]["body"] = json!("{\"card\":\"[redacted]\"}");
    scene.write("letters", lines(&letters));
    let ran = scene.replay(&["letters"]);
    assert_eq!((ran.status, ran.out.as_str()), (1, "1 sent, 2 not sent\n"));
    assert!(ran.err.contains("in authorization:") && ran.err.contains("in :body:"), "{}", ran.err);
    let to = scene.url();
    let set = ["--to", &to, "--set", "audit:authorization=Bearer ${AUDIT_TOKEN}", "letters"];
    let ran = scene.run(&set, &[("AUDIT_TOKEN", "hunter2")]);
    assert_eq!((ran.status, ran.out.as_str()), (1, "1 sent, 1 already in the journal, 1 not sent\n"));
    let kept = scene.run(&[&set[..], &["--keep-redacted"]].concat(), &[("AUDIT_TOKEN", "hunter2")]);
    assert_eq!((kept.status, kept.out.as_str()), (0, "1 sent, 2 already in the journal\n"));
    let received = scene.target.take(3).await;
    assert_eq!(keys(&received), ["i3", "i1", "i2"]);
    assert_eq!(values(&received[1].headers, "authorization"), ["Bearer hunter2"]);
    for text in [&ran.out, &ran.err, &kept.err, &scene.read("sidecast-replay.journal")] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert_eq!(scene.files(), ["letters", "sidecast-replay.journal"]);
}
