//! What becomes of a request, target by target: the engine decides, and here is said why.

use std::cell::{Cell, RefCell};

use serde::Serialize;
use serde_json::Value;
use sidecast::config::problem::Problems;
use sidecast::config::raw::{self, Document};
use sidecast::config::{Config, Target};
use sidecast::http::request_head::RequestHead;

use super::made;
use super::recorder::Recorder;
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
    pub(super) counts: Option<String>,
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

/// Explains one request.
///
/// # Errors
/// The problems of the configuration.
pub(super) fn explain(text: &str, asked: &Asked<'_>) -> Result<Explanation, Problems> {
    let variables = RefCell::new(Vec::new());
    let env = |name: &str| {
        variables.borrow_mut().push(made::variable(name));
        Some(made::variable(name))
    };
    let config = Config::parse(text.as_bytes(), &env)?;
    // What was parsed once is parsed once more, to see the rules as they are written.
    let written = serde_json::from_str::<Value>(text).unwrap_or_default();
    let written: Document = deserr::deserialize::<_, _, Problems>(written)?;
    let head = RequestHead::read(&asked.headers, &config.loop_guard);
    let recorder = Recorder::run(text, &config, asked);
    let told = Told { config: &config, asked, head: &head, recorder: &recorder, variables: &variables.into_inner() };
    let left_alone = told.left_alone();
    let targets = config.targets.iter().zip(&written.targets.0).filter(|_| left_alone.is_none());
    Ok(Explanation { left_alone, targets: targets.map(|(target, raw)| told.of(target, raw)).collect() })
}

/// What the engine did with a request, and what it is explained by.
struct Told<'a> {
    config: &'a Config,
    asked: &'a Asked<'a>,
    head: &'a RequestHead<'a>,
    recorder: &'a Recorder<'a>,
    variables: &'a [String],
}

impl Told<'_> {
    fn left_alone(&self) -> Option<&'static str> {
        let is_wanted = self.config.targets.iter().any(|target| !self.recorder.moved(&target.name).is_empty());
        let may_switch = self.asked.answered.as_ref().is_none_or(|answered| answered.status == 101);
        match self.head {
            _ if is_wanted => None,
            RequestHead { tunnels: true, .. } => Some("it opens a tunnel"),
            RequestHead { upgrades: true, .. } if may_switch => {
                Some("it asks for an upgrade: it is copied only if the primary does not switch protocols")
            }
            RequestHead { is_copy: true, .. } => Some("it is a copy already: it carries x-sidecast-loop"),
            _ => None,
        }
    }

    /// What the engine did for a target, and why.
    fn of(&self, target: &Target, raw: &raw::Target) -> OfTarget {
        let moved = self.recorder.moved(&target.name);
        let is_matched = moved.iter().any(|name| name == "matched");
        let counts = moved.into_iter().find(|name| name == "sampled_out" || name.starts_with("dropped."));
        let copy = self.recorder.take_copy(&target.name);
        let verdict = match (&copy, &counts) {
            (Some(_), _) => Verdict::Copy,
            (None, None) if is_matched => Verdict::Waits,
            _ => Verdict::None,
        };
        let (target_name, cluster) = (target.name.clone(), target.cluster.clone());
        let mut told = OfTarget { target: target_name, cluster, verdict, counts, because: Vec::new(), request: None };
        let counts = told.counts.as_deref().unwrap_or_default();
        let because = &mut told.because;
        match rules::matches(target, raw, self.config, self.asked, self.head) {
            Matches::Yes(why) => because.extend(why),
            Matches::No(why) if !is_matched => because.extend(why),
            Matches::Unread(why) if matches!(counts, "dropped.body_not_json" | "dropped.work_limit") => {
                because.push(why.to_owned());
                return told;
            }
            // The body would have decided.
            Matches::No(_) | Matches::Unread(_) => {}
        }
        if !is_matched {
            return told;
        }
        let by_chance = self.sampled(target, raw, counts == "sampled_out", because);
        let is_late = !matches!(counts, "sampled_out" | "dropped.body_too_large" | "dropped.grpc_stream");
        if let Some(statuses) = target.after.as_ref().filter(|_| is_late) {
            let wanted: Vec<String> = statuses.iter().map(ToString::to_string).collect();
            let wanted = wanted.join(" or ");
            because.push(match self.asked.answered.as_ref().map(|answered| answered.status) {
                None => format!("waits for an answer {wanted} of the primary; tell it by --answer"),
                Some(status) if counts == "dropped.primary_failed" => format!("the primary answered {status}, not {wanted}"),
                Some(status) => format!("after the answer {status} of the primary"),
            });
        }
        if is_late && counts != "dropped.primary_failed" && told.verdict != Verdict::Waits {
            if let Some(batch) = &target.batch {
                because.push(format!("batched: up to {} requests in one call; shown with this one alone", batch.max_items));
            }
            if let Some(compare) = &target.compare {
                because.push(format!("its answer is compared with the primary's, {} %", compare.percent));
            }
        }
        because.extend(self.dropped(counts));
        if let Some(copy) = copy {
            if by_chance {
                told.verdict = Verdict::ByChance;
            }
            let is_correlated = self.asked.headers.get_all(self.config.correlation.header.as_bytes()).next().is_some();
            let words = self.recorder.words.get();
            let replaced = made::replaced(self.config, self.variables, &copy, words, target.batch.is_some(), is_correlated);
            told.request = Some(Shown::new(&copy, &self.asked.given, &replaced));
        }
        told
    }

    /// Tells how a sample decides; true if by chance.
    fn sampled(&self, target: &Target, raw: &raw::Target, is_out: bool, because: &mut Vec<String>) -> bool {
        let (Some(sampling), Some(sample)) = (&target.sample, &raw.sample) else {
            return false;
        };
        let by_chance = Cell::new(false);
        sampling.admits(&self.asked.headers, || {
            by_chance.set(true);
            0
        });
        let percent = sample.percent.0;
        let key = sample.key.as_ref().map(|key| key.header.0 .0.as_str());
        let by_key = key.map_or_else(String::new, |key| format!(" by {key}"));
        because.push(if by_chance.get() {
            let why = key.map_or_else(String::new, |key| format!(" (there is no {key})"));
            format!("sampled: by chance, {percent} %{why}")
        } else {
            format!("sampled: {}{by_key}, {percent} %", if is_out { "out" } else { "in" })
        });
        by_chance.get()
    }

    /// Why a request is dropped.
    fn dropped(&self, counts: &str) -> Option<String> {
        let config = self.config;
        Some(match counts.strip_prefix("dropped.")? {
            "body_too_large" => {
                let (has, max) = (self.asked.body.len(), config.max_body_bytes);
                format!("its body has {has} bytes, more than `limits.max_body_bytes` ({max})")
            }
            "grpc_stream" => "it is a gRPC request of several messages".to_owned(),
            "body_not_json" => "its body is no JSON, or encoded in a way that is not read".to_owned(),
            "work_limit" => {
                format!("it takes more work than `limits.max_work_bytes` ({}) for all targets", config.reading.max_work)
            }
            "unsafe_path" => "its path would have a segment `.` or `..`, or not begin with a slash".to_owned(),
            "not_retryable" => "it has more headers than Envoy takes: the attempt fails".to_owned(),
            "buffer_full" => "there is no room for it within `limits.max_buffered_bytes`".to_owned(),
            "primary_failed" => return None,
            reason => format!("it is dropped: {reason}"),
        })
    }
}
