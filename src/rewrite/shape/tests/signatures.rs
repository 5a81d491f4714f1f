//! What is signed, and what of the client's is left out for it.

use super::codings::gzip;
use super::*;
use crate::rewrite::items::Format;
use data_encoding::BASE64;

const KEY: &[u8; 24] = b"a key of twenty-four ...";
const POST: [(&str, &[u8]); 3] = [(":method", b"POST"), (":path", b"/"), (":authority", b"a")];

/// A configuration whose target signs webhooks, with these fields of `request` besides.
fn webhooks(more: &str, target: &str) -> Config {
    let secret = BASE64.encode(KEY);
    let sign = format!(r#""sign":{{"standard_webhooks":{{"secrets":["whsec_{secret}"]}}}}"#);
    configured(&format!(r#","request":{{{sign}{more}}}{target}"#), "")
}

/// Asserts that the headers are those of a signature of this body.
fn assert_signed(sent: &Sent, body: &[u8]) {
    // The time of the attempt, not that of the request.
    assert_eq!((value(sent, "webhook-id"), value(sent, "webhook-timestamp")), (Some(ID), Some("1767323999")));
    let tag = hmac_sha256::HMAC::mac([format!("{ID}.1767323999.").as_bytes(), body].concat(), KEY);
    assert_eq!(value(sent, "webhook-signature"), Some(format!("v1,{}", BASE64.encode(&tag)).as_str()));
}

#[test]
fn the_bytes_that_are_sent_are_signed_whatever_is_made_of_the_body() {
    let gzipped = gzip(br#"{"a":1}"#);
    let encoded = [&POST[..], &[("content-encoding", b"gzip")]].concat();
    for (more, pairs, body, sent_body) in [
        ("", &POST[..], &br#"{"a": 1}"#[..], &br#"{"a": 1}"#[..]),
        ("", &POST, b"\xff\x00", b"\xff\x00"),
        ("", &POST, b"", b""),
        ("", &encoded, &gzipped, &gzipped),
        (r#","body":{"redact":["/a"]}"#, &encoded, &gzipped, br#"{"a":"[redacted]"}"#),
        (r#","body":{"template":{"b":"${body:/a}"}}"#, &POST, br#"{"a": 1}"#, br#"{"b":1}"#),
        (r#","body":{"omit":true}"#, &POST, br#"{"a": 1}"#, b""),
    ] {
        let (headers, body) = call(&webhooks(more, ""), pairs, body).unwrap();
        assert_eq!(body, sent_body, "{more}");
        assert_signed(&headers, sent_body);
    }
}

#[test]
fn a_header_of_the_client_never_stands_in_place_of_ours() {
    let forged: [(&str, &[u8]); 5] = [
        ("webhook-id", b"a"),
        ("webhook-timestamp", b"1"),
        ("webhook-signature", b"v1,a"),
        ("webhook_signature", b"v1,b"),
        ("webhook-kind", b"c"),
    ];
    let pairs: Vec<(&str, &[u8])> = POST.into_iter().chain(forged).collect();
    for more in ["", r#","headers":{"sensitive":"forward"}"#, r#","headers":{"forward":["webhook-kind"]}"#] {
        let (sent, _) = call(&webhooks(more, ""), &pairs, b"{}").unwrap();
        assert_signed(&sent, b"{}");
        let names: Vec<&str> = sent.iter().map(|(name, _)| name.as_str()).filter(|name| name.starts_with("webhook")).collect();
        assert_eq!(names, ["webhook-kind", "webhook-id", "webhook-timestamp", "webhook-signature"], "{more}");
    }
    // Whoever does not sign them forwards them.
    let (sent, _) = call(&config(""), &pairs, b"{}").unwrap();
    assert_eq!((value(&sent, "webhook-id"), value(&sent, "webhook_signature")), (Some("a"), Some("v1,b")));
}

#[test]
fn a_batch_is_signed_as_it_is_sent_and_its_letters_are_not() {
    let config = webhooks("", r#","batch":{}"#);
    let (target, guard) = (&config.targets[0], LoopGuard::new(None));
    let (captured, response) = (captured(&config, &[&POST[..], &[("webhook-id", b"a")]].concat()), response());
    let reading = Reading::new(&captured, b"{\"a\" : 1}", &config.reading);
    let (line, item) = target.shape.item(&source(&reading, &response), &attempt(), Format::JsonArray).unwrap();
    assert!(!line.has(b"webhook-id"));
    let body = Format::JsonArray.join([&*item, &*item].into_iter());
    let call = target.shape.batch_call(&line, Cow::Borrowed(&body), &attempt(), &guard).unwrap();
    assert_signed(&owned(&HeaderMap::new(call.headers)), br#"[{"a":1},{"a":1}]"#);
    let shown = Attempt { is_shown: true, ..attempt() };
    let letter = target.shape.batch_call(&line, Cow::Borrowed(&item), &shown, &guard).unwrap();
    assert!(!owned(&HeaderMap::new(letter.headers)).iter().any(|(name, _)| name.starts_with("webhook")));
}

#[test]
fn a_letter_shows_no_signature_and_takes_no_work_for_one() {
    let config = webhooks("", "");
    let (captured, response) = (captured(&config, &[&POST[..], &[("webhook-signature", b"a")]].concat()), response());
    let of = |is_shown| {
        let reading = Reading::new(&captured, b"{}", &config.reading);
        let attempt = Attempt { is_shown, ..attempt() };
        let call = config.targets[0].shape.call(&source(&reading, &response), &attempt, &config.loop_guard).unwrap();
        let has = owned(&HeaderMap::new(call.headers)).iter().any(|(name, _)| name.starts_with("webhook"));
        (has, reading.work().spent())
    };
    let ((sent, to_send), (shown, to_show)) = (of(true), of(false));
    assert_eq!((sent, shown, to_show - to_send), (false, true, 4));
}

#[test]
fn signing_takes_work_for_each_secret_and_what_takes_too_much_is_not_sent() {
    let sign = |secrets: &str, work: &str| {
        let request = format!(r#","request":{{"sign":{{"hmac_sha256":{{"header":"x-sig","secrets":[{secrets}]}}}}}}"#);
        configured(&request, &format!(r#","limits":{{"max_work_bytes":{work}}}"#))
    };
    let body = vec![b'a'; 20_000];
    assert!(call(&sign(r#""s""#, "65536"), &POST, &body).is_ok());
    assert_eq!(call(&sign(r#""s","t""#, "65536"), &POST, &body), Err(Unfit::TooMuchWork));
    assert!(call(&sign(r#""s","t""#, "131072"), &POST, &body).is_ok());
}
