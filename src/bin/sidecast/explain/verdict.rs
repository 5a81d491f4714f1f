//! What becomes of a request, target by target, in the order in which the filter decides it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::Value;
use sidecast::config::problem::Problems;
use sidecast::config::raw::Document;
use sidecast::config::{raw, Config, Reads, Target};
use sidecast::http::grpc::Messages;
use sidecast::http::request_head::RequestHead;
use sidecast::rewrite::capture::{CapturedHead, Needs};
use sidecast::rewrite::items::Format;
use sidecast::rewrite::reading::Reading;
use sidecast::rewrite::shape::{Attempt, Source, Unfit};
use sidecast::template::Property;

use super::made;
use super::request::Asked;
use super::rules::{self, Matches};
use super::shown::Shown;

/// What becomes of a request under one configuration.
#[derive(Debug, Serialize)]
pub(super) struct Explanation {
    /// Why it is no business of any target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) left_alone: Option<&'static str>,
    pub(super) targets: Vec<OfTarget>,
}

/// What one target gets of it.
#[derive(Debug, Serialize)]
pub(super) struct OfTarget {
    pub(super) target: String,
    pub(super) cluster: String,
    pub(super) verdict: Verdict,
    /// The statistic that counts what is not sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) counts: Option<&'static str>,
    pub(super) because: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request: Option<Shown>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// It gets a copy.
    Copy,
    /// Chance decides.
    ByChance,
    /// It depends on an answer that is not given.
    Waits,
    /// It gets none.
    None,
}

impl OfTarget {
    fn new(target: &Target) -> Self {
        let (target, cluster) = (target.name.clone(), target.cluster.clone());
        Self { target, cluster, verdict: Verdict::Copy, counts: None, because: Vec::new(), request: None }
    }

    fn not(&mut self, counts: Option<&'static str>, because: impl Into<String>) {
        self.verdict = Verdict::None;
        self.counts = counts;
        self.because.push(because.into());
    }
}

/// Explains one request.
///
/// # Errors
/// The problems of the configuration.
pub(super) fn explain(text: &str, asked: &Asked<'_>) -> Result<Explanation, Problems> {
    let unknown = RefCell::new(BTreeSet::new());
    let env = |name: &str| {
        let shown = format!("${{env:{name}}}");
        unknown.borrow_mut().insert(shown.clone());
        Some(shown)
    };
    let config = Config::parse(text.as_bytes(), &env)?;
    let mut unknown = unknown.into_inner();
    unknown.extend(config.properties.iter().map(|path| property(path).value));
    // What was parsed once is parsed once more, to see the rules as they are written.
    let written = serde_json::from_str::<Value>(text).unwrap_or_default();
    let written: Document = deserr::deserialize::<_, _, Problems>(written)?;

    let head = RequestHead::read(&asked.headers, &config.loop_guard);
    let left_alone = if head.tunnels {
        Some("it opens a tunnel")
    } else if head.upgrades {
        Some("it asks for an upgrade: it is copied only if the primary does not switch protocols")
    } else if head.is_copy {
        Some("it is a copy already: it carries x-sidecast-loop")
    } else {
        None
    };
    if left_alone.is_some() {
        return Ok(Explanation { left_alone, targets: Vec::new() });
    }

    let mut targets: Vec<OfTarget> = config.targets.iter().map(OfTarget::new).collect();
    let mut wanted = Vec::new();
    for ((target, raw), told) in config.targets.iter().zip(&written.targets.0).zip(&mut targets) {
        if wants(target, raw, &config, asked, &head, told) {
            wanted.push((target, told));
        }
    }
    let captured = capture(&config, &wanted, asked, &head);
    let lost = lost(&config, &captured, asked);
    let reading = Reading::new(&captured, asked.body, &config.reading);
    for (target, told) in wanted {
        match &lost {
            Some((counts, because)) => told.not(Some(counts), because.as_str()),
            None => send(target, &config, &reading, asked, told, &unknown),
        }
    }
    Ok(Explanation { left_alone: None, targets })
}

/// Whether a target wants the request, or may want it.
fn wants(
    target: &Target,
    raw: &raw::Target,
    config: &Config,
    asked: &Asked<'_>,
    head: &RequestHead<'_>,
    told: &mut OfTarget,
) -> bool {
    match rules::matches(target, raw, config, asked, head) {
        Matches::Yes(because) => told.because.extend(because),
        Matches::No(because, failed) => {
            told.not(None, because);
            told.because.extend(failed);
            return false;
        }
        Matches::Unread(counts, because) => {
            told.not(Some(counts), because);
            return false;
        }
    }
    let (Some(sampling), Some(sample)) = (&target.sample, &raw.sample) else {
        return true;
    };
    let percent = sample.percent.0;
    let chance = Cell::new(false);
    let admitted = sampling.admits(&asked.headers, || {
        chance.set(true);
        0
    });
    let key = sample.key.as_ref().map(|key| key.header.0 .0.as_str());
    if chance.get() {
        told.verdict = Verdict::ByChance;
        let why = key.map_or_else(String::new, |key| format!(" (there is no {key})"));
        told.because.push(format!("sampled: by chance, {percent} %{why}"));
    } else if admitted {
        told.because.push(format!("sampled: in{}, {percent} %", key.map_or_else(String::new, |key| format!(" by {key}"))));
    } else {
        told.not(Some("sampled_out"), format!("sampled: out by {}, {percent} %", key.unwrap_or_default()));
        return false;
    }
    true
}

