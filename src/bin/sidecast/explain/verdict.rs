//! Explains what happens to a request, target by target: the engine decides, and this module gives the reasons.

use std::cell::Cell;

use serde::Serialize;
use serde_json::Value;
use sidecast::config::problem::Problems;
use sidecast::config::raw::{self, Document};
use sidecast::config::{After, Config, Target};
use sidecast::http::request_head::RequestHead;
use sidecast::select::{self, Request};

use super::afterwards;
use super::chain::{self, Unchained};
use super::key;
use super::made;
use super::recorder::Recorder;
use super::request::Asked;
use super::rules::Tried;
use super::shown::Shown;

/// What happens to a request under one configuration.
#[derive(Debug, Serialize)]
pub(super) struct Explanation {
    /// Why the request is not mirrored at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) left_alone: Option<&'static str>,
    pub(super) targets: Vec<OfTarget>,
}

impl Explanation {
    /// True if the configuration may have a target of this name.
    pub(super) fn may_have(&self, name: &str) -> bool {
        self.left_alone.is_some() || self.targets.iter().any(|target| target.target == name)
    }
}

/// What happens to the request for one target.
#[derive(Debug, Serialize)]
pub(super) struct OfTarget {
    pub(super) target: String,
    pub(super) cluster: String,
    /// The name of the target that it follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<String>,
    pub(super) verdict: Verdict,
    /// The metric that counts a request that is not sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) counts: Option<String>,
    pub(super) because: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request: Option<Shown>,
    /// What becomes of a copy once it is sent. Empty for a target that gets none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) afterwards: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// The target gets a copy.
    Copy,
    /// Chance decides.
    ByChance,
    /// It depends on a response that is not given.
    Waits,
    /// It depends on how the copy of another target ends, which is not given.
    Follows,
    /// The target gets no copy.
    None,
}

/// Explains one request.
///
/// # Errors
/// Returns the problems of the configuration.
pub(super) fn explain(text: &str, asked: &Asked<'_>) -> Result<Explanation, Problems> {
    let chained = Config::parse(text.as_bytes(), &made::environment(text))?;
    let source = Unchained::new(text, &chained, &asked.of_leaders);
    let config = Config::parse(source.text.as_bytes(), &|name| source.variable(name))?;
    // Parsed again, to show the rules as the user wrote them.
    let written = serde_json::from_str::<Value>(&source.text).unwrap_or_default();
    let written: Document = deserr::deserialize::<_, _, Problems>(written)?;
    let head = RequestHead::read(&asked.headers, &config.loop_guard);
    let recorder = Recorder::run(&source, &config, asked);
    let tried = Tried::new(&config, asked, &head);
    let told = Told { config: &config, chained: &chained, asked, head: &head, recorder, tried };
    let left_alone = told.left_alone();
    let mut targets: Vec<OfTarget> = Vec::new();
    for index in chain::in_order(&chained).into_iter().filter(|_| left_alone.is_none()) {
        let (Some(target), Some(raw)) = (config.targets.get(index), written.targets.0.get(index)) else { continue };
        let trigger = chained.targets.get(index).and_then(|target| chain::trigger(&target.after));
        let leader = trigger.and_then(|trigger| config.targets.get(trigger.leader)).map(|leader| leader.name.as_str());
        let mut of_target = told.of(target, raw, leader);
        let of_leader = targets.iter().find(|told| Some(told.target.as_str()) == leader);
        if let (Some(trigger), Some(of_leader)) = (trigger, of_leader) {
            chain::follow(&mut of_target, of_leader, &config, trigger, asked.of_leaders.get(&of_leader.target));
        }
        targets.push(of_target);
    }
    Ok(Explanation { left_alone, targets })
}

impl OfTarget {
    /// Makes it a target that gets no copy.
    pub(super) fn leave_out(&mut self, counts: Option<&str>, because: String) {
        self.verdict = Verdict::None;
        self.counts = counts.map(str::to_owned);
        self.because = vec![because];
        self.request = None;
        self.afterwards.clear();
    }
}

/// What the engine did with a request, and the data to explain it.
struct Told<'a> {
    config: &'a Config,
    /// The same with its followers.
    chained: &'a Config,
    asked: &'a Asked<'a>,
    head: &'a RequestHead<'a>,
    recorder: Recorder<'a>,
    tried: Tried<'a>,
}

