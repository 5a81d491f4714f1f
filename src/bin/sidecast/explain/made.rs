//! What only Envoy knows, or is random, and is made up here. Ids are told by their last digit.

use data_encoding::HEXLOWER;
use sidecast::config::Config;
use sidecast::engine::ids::random_id;
use sidecast::http::loop_mark;
use sidecast::http::text::text_of;
use sidecast::template::property;

use super::recorder::Copy;

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

/// What stands in a copy that the engine made, and what is shown in its place.
pub(super) fn replaced(
    config: &Config,
    variables: &[String],
    copy: &Copy,
    words: u64,
    is_batch: bool,
    is_correlated: bool,
) -> Vec<(String, String)> {
    let mark = text_of(copy.header(loop_mark::HEADER.as_bytes()));
    let own_id = if is_batch { BATCH_ID } else { DELIVERY_ID };
    let mut replaced = vec![(mark.to_string(), config.loop_guard.mark(own_id).into_owned())];
    let ids: Vec<String> = (0..words).map(id).collect();
    let own = ids.iter().position(|id| mark.starts_with(id));
    for (place, id) in ids.into_iter().enumerate() {
        let is_item = is_batch && (is_correlated || own == place.checked_add(2));
        let shown = match own {
            Some(own) if own == place => own_id,
            _ if is_item => DELIVERY_ID,
            _ => CORRELATION_ID,
        };
        replaced.push((id, shown.to_owned()));
    }
    replaced.extend((0..words).map(|number| (format!("-{}-", HEXLOWER.encode(&word(number))), SPAN_ID.to_owned())));
    replaced.extend(variables.iter().map(|shown| (shown.clone(), shown.clone())));
    for (place, path) in config.properties.iter().enumerate() {
        let sent = property::text(path, property(place, path)).filter(|sent| sent != "true");
        replaced.extend(sent.map(|sent| (sent, format!("${{property:{}}}", path.join(".")))));
    }
    replaced
}

/// The id that the engine makes of two words.
fn id(number: u64) -> String {
    let mut bytes = [0; 16];
    let words = word(number).into_iter().chain(word(number.saturating_add(1)));
    bytes.iter_mut().zip(words).for_each(|(byte, random)| *byte = random);
    random_id(bytes).to_string()
}