/// What the filter keeps of the request for these targets.
fn capture(config: &Config, wanted: &[(&Target, &mut OfTarget)], asked: &Asked<'_>, head: &RequestHead<'_>) -> CapturedHead {
    let (mut needs, mut reads) = (Needs::default(), Reads::default());
    for (target, _) in wanted {
        needs.plain |= !target.reads.headers;
        needs.trace |= target.batch.is_none();
        reads = reads.and(target.reads);
    }
    let mut captured = CapturedHead::capture(&asked.headers, head, needs, &config.correlation);
    captured.correlate(|| made::CORRELATION_ID);
    if reads.headers {
        captured.keep_all(asked.headers.clone());
    }
    for path in &config.properties {
        captured.push_property(property(path));
    }
    captured
}

fn property(path: &[String]) -> Property {
    Property { path: path.to_vec(), value: format!("${{property:{}}}", path.join(".")) }
}

/// Why nobody gets the request, though some want it.
fn lost(config: &Config, captured: &CapturedHead, asked: &Asked<'_>) -> Option<(&'static str, String)> {
    if asked.body.len() > config.max_body_bytes {
        let because =
            format!("its body has {} bytes, more than `limits.max_body_bytes` ({})", asked.body.len(), config.max_body_bytes);
        return Some(("dropped.body_too_large", because));
    }
    if captured.is_grpc() && Messages::of(asked.body) == Messages::Several {
        return Some(("dropped.grpc_stream", "it is a gRPC request of several messages".to_owned()));
    }
    None
}

/// What a target that wants the request receives.
fn send(
    target: &Target,
    config: &Config,
    reading: &Reading<'_>,
    asked: &Asked<'_>,
    told: &mut OfTarget,
    unknown: &BTreeSet<String>,
) {
    if let Some(statuses) = &target.after {
        let patterns: Vec<String> = statuses.iter().map(ToString::to_string).collect();
        let wanted = patterns.join(" or ");
        match asked.answered.as_ref().map(|answered| answered.status) {
            None => {
                told.verdict = Verdict::Waits;
                told.because.push(format!("waits for an answer {wanted} of the primary; tell it by --answer"));
                return;
            }
            Some(status) if statuses.iter().any(|pattern| pattern.covers(status)) => {
                told.because.push(format!("after the answer {status} of the primary"));
            }
            Some(status) => {
                told.not(Some("dropped.primary_failed"), format!("the primary answered {status}, not {wanted}"));
                return;
            }
        }
    }
    let source = Source {
        reading,
        answered: asked.answered.as_ref().filter(|_| target.after.is_some()),
        at: SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default(),
    };
    let attempt =
        Attempt { target: &target.name, number: 1, delivery_id: made::DELIVERY_ID, span_id: made::SPAN_ID, is_shown: false };
    let guard = &config.loop_guard;
    let call = match &target.batch {
        None => target.shape.call(&source, &attempt, guard),
        Some(batch) => {
            let most = batch.max_items;
            told.because.push(format!("batched: up to {most} requests in one call; shown with this one alone"));
            target.shape.item(&source, &attempt, batch.format).and_then(|(line, item)| {
                let body = Format::join(batch.format, [&*item].into_iter());
                target.shape.batch_call(&line, body.into(), &Attempt { delivery_id: made::BATCH_ID, ..attempt }, guard)
            })
        }
    };
    if let Some(compare) = &target.compare {
        told.because.push(format!("its answer is compared with the primary's, {} %", compare.percent));
    }
    match call {
        Ok(call) => told.request = Some(Shown::new(&call, &asked.given, unknown)),
        Err(Unfit::BodyNotJson) => {
            told.not(Some("dropped.body_not_json"), "its body is no JSON, or encoded in a way that is not read");
        }
        Err(Unfit::TooMuchWork) => {
            let max = config.reading.max_work;
            told.not(
                Some("dropped.work_limit"),
                format!("it takes more work than `limits.max_work_bytes` ({max}) for all targets"),
            );
        }
        Err(Unfit::UnsafePath) => {
            told.not(Some("dropped.unsafe_path"), "its path would have a segment `.` or `..`, or not begin with a slash");
        }
        Err(Unfit::HeadersTooLarge) => told.not(None, "it has more headers than Envoy takes: the attempt fails"),
    }
}
