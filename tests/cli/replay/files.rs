//! Letters of files: the forms in which they come, which of them are sent, and in which order.

use data_encoding::BASE64;
use serde_json::json;

use super::{keys, letter, lines, summary, told, Scene};
use crate::support::recorded::values;

#[tokio::test(flavor = "multi_thread")]
async fn letters_of_all_forms_arrive_byte_for_byte_the_oldest_first() {
    let scene = Scene::new().await;
    let text = |id: &str, second| letter(id, second, "/orders/%2e?a=b%20c").to_string();
    let base64 = |id: &str, second| BASE64.encode(text(id, second).as_bytes());
    scene.write("lines", format!("{}\n{}\n", text("i3", 3), text("i1", 1)));
    scene.write("pretty", format!("{:#}\n{:#}", letter("i5", 5, "/"), letter("i0", 0, "/")));
    scene.write("base64", base64("i2", 2));
    scene.write("rabbitmq", json!([{"payload": base64("i4", 4), "payload_encoding": "base64"}]).to_string());
    scene.write("kafka", json!([{"key": "k", "value": letter("i7", 7, "/")}]).to_string());
    scene.write("pubsub", json!({"receivedMessages": [{"message": {"data": base64("i6", 6)}}]}).to_string());
    scene.write("sqs", json!({"Messages": [{"Body": base64("i8", 8)}]}).to_string());
    let mut odd = letter("i9", 9, "/");
    odd["request"]["headers"] = json!([["x-latin", "Jörg"]]);
    odd["request"]["headers_base64"] = json!([["x-latin", "SvZyZw=="]]);
    odd["request"]["body"] = json!(null);
    odd["request"]["body_base64"] = json!("//4A");
    scene.write("odd", odd.to_string());
    let files = ["odd", "lines", "pretty", "base64", "rabbitmq", "kafka", "pubsub", "sqs"];
    let ran = scene.replay(&[&["--concurrency", "1"], &files[..]].concat());
    assert_eq!((ran.status, ran.out.as_str(), ran.err.as_str()), (0, "10 sent\n", ""));
    // Letters hold personal data.
    let journal = std::fs::metadata(scene.path().join("sidecast-replay.journal")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&journal.permissions()) & 0o777, 0o600);
    let mut received = scene.target.take(10).await;
    assert_eq!(keys(&received), (0..10).map(|number| format!("i{number}")).collect::<Vec<_>>());
    let odd = received.pop().unwrap();
    assert_eq!((odd.body().to_vec(), &odd.headers[0]), (b"\xff\xfe\x00".to_vec(), &("x-latin".to_owned(), b"J\xf6rg".to_vec())));
    let first = &received[1];
    let line = (first.method.as_str(), first.path.as_str(), first.authority.as_str());
    assert_eq!(line, ("POST", "/orders/%2e?a=b%20c", "shop.example"));
    assert_eq!(first.body(), "{\"id\": \"i1\"}\r\n");
    assert_eq!(values(&first.headers, "x-twice"), ["one", "two, three"]);
    let names: Vec<&str> = first.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["x-sidecast-target", "x-twice", "x-twice", "idempotency-key", "content-length"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_wanted_goes_and_only_to_its_own_url() {
    let scene = Scene::new().await;
    let mut letters: Vec<_> = (0..6).map(|number| letter(&format!("i{number}"), number, "/")).collect();
    letters[1]["reason"] = json!("expired");
    letters[2]["target"] = json!("billing");
    letters[2]["cluster"] = json!("bill");
    letters[3]["target"] = json!("elsewhere");
    letters[3].as_object_mut().unwrap().remove("cluster");
    letters[4]["request"]["method"] = json!("DELETE");
    letters.push(letters[0].clone());
    scene.write("letters", lines(&letters));
    let (audit, bill) = (format!("audit={}/a/", scene.url()), format!("bill: {}/b\n", scene.url()));
    scene.write("targets", bill);
    let run = |arguments: &[&str]| {
        let base = ["--to", &audit, "--targets", "targets", "letters", "--format", "json"];
        scene.run(&[&base[..], arguments].concat(), &[])
    };
    let dry = run(&["--dry-run"]);
    assert_eq!((dry.status, summary(&dry)), (1, json!({"would_send": 5, "not_sent": 1, "twice": 1})));
    assert_eq!(scene.files(), ["letters", "targets"]);
    let some = run(&["--only", "reason=expired,target=audit", "--only", "method=DELETE,until=2026-01-02T00:00:05Z"]);
    assert_eq!((some.status, summary(&some)), (0, json!({"sent": 2, "not_selected": 5})));
    let elsewhere = told(&run(&["--only", "target=elsewhere"]));
    assert!(elsewhere.contains(&("i3".to_owned(), "not_sent".to_owned())), "{elsewhere:?}");
    let one = run(&["--limit", "1", "--concurrency", "1"]);
    assert_eq!(summary(&one), json!({"sent": 1}));
    let rest = run(&["--rate", "1000/s"]);
    assert_eq!(summary(&rest), json!({"sent": 2, "in_journal": 4, "not_sent": 1}));
    let received = scene.target.take(5).await;
    let mut paths: Vec<_> = keys(&received).into_iter().zip(received.iter().map(|request| request.path.clone())).collect();
    paths.sort();
    let expected = [("i0", "/a/"), ("i1", "/a/"), ("i2", "/b/"), ("i4", "/a/"), ("i5", "/a/")];
    assert_eq!(paths, expected.map(|(id, path)| (id.to_owned(), path.to_owned())));
}

#[test]
fn wrong_arguments_are_told_and_nothing_is_begun() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("letters"), letter("i", 1, "/").to_string()).unwrap();
    std::fs::write(directory.path().join("notes"), "dear diary").unwrap();
    std::fs::write(directory.path().join("torn"), "a: http://u:hunter2@h\n  b: http://h\n").unwrap();
    let to = ["--to", "http://127.0.0.1:1"];
    for (arguments, why) in [
        (&["letters"][..], "--to"),
        (&to[..], "FILE"),
        (&["--to", "http://127.0.0.1:1", "absent"], "absent: No such file"),
        (&["--to", "ftp://h", "letters"], "expected http:// or https://"),
        (&["--to", "http://h/?x", "letters"], "query"),
        (&["--to", "http://u:hunter2@h", "letters"], "it contains credentials"),
        (&["--to", "a=http://h", "--to", "a=http://h", "letters"], "twice"),
        (&["--to", "http://h", "letters", "--journal", "notes"], "notes, line 1: not a journal"),
        (&["--to", "http://h", "letters", "--journal", "letters"], "not a journal"),
        // Nothing can be written there, and reading it never ends.
        (&["--to", "http://h", "letters", "--journal", "/dev/full"], "/dev/full: "),
        (&["--to", "http://h", "letters", "--failed", "nowhere/failed"], "nowhere/failed"),
        (&["--to", "http://h", "letters", "--failed", "sidecast-replay.journal"], "as its journal"),
        (&["--to", "http://h", "letters", "--success", "2yy"], "2xx"),
        (&["--to", "http://h", "letters", "--rate", "0/s"], "10/s"),
        (&["--to", "http://h", "letters", "--only", "colour=red"], "KEY=VALUE"),
        (&["--to", "http://h", "letters", "--set", "authorization=Bearer ${SURELY_NOT_SET}"], "SURELY_NOT_SET is not set"),
        (&["--to", "http://h", "letters", "--set", "host=hunter2"], "host"),
        (&["--to", "http://h", "letters", "--set", "authorization: Basic hunter2=="], "--set"),
        (&["--to", "u:hunter2=x@h", "letters"], "--to: the URL: expected"),
        (&["--targets", "torn", "letters"], "torn: expected NAME: URL"),
        (&["--to", "a=http://h", "--to", "b=http://h", "letters", "--set", "x-a=hunter2"], "--set TARGET:x-a"),
        (&["--to", "http://h", "--from", "amqp://u:hunter2@[", "--queue", "q"], "--from"),
        (&["--to", "http://h", "--from", "http://u:hunter2@h", "--queue", "q"], "--from"),
        (&["--to", "https://h", "letters", "--ca", "notes"], "notes: "),
    ] {
        let ran = crate::tool::ended(crate::tool::start(directory.path(), &[&["replay"], arguments].concat(), &[]));
        assert_eq!(ran.status, 2, "{arguments:?}: {ran:?}");
        assert!(ran.err.contains(why) && !ran.err.contains("hunter2"), "{arguments:?}: {ran:?}");
    }
    assert_eq!(std::fs::read_to_string(directory.path().join("notes")).unwrap(), "dear diary");
    // The journal was begun before the last file could not be used.
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 4);
}