impl Told<'_> {
    fn left_alone(&self) -> Option<&'static str> {
        let is_wanted = self.config.targets.iter().any(|target| !self.recorder.moved(&target.name).is_empty());
        let may_switch = self.asked.answered.as_ref().is_none_or(|answered| answered.status == Some(101));
        match self.head {
            _ if is_wanted => None,
            RequestHead { tunnels: true, .. } => Some("it opens a tunnel"),
            RequestHead { upgrades: true, .. } if may_switch => {
                Some("it asks for an upgrade, and is copied only if the primary does not switch protocols")
            }
            RequestHead { is_copy: true, .. } => Some("it is already a copy: it has x-sidecast-loop"),
            _ => None,
        }
    }

    /// What the engine did for a target, and why. `leader` is the target that it follows.
    fn of(&self, target: &Target, raw: &raw::Target, leader: Option<&str>) -> OfTarget {
        let moved = self.recorder.moved(&target.name);
        let is_matched = moved.iter().any(|name| name == "matched");
        let counts = moved
            .into_iter()
            .find(|name| matches!(name.as_str(), "sampled_out" | "not_triggered") || name.starts_with("dropped."));
        let sent = self.recorder.sent(&target.name);
        let mut told = OfTarget {
            target: target.name.clone(),
            cluster: target.cluster.clone(),
            after: leader.map(str::to_owned),
            verdict: match (&sent, &counts) {
                (Some(_), _) => Verdict::Copy,
                (None, None) if is_matched => Verdict::Waits,
                _ => Verdict::None,
            },
            counts,
            because: Vec::new(),
            request: sent.map(|sent| {
                let replaced = made::replaced(&self.recorder, target, &sent);
                Shown::new(&sent, &self.asked.given, &replaced)
            }),
            afterwards: Vec::new(),
        };
        if is_matched {
            self.explain(target, raw, &mut told);
        } else {
            told.because = self.tried.unmet(raw);
        }
        if told.verdict != Verdict::None {
            told.afterwards = afterwards::told(raw, self.chained);
        }
        told
    }

    /// Why a target that wants a request gets a copy or not.
    fn explain(&self, target: &Target, raw: &raw::Target, told: &mut OfTarget) {
        let config = self.config;
        let request = Request::new(self.head, &self.asked.headers, &config.matched_parameters);
        let by_rules = target.matcher.at_headers(&request.with_max_work(config.reading.max_work));
        let counts = told.counts.as_deref().unwrap_or_default();
        let is_lost = match counts {
            "dropped.body_too_large" | "dropped.grpc_stream" | "dropped.answered_early" => true,
            "dropped.body_not_json" | "dropped.work_limit" => by_rules != select::Verdict::Yes,
            _ => false,
        };
        let because = &mut told.because;
        if by_rules == select::Verdict::ByBody && !is_lost {
            because.push("its body matches".to_owned());
        }
        if self.sampled(target, raw, counts == "sampled_out", because) && told.verdict == Verdict::Copy {
            told.verdict = Verdict::ByChance;
        }
        if is_lost || counts == "sampled_out" {
            because.extend(self.dropped(counts, by_rules));
            return;
        }
        let is_first = told.after.is_none() || told.verdict == Verdict::Waits;
        if let (After::Response(statuses), true) = (&target.after, is_first) {
            let wanted: Vec<String> = statuses.iter().map(ToString::to_string).collect();
            let wanted = wanted.join(" or ");
            because.push(match self.asked.answered.as_ref().and_then(|answered| answered.status) {
                None => format!("waits until the primary responds with {wanted}; use --answer to show the copy"),
                Some(status) if counts == "not_triggered" => format!("the primary responded {status}, not {wanted}"),
                Some(status) => format!("after the primary responded {status}"),
            });
        }
        if told.verdict == Verdict::Waits || counts == "not_triggered" {
            return;
        }
        if let Some(batch) = &target.batch {
            because.push(format!("batched: up to {} requests in one call; shown with this one only", batch.max_items));
        }
        if let Some(sign) = &target.shape.head.sign {
            let (header, _) = sign.placeholder();
            because.push(format!("each attempt is signed: {header} is shown with a placeholder"));
        }
        because.extend(target.order.as_ref().map(|order| key::told(order, self.config, self.asked, self.head)));
        if let Some(compare) = &target.compare {
            because.push(format!("its response is compared with the primary's, {} %", compare.percent));
        }
        because.extend(self.dropped(counts, by_rules));
    }

    /// Adds how the sample decides. Returns true if chance decides.
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
            let why = key.map_or_else(String::new, |key| format!(" (no {key})"));
            format!("sampled: at random, {percent} %{why}")
        } else {
            format!("sampled: {}{by_key}, {percent} %", if is_out { "out" } else { "in" })
        });
        by_chance.get()
    }

    /// Why a request is dropped.
    fn dropped(&self, counts: &str, by_rules: select::Verdict) -> Option<String> {
        let reading = &self.config.reading;
        Some(match (counts.strip_prefix("dropped.")?, by_rules) {
            ("body_too_large", _) => {
                let (has, max) = (self.asked.body.len(), reading.max_body);
                format!("its body has {has} bytes, more than `limits.max_body_bytes` ({max})")
            }
            ("grpc_stream", _) => "it is a gRPC request with several messages".to_owned(),
            ("body_not_json", select::Verdict::ByBody) => {
                "its rules read the body, which is not JSON or has an unsupported encoding".to_owned()
            }
            ("body_not_json", _) => "its body is not JSON or has an unsupported encoding".to_owned(),
            ("response_not_json", _) => {
                "it reads the primary's response, which is not JSON or has an unsupported encoding".to_owned()
            }
            ("response_too_large", _) => {
                let max = reading.max_body;
                format!("it reads the primary's response, which has more bytes than `limits.max_body_bytes` ({max})")
            }
            ("work_limit", select::Verdict::Yes) => {
                format!("it takes more work than `limits.max_work_bytes` ({}) for all targets", reading.max_work)
            }
            ("work_limit", select::Verdict::TooMuchWork) => {
                "its rules take more work than `limits.max_work_bytes` allows".to_owned()
            }
            ("work_limit", _) => "its rules read the body, which takes more work than `limits.max_work_bytes`".to_owned(),
            ("unsafe_path", _) => "its path would have a segment `.` or `..`, or not start with a slash".to_owned(),
            ("not_retryable", _) => "it has more headers than Envoy accepts: the attempt fails".to_owned(),
            ("answered_early", _) => "the primary responds before the filter sees the body".to_owned(),
            (reason, _) => format!("it is dropped: {reason}"),
        })
    }
}
