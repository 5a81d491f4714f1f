//! The forms in which letters come: envelopes, and what queues and their tools put around them.

use base64ct::{Base64, Encoding as _};
use serde_json::{Map, Value};

use super::envelope::Letter;

/// How many wrappings are undone. Real ones have four: a list of records with a message in which an envelope stands as base64.
const DEPTH: u8 = 8;

/// A letter, or why there is none.
pub(super) type Found = Result<Box<Letter>, NoLetter>;

/// What is no letter.
#[derive(Clone, Debug)]
pub(super) struct NoLetter {
    /// Why it is none.
    pub(super) reason: String,
    /// What it is.
    pub(super) content: Value,
}

/// What is found in a text, each with the number of its line: JSON values one after another, or lines of base64. A line that is neither is no
/// letter, and reading goes on behind it.
pub(super) fn of_text(bytes: &[u8]) -> Vec<(usize, Found)> {
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while let Some(start) = next_of(bytes, at) {
        line += lines(bytes, at, start);
        let rest = bytes.get(start..).unwrap_or_default();
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<Value>();
        let end = match values.next() {
            Some(Ok(value)) => {
                found.extend(of_value(value).into_iter().map(|one| (line, one)));
                start.saturating_add(values.byte_offset())
            }
            Some(Err(error)) => {
                let length = broken(rest);
                let text = rest.get(..length).unwrap_or_default().trim_ascii_end();
                found.extend(of_line(text, &error).into_iter().map(|one| (line, one)));
                start.saturating_add(length)
            }
            None => break,
        };
        line += lines(bytes, start, end);
        at = end;
    }
    found
}

/// The length of what is passed over: the line that cannot be read, and the indented lines and brackets that go on with it.
fn broken(text: &[u8]) -> usize {
    let mut length: usize = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let goes_on = matches!(line.first(), Some(b' ' | b'\t' | b'}' | b']'));
        if length > 0 && !goes_on {
            break;
        }
        length = length.saturating_add(line.len());
    }
    length
}

/// The first byte from here that is no white space of JSON.
fn next_of(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let length = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))?;
    Some(at.saturating_add(length))
}

fn lines(bytes: &[u8], from: usize, to: usize) -> usize {
    bytes.get(from..to).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count()
}

/// A line that does not begin with JSON.
fn of_line(text: &[u8], error: &serde_json::Error) -> Vec<Found> {
    match json_in_base64(text) {
        Some(value) => of_value(value),
        None => vec![none(format!("expected JSON or base64 of JSON: {error}"), as_value(text))],
    }
}

/// The letter that a message of a queue is.
pub(super) fn of_message(bytes: &[u8]) -> Found {
    let whole: Result<Value, _> = serde_json::from_slice(bytes);
    let value = match whole {
        Ok(value) => Some(value),
        Err(_) => json_in_base64(bytes),
    };
    let Some(value) = value else {
        return none("neither JSON nor base64 of JSON", as_value(bytes));
    };
    let mut found = of_value(value);
    match (found.pop(), found.len()) {
        (Some(only), 0) => only.map_err(|part| NoLetter { content: whole_unless_letter(part.content, bytes), ..part }),
        (None, _) => none("an empty list", as_value(bytes)),
        (_, others) => none(format!("{} letters in one message", others.saturating_add(1)), as_value(bytes)),
    }
}

/// What is kept of a message that is no letter. It may leave its queue for the file of failed letters, so nothing of it may be lost: what looks like a
/// wrapping may be a message of somebody else. A letter that cannot be read is kept alone, for a tool that can.
fn whole_unless_letter(content: Value, bytes: &[u8]) -> Value {
    if content.get("request").is_some() {
        return content;
    }
    as_value(bytes)
}

/// The letters in a value.
pub(super) fn of_value(value: Value) -> Vec<Found> {
    let mut found = Vec::new();
    unwrap(value, DEPTH, &mut found);
    found
}

fn unwrap(value: Value, depth: u8, found: &mut Vec<Found>) {
    let Some(depth) = depth.checked_sub(1) else {
        found.push(none("nested too deeply", value));
        return;
    };
    match value {
        Value::Array(items) => items.into_iter().for_each(|item| unwrap(item, depth, found)),
        Value::String(text) => unwrap_text(text, depth, found),
        Value::Object(fields) if fields.contains_key("request") => found.push(envelope(fields)),
        Value::Object(mut fields) => match inner(&mut fields) {
            Some(value) => unwrap(value, depth, found),
            None => found.push(none("an object without `request`", Value::Object(fields))),
        },
        other => found.push(none("neither an object nor a list", other)),
    }
}

fn envelope(fields: Map<String, Value>) -> Found {
    let value = Value::Object(fields);
    Letter::from_value(value.clone()).map(Box::new).map_err(|reason| NoLetter { reason, content: value })
}

fn unwrap_text(text: String, depth: u8, found: &mut Vec<Found>) {
    let value = serde_json::from_str(&text).ok().or_else(|| json_in_base64(text.as_bytes()));
    match value {
        Some(value) => unwrap(value, depth, found),
        None => found.push(none("neither JSON nor base64 of JSON", Value::String(text))),
    }
}

/// What a wrapping holds. The names are those of RabbitMQ's HTTP API (`payload`), Kafka's REST proxy (`records`, `value`, `data`), Pub/Sub
/// (`receivedMessages`, `message`, `data`) and SQS (`Messages`, `Body`).
fn inner(fields: &mut Map<String, Value>) -> Option<Value> {
    ["records", "receivedMessages", "messages", "Messages", "message", "payload", "value", "data", "Body"]
        .into_iter()
        .find_map(|name| fields.get_mut(name).map(Value::take))
}

fn json_in_base64(bytes: &[u8]) -> Option<Value> {
    let text: String = std::str::from_utf8(bytes).ok()?.split_ascii_whitespace().collect();
    serde_json::from_slice(&Base64::decode_vec(&text).ok()?).ok()
}

fn none(reason: impl Into<String>, content: Value) -> Found {
    Err(NoLetter { reason: reason.into(), content })
}

/// Bytes as JSON: text, or else what says that it is base64.
fn as_value(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => serde_json::json!({"not_a_letter_base64": Base64::encode_string(bytes)}),
    }
}

#[cfg(test)]
mod tests;
