//! What only Envoy knows, or is random, and is made up here. Ids are told by their last digit.

use data_encoding::HEXLOWER;
use sidecast::engine::ids::random_id;
use sidecast::http::loop_mark;
use sidecast::http::text::text_of;
use sidecast::template::property;

use super::recorder::{Recorder, Sent};

/// The request id that Envoy would give.
pub(super) const REQUEST_ID: &str = "00000000-0000-4000-8000-000000000001";
/// The correlation id, where it is in a header of its own.
const CORRELATION_ID: &str = "00000000-0000-4000-8000-000000000002";
/// The id of a delivery, or of an item of a batch.
const DELIVERY_ID: &str = "00000000-0000-4000-8000-000000000003";
/// The id of a batch.
const BATCH_ID: &str = "00000000-0000-4000-8000-000000000004";
/// The id of an attempt in its trace, between others.
const SPAN_ID: &str = "-0000000000000005-";

/// Random bytes that are known again. As a number they are so low that any sample admits them.
pub(super) const fn word(number: u64) -> [u8; 8] {
    number.to_le_bytes()
}

/// What an environment variable stands as.
pub(super) fn variable(name: &str) -> String {
    format!("${{env:{name}}}")
}

/// A property in a form that the engine takes: how it stands, or, if it is no text, a number or a time that is known again, or a flag.
pub(super) fn property(place: usize, path: &[impl AsRef<str>]) -> Vec<u8> {
    let path: Vec<String> = path.iter().map(|name| name.as_ref().to_owned()).collect();
    let number = 1_000_000_001_000_000_000_u64.saturating_add((place as u64).saturating_mul(1_000_000));
    let forms = [format!("${{property:{}}}", path.join(".")).into_bytes(), number.to_le_bytes().to_vec(), vec![1]];
    forms.into_iter().find(|form| property::text(&path, form.clone()).is_some()).unwrap_or_default()
}

/// What the engine made that stands in a copy, and what is shown in its place.
pub(super) fn replaced(recorder: &Recorder<'_>, sent: &Sent, is_batch: bool) -> Vec<(String, String)> {
    let config = recorder.config;
    let mark = text_of(sent.header(loop_mark::HEADER.as_bytes()));
    let own_id = if is_batch { BATCH_ID } else { DELIVERY_ID };
    let mut replaced = vec![(mark.to_string(), config.loop_guard.mark(own_id).into_owned())];
    let is_correlated = recorder.asked.headers.get_all(config.correlation.header.as_bytes()).next().is_some();
    let ids: Vec<String> = (0..recorder.words.get()).map(id).collect();
    let own = ids.iter().position(|id| mark.starts_with(id));
    let body = String::from_utf8_lossy(&sent.body);
    // Of the correlation id and the id of an item, the former is made first, and the latter often right before that of its batch.
    let mut has_seen = false;
    for (place, id) in ids.into_iter().enumerate() {
        let shown = if own == Some(place) {
            own_id
        } else if is_batch && (is_correlated || has_seen || own == place.checked_add(2)) {
            DELIVERY_ID
        } else {
            CORRELATION_ID
        };
        has_seen |= body.contains(&id);
        replaced.push((id, shown.to_owned()));
        replaced.push((format!("-{}-", HEXLOWER.encode(&word(place as u64))), SPAN_ID.to_owned()));
    }
    replaced.extend(recorder.variables.borrow().iter().map(|shown| (shown.clone(), shown.clone())));
    for (place, path) in config.properties.iter().enumerate() {
        let sent = property::text(path, property(place, path)).filter(|sent| sent != "true");
        replaced.extend(sent.map(|sent| (sent, format!("${{property:{}}}", path.join(".")))));
    }
    replaced
}

/// The id that the engine makes of two words.
fn id(number: u64) -> String {
    let bytes = u128::from(number.saturating_add(1)) << 64 | u128::from(number);
    random_id(bytes.to_le_bytes()).to_string()
}
