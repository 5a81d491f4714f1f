//! Values of the bodies of answers.

use std::rc::Rc;

use super::codings::gzip;
use super::*;
use crate::http::unavailable::Unavailable;
use crate::template::Answerer;

/// A target that follows another, which waits for the primary's response.
fn following(fields: &str, more: &str) -> Config {
    let leader = r#"{"name":"stock","cluster":"c","after":"response"}"#;
    let text = format!(r#"{{"targets":[{leader},{{"name":"audit","cluster":"c","after":{{"target":"stock"}}{fields}}}]{more}}}"#);
    Config::parse(text.as_bytes(), &|_| None).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// A follower whose body is this template.
fn writing(template: &str) -> Config {
    following(&format!(r#","request":{{"body":{{"template":{template}}}}}"#), "")
}

fn answer(of: Answerer, coding: &str, body: Result<&[u8], Unavailable>) -> Answer {
    let headers = map(&[("content-encoding", coding.as_bytes())]);
    Answer { headers, body: body.map(<[u8]>::to_vec), ..Answer::new(of, Some(200)) }
}

/// An answer of the primary, and that of the leader after it.
fn answers(primary: Answer, stock: Result<&[u8], Unavailable>) -> Answer {
    Answer { before: Some(Rc::new(primary)), ..answer(Answerer::Target("stock".into()), "", stock) }
}

/// The body that the follower receives, and the work for it.
fn written_after(config: &Config, answer: &Answer) -> (Result<String, Unfit>, usize) {
    let captured = captured(config, &[(":method", b"POST"), (":path", b"/")]);
    let reading = Reading::new(&captured, b"", &config.reading);
    let call = config.targets[1].shape.call(&source(&reading, answer), &attempt(), &config.loop_guard);
    (call.map(|call| String::from_utf8(call.body.into_owned()).unwrap()), reading.work().spent())
}

/// The body that the follower receives after the primary's answer and an empty one of its leader.
fn after_primary(config: &Config, coding: &str, body: Result<&[u8], Unavailable>) -> Result<String, Unfit> {
    written_after(config, &answers(answer(Answerer::Primary, coding, body), Ok(b""))).0
}

const ORDER: &[u8] = br#"{ "id": 7, "total": 1.50, "card": {"number": "4111"}, "n": null }"#;

#[test]
fn values_keep_their_types_and_spelling() {
    let config = writing(
        r#"{"id":"${response:body:/id}","total":"${response:body:/total}","card":"${response:body:/card}","n":"${response:body:/n}",
            "none":"${response:body:/x}","text":"order ${response:body:/id} of ${response:body:/card}","whole":"${response:body}"}"#,
    );
    let expected = r#"{"card":{"number":"4111"},"id":7,"n":null,"none":null,"text":"order 7 of {\"number\":\"4111\"}","total":1.50,"whole":{"id":7,"total":1.50,"card":{"number":"4111"},"n":null}}"#;
    for (coding, body) in [("", ORDER.to_vec()), ("gzip", gzip(ORDER)), (" X-GZIP ", gzip(ORDER)), ("identity", ORDER.to_vec())] {
        assert_eq!(after_primary(&config, coding, Ok(&body)), Ok(expected.to_owned()), "{coding}");
    }
}

#[test]
fn each_answerer_is_read_by_itself_and_of_one_the_latest() {
    let config = writing(r#"["${response:body:/id}","${target:stock:body:/id}","${target:stock:body_text}"]"#);
    let first = answers(answer(Answerer::Primary, "", Ok(br#"{"id":1}"#)), Ok(br#"{"id":2}"#));
    assert_eq!(written_after(&config, &first).0, Ok(r#"[1,2,"{\"id\":2}"]"#.to_owned()));
    let stock = answer(Answerer::Target("stock".into()), "gzip", Ok(&gzip(br#"{"id":3}"#)));
    let latest = Answer { before: Some(Rc::new(first)), ..stock };
    assert_eq!(written_after(&config, &latest).0, Ok(r#"[1,3,"{\"id\":3}"]"#.to_owned()));
    let alone = answer(Answerer::Primary, "", Ok(br#"{"id":1}"#));
    assert_eq!(written_after(&config, &alone).0, Ok("[1,null,null]".to_owned()), "there is no answer of the other target");
}

#[test]
fn a_body_that_is_empty_or_of_which_there_is_no_answer_has_no_values() {
    let config = writing(r#"["${response:body}","${response:body:/id}","${response:body_text}","<${response:body_text}>"]"#);
    for coding in ["", "gzip", "br"] {
        assert_eq!(after_primary(&config, coding, Ok(b"")), Ok(r#"[null,null,null,"<>"]"#.to_owned()), "{coding}");
    }
    assert_eq!(after_primary(&config, "gzip", Ok(&gzip(b""))), Ok(r#"[null,null,null,"<>"]"#.to_owned()));
}

#[test]
fn what_cannot_be_read_as_json_is_no_copy_where_json_is_read() {
    let (json, text) = (writing(r#""${response:body:/id}""#), writing(r#""${response:body_text}""#));
    let both = writing(r#"["${response:body_text}","${response:body}"]"#);
    let unread: [(&str, Result<&[u8], Unavailable>, Unfit, Option<&str>); 8] = [
        ("", Ok(b"no json"), Unfit::ResponseNotJson, Some("\"no json\"")),
        ("", Ok(b"{\"id\":7}}"), Unfit::ResponseNotJson, Some("\"{\\\"id\\\":7}}\"")),
        ("", Ok(b"\"J\xf6rg\""), Unfit::ResponseNotJson, Some("\"\\\"J\u{fffd}rg\\\"\"")),
        ("br", Ok(b"{}"), Unfit::ResponseNotJson, Some("\"{}\"")),
        ("gzip", Ok(b"{}"), Unfit::ResponseNotJson, Some("\"{}\"")),
        ("", Err(Unavailable::CutOff), Unfit::ResponseNotJson, Some("null")),
        ("", Err(Unavailable::TooLong), Unfit::ResponseTooLarge, None),
        ("", Err(Unavailable::NoRoom), Unfit::NoRoomForResponse, None),
    ];
    for (coding, body, unfit, as_text) in unread {
        assert_eq!(after_primary(&json, coding, body), Err(unfit), "{coding} {body:?}");
        assert_eq!(after_primary(&both, coding, body), Err(unfit), "{coding} {body:?}");
        let expected = as_text.map_or(Err(unfit), |text| Ok(text.to_owned()));
        assert_eq!(after_primary(&text, coding, body), expected, "{coding} {body:?}");
        let others = writing(r#"["${response:status}","${response:header:x-a}","${target:stock:body}"]"#);
        assert_eq!(after_primary(&others, coding, body), Ok("[200,null,null]".to_owned()), "nobody reads it");
    }
}

#[test]
fn text_is_decoded_if_it_can_be() {
    let config = writing(r#""${response:body_text}""#);
    assert_eq!(after_primary(&config, "gzip", Ok(&gzip(b"J\xf6rg, no json"))), Ok("\"J\u{fffd}rg, no json\"".to_owned()));
}

#[test]
fn a_body_may_decode_to_as_much_as_a_body_may_have() {
    for template in [r#""${response:body:/a}""#, r#""${response:body_text}""#] {
        let fields = format!(r#","request":{{"body":{{"template":[{template},1]}}}}"#);
        let config = following(&fields, r#","limits":{"max_body_bytes":1000}"#);
        let of_length = |length: usize| gzip(format!("{:length$}", "{}").as_bytes());
        assert!(after_primary(&config, "gzip", Ok(&of_length(1_000))).is_ok(), "{template}");
        assert_eq!(after_primary(&config, "gzip", Ok(&of_length(1_001))), Err(Unfit::ResponseTooLarge), "{template}");
    }
}

#[test]
fn what_is_redacted_is_redacted_in_all_answers_and_in_their_text() {
    let fields = |template: &str| {
        format!(
            r#","response":{{"redact":["/card/number","/*/pin"]}},"request":{{"path":"/${{response:body:/card/number}}","body":{{"template":{template}}}}}"#
        )
    };
    let config = following(&fields(r#"["${response:body:/card}","${response:body_text}","${target:stock:body}"]"#), "");
    let primary = answer(Answerer::Primary, "gzip", Ok(&gzip(br#"{"card": {"number":4111},"id":7}"#)));
    let answers = answers(primary, Ok(br#"{"a":{"pin":"1234"},"b":[1]}"#));
    let expected =
        r#"[{"number":"[redacted]"},"{\"card\": {\"number\":\"[redacted]\"},\"id\":7}",{"a":{"pin":"[redacted]"},"b":[1]}]"#;
    assert_eq!(written_after(&config, &answers).0, Ok(expected.to_owned()));
    let captured = captured(&config, &[(":method", b"POST"), (":path", b"/")]);
    let reading = Reading::new(&captured, b"", &config.reading);
    let call = config.targets[1].shape.call(&source(&reading, &answers), &attempt(), &config.loop_guard).unwrap();
    assert_eq!(value(&owned(&HeaderMap::new(call.headers)), ":path"), Some("/%5Bredacted%5D"));
    // What cannot be redacted does not leave, also as text.
    let text = following(r#","response":{"redact":["/a"]},"request":{"body":{"template":"${response:body_text}"}}"#, "");
    for (coding, body) in [("", &b"no json"[..]), ("br", b"{}"), ("", b"\"\xff\"")] {
        assert_eq!(after_primary(&text, coding, Ok(body)), Err(Unfit::ResponseNotJson), "{coding}");
    }
    assert_eq!(after_primary(&text, "", Ok(b"")), Ok("null".to_owned()));
    // An answer that no expression reads need not be readable.
    let status = following(r#","response":{"redact":["/a"]},"request":{"body":{"template":"${response:status}"}}"#, "");
    assert_eq!(after_primary(&status, "", Ok(b"no json")), Ok("200".to_owned()));
}

#[test]
fn answers_are_work_and_take_no_more_than_a_request_may_cause() {
    let body = format!("[{}0]", "0,".repeat(100_000));
    let read = |template: &str, redact: &str, max: &str| {
        let fields = format!(r#"{redact},"request":{{"body":{{"template":{template}}}}}"#);
        let config = following(&fields, &format!(r#","limits":{{"max_work_bytes":"{max}"}}"#));
        written_after(&config, &answers(answer(Answerer::Primary, "gzip", Ok(&gzip(body.as_bytes()))), Ok(b"")))
    };
    let one = r#""${response:body:/1}""#;
    let redact = r#","response":{"redact":["/*"]}"#;
    let (sent, work) = read(one, "", "8MiB");
    assert_eq!(sent, Ok("0".to_owned()));
    // It is decoded, scanned, and each of its values has a place.
    assert!(work > body.len() * 2 + 400_000, "{work}");
    let (none, without) = read(r#""${response:status}""#, "", "8MiB");
    assert!(none.is_ok() && without < 100, "{without}");
    let (sent, redacted) = read(one, redact, "8MiB");
    assert_eq!(sent, Ok(r#""[redacted]""#.to_owned()));
    assert!(redacted > work * 2, "{redacted}");
    for (template, redact, max) in
        [(one, "", "64KiB"), (one, "", "512KiB"), (one, redact, "1MiB"), (r#""${response:body_text}""#, "", "128KiB")]
    {
        assert_eq!(read(template, redact, max).0, Err(Unfit::TooMuchWork), "{template} {redact} {max}");
    }
}

#[test]
fn an_item_of_a_batch_reads_the_primarys_answer() {
    let config = configured(
        r#","after":"response","batch":{},"response":{"redact":["/card"]},"request":{"path":"/${response:body:/id}","body":{"template":["${response:body}"]}}"#,
        "",
    );
    let captured = captured(&config, &[(":method", b"POST"), (":path", b"/")]);
    let item = |body: &[u8]| {
        let answer = answer(Answerer::Primary, "", Ok(body));
        let reading = Reading::new(&captured, b"", &config.reading);
        let (line, json) = config.targets[0].shape.item(&source(&reading, &answer), &attempt(), Format::Ndjson)?;
        let path = HeaderMap::from(&line).get_all(b":path").next().unwrap().to_vec();
        Ok((String::from_utf8(path).unwrap(), String::from_utf8(json.into_owned()).unwrap()))
    };
    assert_eq!(item(br#"{"id": 7, "card": 1}"#), Ok(("/7".to_owned(), r#"[{"id":7,"card":"[redacted]"}]"#.to_owned())));
    assert_eq!(item(b"{"), Err(Unfit::ResponseNotJson));
}
