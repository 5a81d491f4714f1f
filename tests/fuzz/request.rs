//! A request from a client to a target, with all that the filter would know of it.

use std::time::Duration;

use serde_json::{json, Value};
use sidecast::config::Config;
use sidecast::http::headers::{HeaderMap, Pairs};
use sidecast::http::request_head::RequestHead;
use sidecast::rewrite::capture::{CapturedHead, Needs};
use sidecast::rewrite::reading::{Reading, Terms};
use sidecast::rewrite::shape::{Attempt, Source, Unfit};
use sidecast::template::{Answer, Answerer, Property};
use uuid::Uuid;

use crate::choices::Choices;

pub(crate) type Headers = Vec<(String, Vec<u8>)>;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    pub(crate) answered: Headers,
}

/// What stands for the value of the environment variable.
pub(crate) const TOKEN: &str = "t0k3n\r\nof-4711";

/// The configuration with these targets.
pub(crate) fn configured(targets: Value) -> Config {
    let document = json!({ "targets": targets });
    let env = |name: &str| (name == "TOKEN").then(|| TOKEN.to_owned());
    Config::parse(document.to_string().as_bytes(), &env).unwrap_or_else(|problems| panic!("{problems:?}: {document}"))
}

/// Values that clients send, or could.
pub(crate) fn value(choices: &mut Choices<'_>) -> Vec<u8> {
    match choices.below(4) {
        0 => choices.bytes(6),
        _ => choices.text(5).into_bytes(),
    }
}

pub(crate) fn map(headers: &Headers) -> HeaderMap {
    HeaderMap::from(&Pairs::from_iter(headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()))))
}

/// What is sent for it to the only target of a configuration: headers and body; or an item's line and the item.
pub(crate) fn sent(config: &Config, request: &Request, is_item: bool) -> Result<(Headers, Vec<u8>), Unfit> {
    sent_after(config, request, b"", is_item)
}

/// The same, after an answer of the primary with this body.
pub(crate) fn sent_after(config: &Config, request: &Request, answer: &[u8], is_item: bool) -> Result<(Headers, Vec<u8>), Unfit> {
    let headers = map(&request.headers);
    let head = RequestHead::read(&headers, &config.loop_guard);
    let needs = Needs { plain: true, all: true, trace: true };
    let mut captured = CapturedHead::capture(headers.clone(), head.is_grpc, head.trace(), needs, &config.correlation);
    captured.correlate(|| Uuid::from_bytes([0x22; 16]));
    captured
        .push_property(Property { path: vec!["xds".to_owned(), "route_name".to_owned()], value: "all/\r\norders".to_owned() });
    let answered =
        Answer { headers: map(&request.answered), body: Ok(answer.to_vec()), ..Answer::new(Answerer::Primary, Some(201)) };
    let terms = Terms { max_body: 1 << 16, ..config.reading.clone() };
    let reading = Reading::new(&captured, &request.body, &terms);
    let source = Source { reading: &reading, answer: Some(&answered), at: Duration::from_millis(1_767_323_045_678) };
    let (delivery_id, at) = (Uuid::from_bytes([0x11; 16]), Duration::from_millis(1_767_323_999_999));
    let attempt = Attempt { target: "audit", number: 3, delivery_id, span_id: [0xcd; 8], at, is_shown: false };
    let shape = &config.targets[0].shape;
    let (headers, body) = if is_item {
        let (line, item) = shape.item(&source, &attempt, config.targets[0].batch.unwrap().format)?;
        (HeaderMap::from(&line), item.into_owned())
    } else {
        let call = shape.call(&source, &attempt, &config.loop_guard)?;
        (HeaderMap::new(call.headers), call.body.into_owned())
    };
    let owned = |(name, value): (&[u8], &[u8])| (String::from_utf8(name.to_vec()).unwrap(), value.to_vec());
    Ok((headers.iter().map(owned).collect(), body))
}

/// The only value of a header.
pub(crate) fn only<'h>(headers: &'h Headers, name: &str) -> &'h [u8] {
    let mut values = headers.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_slice());
    let value = values.next().unwrap_or_else(|| panic!("no {name}: {headers:?}"));
    assert_eq!(values.next(), None, "{name} is repeated");
    value
}
