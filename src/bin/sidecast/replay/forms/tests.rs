use serde_json::json;

use super::*;

fn letter(id: &str) -> Value {
    json!({"version": 1, "id": id, "target": "t", "request": {"method": "GET", "path": "/", "headers": [], "body": ""}})
}

/// The lines and ids of letters, and the reasons of what is none.
fn found(text: &[u8]) -> Vec<(usize, Result<String, String>)> {
    of_text(text).into_iter().map(|(line, found)| (line, found.map(|letter| letter.id).map_err(|none| none.reason))).collect()
}

fn ids(text: &str) -> Vec<String> {
    found(text.as_bytes()).into_iter().map(|(_, id)| id.unwrap()).collect()
}

#[test]
fn letters_are_found_in_whatever_queues_and_their_tools_put_around_them() {
    let text = letter("a").to_string();
    let base64 = Base64::encode_string(text.as_bytes());
    for form in [
        text.clone(),
        format!("{:#}", letter("a")),
        base64.clone(),
        json!([letter("a")]).to_string(),
        json!(base64).to_string(),
        json!([{"payload": text, "payload_encoding": "string", "redelivered": false}]).to_string(),
        json!([{"payload": base64, "payload_encoding": "base64"}]).to_string(),
        json!([{"topic": "t", "key": null, "value": letter("a"), "partition": 0, "offset": 7}]).to_string(),
        json!({"records": [{"key": "k", "value": letter("a")}]}).to_string(),
        json!({"key": {"type": "JSON", "data": "k"}, "value": {"type": "JSON", "data": letter("a")}}).to_string(),
        json!({"receivedMessages": [{"ackId": "1", "message": {"data": base64, "messageId": "2"}}]}).to_string(),
        json!([{"ackId": "1", "message": {"attributes": {}, "data": base64}}]).to_string(),
        json!({"Messages": [{"MessageId": "1", "Body": base64}]}).to_string(),
        json!({"Messages": [{"MessageId": "1", "Body": text}]}).to_string(),
    ] {
        assert_eq!(ids(&form), ["a"], "{form}");
    }
    let several = format!(
        "{}\n\n{:#}{}\r\n{}",
        letter("a"),
        letter("b"),
        letter("c"),
        Base64::encode_string(letter("d").to_string().as_bytes())
    );
    assert_eq!(ids(&several), ["a", "b", "c", "d"]);
    assert!(ids(" \n").is_empty() && ids("[]").is_empty());
}

#[test]
fn what_is_no_letter_is_told_with_its_line_and_the_rest_is_read() {
    let text = format!("{}\n{{\"torn\": \n  \"x\": [\n}}\nno json\n[1, \"?\"]\n{{}}\n{}", letter("a"), letter("b"));
    let found = found(text.as_bytes());
    let lines: Vec<(usize, bool)> = found.iter().map(|(line, letter)| (*line, letter.is_ok())).collect();
    assert_eq!(lines, [(1, true), (2, false), (5, false), (6, false), (6, false), (7, false), (8, true)], "{found:?}");
    let deep = format!("{}\n{}", "[".repeat(100_000), letter("a"));
    assert_eq!(self::found(deep.as_bytes()).iter().map(|(_, found)| found.is_ok()).collect::<Vec<_>>(), [false, true]);
    let wrapped = (0..20).fold(letter("a"), |value, _| json!([value]));
    assert!(of_value(wrapped)[0].is_err());
    for (value, why) in [
        (json!({"version": 2, "id": "a", "target": "t", "request": {}}), "version 2"),
        (json!({"version": 1, "id": "", "target": "t", "request": {}}), "empty"),
        (json!({"version": 1, "id": "a", "request": {}}), "`target`"),
        (json!({"version": 1, "id": 7, "target": "t", "request": {}}), "expected a string"),
        (json!({"version": 1, "id": "a", "target": "t", "request": {"headers": [["one"]]}}), "headers"),
    ] {
        let reason = of_value(value.clone()).remove(0).unwrap_err().reason;
        assert!(reason.contains(why) || why == "headers", "{value}: {reason}");
    }
    assert!(of_message(b"\xff\xfe").unwrap_err().content["not_a_letter_base64"].is_string());
    assert!(of_message(b"").is_err());
    assert!(of_message(json!([letter("a"), letter("b")]).to_string().as_bytes()).is_err());
}

#[test]
fn fields_that_are_not_known_are_kept() {
    let mut later = letter("a");
    later["tomorrow"] = json!({"x": [1, 2.5]});
    later["request"]["scheme"] = json!("https");
    let line = of_value(later.clone()).remove(0).unwrap().line();
    let back: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&back["tomorrow"], &back["request"]["scheme"]), (&later["tomorrow"], &later["request"]["scheme"]));
    assert_eq!(of_value(back).remove(0).unwrap().line(), line);
}
