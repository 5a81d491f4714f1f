//! Made-up values for what only Envoy knows, or what is random. The last digits distinguish the IDs.

use std::collections::HashSet;

use sidecast::config::{signing, Config, Target};
use sidecast::engine::ids::random_id;
use sidecast::http::loop_mark;
use sidecast::http::text::text_of;
use sidecast::http::trace_context::TRACEPARENT;
use sidecast::rewrite::signing::Signing;
use sidecast::template::property;

use super::recorder::{Recorder, Sent};

/// The request ID that Envoy would set.
pub(super) const REQUEST_ID: &str = "00000000-0000-4000-8000-000000000001";
/// The correlation ID, if it is in a header of its own.
const CORRELATION_ID: &str = "00000000-0000-4000-8000-000000000002";
/// The IDs of one target's copy. Their last two digits are the number of the target, from 1.
struct Ids {
    /// Of the delivery, or of an item of a batch.
    delivery: String,
    batch: String,
    /// Of the span of the attempt, with its separators.
    span: String,
}

impl Ids {
    fn new(config: &Config, target: &Target) -> Self {
        let index = config.targets.iter().position(|other| other.name == target.name).unwrap_or_default();
        let number = index.saturating_add(1);
        Self {
            delivery: format!("00000000-0000-4000-8000-0000000001{number:02}"),
            batch: format!("00000000-0000-4000-8000-0000000002{number:02}"),
            span: format!("-00000000000003{number:02}-"),
        }
    }
}

/// The part, from the fifth character on, of each ID that the engine makes of these random bytes.
const IN_EACH_ID: &str = "0000-0000-4000-";

/// Random bytes that can be recognised later. As numbers they are so low that every sample admits them.
pub(super) const fn word(number: u64) -> [u8; 8] {
    number.to_le_bytes()
}

/// The beginning of the names of variables that stand for the answers of targets.
const OF_ANSWER: &str = "answer:";

/// The name of the variable that stands for an expression that reads the answer of a target.
pub(super) fn of_answer(expression: &str) -> String {
    format!("{OF_ANSWER}{expression}")
}

/// The displayed value of an environment variable.
pub(super) fn variable(name: &str) -> String {
    match name.strip_prefix(OF_ANSWER) {
        Some(expression) => format!("${{{expression}}}"),
        None => format!("${{env:{name}}}"),
    }
}

/// The environment of the engine: the displayed values, or keys where a configuration needs them.
pub(super) fn environment(text: &str) -> impl Fn(&str) -> Option<String> {
    signing::stand_in(text.as_bytes(), variable)
}

/// The made-up value of a property: its displayed text, or, for a property that is not text, a recognisable number or time, or a flag.
pub(super) fn property(place: usize, path: &[impl AsRef<str>]) -> Vec<u8> {
    let path: Vec<String> = path.iter().map(|name| name.as_ref().to_owned()).collect();
    let number = 1_000_000_001_000_000_000_u64.saturating_add((place as u64).saturating_mul(1_000_000));
    let forms = [format!("${{property:{}}}", path.join(".")).into_bytes(), number.to_le_bytes().to_vec(), vec![1]];
    forms.into_iter().find(|form| property::text(&path, form.clone()).is_some()).unwrap_or_default()
}

/// Pairs of a generated text in a copy, and the text to display in its place.
pub(super) fn replaced(recorder: &Recorder<'_>, target: &Target, sent: &Sent) -> Vec<(String, String)> {
    let (config, is_batch) = (recorder.config, target.batch.is_some());
    let mark = text_of(sent.header(loop_mark::HEADER.as_bytes()));
    let ids = Ids::new(config, target);
    let own_id = if is_batch { &ids.batch } else { &ids.delivery };
    let mut replaced = vec![(mark.to_string(), config.loop_guard.mark(own_id).into_owned())];
    if let Some((header, placeholder)) = target.shape.head.sign.as_ref().map(Signing::placeholder) {
        replaced.push((text_of(sent.header(header.as_bytes())).into_owned(), placeholder));
    }
    let is_correlated = recorder.asked.headers.get_all(config.correlation.header.as_bytes()).next().is_some();
    let trace = text_of(sent.header(TRACEPARENT));
    let headers = sent.headers.iter().map(|(_, value)| text_of(value));
    let text = headers.chain([text_of(&sent.body)]).collect::<Vec<_>>().join("\n");
    let found = text.match_indices(IN_EACH_ID).filter_map(|(at, _)| text.get(at.checked_sub(4)?..at.saturating_add(32)));
    let found: HashSet<&str> = found.collect();
    // The correlation ID is made before the ID of an item. The ID of an item is often made right before that of its batch.
    let mut is_item = is_batch && is_correlated;
    for number in 0..recorder.words.get() {
        let (id, span) = (id(number), format!("-{}-", hex::encode(word(number))));
        if mark.starts_with(&id) {
            replaced.push((id, own_id.clone()));
        } else if found.contains(id.as_str()) {
            is_item |= is_batch && mark.starts_with(&self::id(number.saturating_add(2)));
            replaced.push((id, if is_item { &ids.delivery } else { CORRELATION_ID }.to_owned()));
            is_item = is_batch;
        }
        if trace.contains(&span) {
            replaced.push((span, ids.span.clone()));
        }
    }
    replaced.extend(recorder.variables.borrow().iter().map(|(made, shown)| (made.clone(), shown.clone())));
    for (place, path) in config.properties.iter().enumerate() {
        let sent = property::text(path, property(place, path)).filter(|sent| sent != "true");
        replaced.extend(sent.map(|sent| (sent, format!("${{property:{}}}", path.join(".")))));
    }
    replaced
}

/// The ID that the engine makes of two words.
fn id(number: u64) -> String {
    let bytes = u128::from(number.saturating_add(1)) << 64 | u128::from(number);
    random_id(bytes.to_le_bytes()).to_string()
}
