//! Configuration: parses text with the grammar (`raw`) to a [`Config`] that the filter can run.
//!
//! Uses `policy` and the rooms below it. This is the only room that knows both the text and the running configuration. Begin with
//! [`Config::parse`].
//!
//! All problems are reported at once, each with its path. A configuration with any problem is refused as a whole. The same text gives the same
//! result on every worker: nothing here depends on time, order or chance.

mod chains;
mod document;
mod fields;
pub mod names;
pub mod problem;
pub mod raw;
pub mod raw_after;
mod raw_condition;
pub mod raw_delivery;
pub mod raw_match;
pub mod raw_order;
pub mod raw_shape;
pub mod raw_sign;
pub mod scalar;
#[cfg(feature = "cli")]
pub mod schema;
mod shaping;
pub mod signing;
pub mod templates;

use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;

use self::chains::Chains;
use self::problem::Problems;
use self::raw_delivery::BreakerMode;
use self::scalar::NonEmpty;
use crate::compare::{self, BodyMode};
use crate::delivery::backoff::Backoff;
use crate::delivery::breaker;
use crate::delivery::dead_letter::DeadLetter;
use crate::delivery::drop_reason::DropReason;
use crate::delivery::outcome::Policy;
use crate::delivery::rate_limit::TokenBucket;
use crate::delivery::retry::RetryPolicy;
use crate::delivery::retry_budget::RetryBudget;
use crate::delivery::retry_condition::RetryOn;
use crate::http::loop_mark::LoopGuard;
pub use crate::policy::{After, Config, Kept, Reads, Target};
use crate::rewrite::answers::AnswerReads;
use crate::rewrite::capture::Correlation;
use crate::rewrite::order_key::OrderKey;
use crate::rewrite::reading::Terms;
use crate::rewrite::redact::Redaction;
use crate::select::condition::{Conditions, TextCondition};
use crate::select::sampling::Sampling;
use crate::select::{self, Matcher, Parameters, Paths};
use crate::template::{Answerer, Env, Expression, Template};
use std::str::FromStr;

impl Config {
    /// Parses a configuration. `env` supplies the variables for `${env:...}`.
    ///
    /// # Errors
    /// Returns every problem found, in the order of the grammar.
    pub fn parse(text: &[u8], env: Env<'_>) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let document = document::parse(text, &mut problems)?;
        // These checks read the document itself, so that their problems are reported together with all others.
        repeated_names(&document, &mut problems);
        let chains = Chains::of(&document);
        chains.check(&mut problems);
        templates::check(&document, &chains, env, &mut problems);
        signing::check(&document, env, &mut problems);
        let secret = secret(&document, env, &mut problems);
        match deserr::deserialize::<raw::Document, Value, Problems>(document) {
            Ok(raw) if problems.is_empty() => Ok(Self::new(raw, secret.as_deref(), env)),
            Ok(_) => Err(problems),
            Err(more) => {
                problems.extend(more);
                Err(problems)
            }
        }
    }

    // Apart, so that no function gets large: see `scalar::Apart`.
    #[inline(never)]
    fn new(raw: raw::Document, secret: Option<&str>, env: Env<'_>) -> Self {
        let paths = paths(&raw.targets.0);
        let names: Vec<String> = raw.targets.0.iter().map(|target| target.name.0 .0.clone()).collect();
        let mut targets: Vec<Target> = raw.targets.0.into_iter().map(|target| Target::new(target, &names, env)).collect();
        let followers = tie(&mut targets);
        Redaction::number_all(targets.iter_mut().filter_map(|target| target.shape.body.redact.as_mut()));
        let max_work = raw.limits.max_work();
        let matched_pointers = select::each_once(targets.iter().flat_map(|target| target.matcher.pointers()));
        Self {
            reading: Terms {
                max_body: bytes(raw.limits.max_body_bytes.0),
                max_work: bytes(max_work),
                pointers: Rc::new(shaping::pointers(&targets, &matched_pointers)),
            },
            matched_parameters: Parameters::new(targets.iter().flat_map(|target| target.matcher.parameters())),
            matched_pointers,
            paths,
            properties: shaping::properties(&targets),
            followers,
            targets,
            max_body_bytes: bytes(raw.limits.max_body_bytes.0),
            max_buffered_bytes: bytes(raw.limits.max_buffered_bytes.0),
            drain_timeout: Duration::from_millis(raw.drain_timeout.0),
            correlation: Correlation { header: raw.correlation.header.0 .0.into(), traceparent: raw.correlation.traceparent },
            loop_guard: LoopGuard::new(secret),
        }
    }
}

fn paths(targets: &[raw::Target]) -> Option<Paths> {
    let of_rules = |rules: &NonEmpty<raw::Rule>| rules.0.iter().map(|rule| rule.path.clone().map(TextCondition::from)).collect();
    // A target without rules wants requests with any path.
    // A follower only wants what its leader wants.
    let first = targets.iter().filter(|target| !target.after.is_of_target());
    let conditions = first.flat_map(|target| target.rules.as_ref().map_or(vec![None], of_rules));
    Paths::new(conditions)
}

/// Ties followers to their leaders. Returns the followers, each after its leader.
// Apart for the same reason.
#[inline(never)]
fn tie(targets: &mut [Target]) -> Vec<usize> {
    let leaders: Vec<Option<usize>> = targets.iter().map(|target| target.after.leader()).collect();
    let leader_of = |index: usize| leaders.get(index).copied().flatten();
    let depth = |index: usize| std::iter::successors(leader_of(index), |leader| leader_of(*leader)).take(leaders.len()).count();
    let at = |wanted: usize| (0..leaders.len()).filter(move |index| depth(*index) == wanted);
    let followers: Vec<usize> = (1..=chains::MAX_DEPTH).flat_map(at).collect();
    for follower in &followers {
        if let Some(leader) = leader_of(*follower).and_then(|leader| targets.get_mut(leader)) {
            leader.followers.push(*follower);
        }
    }
    for index in 0..leaders.len() {
        let name = targets.get(index).map(|target| target.name.clone()).unwrap_or_default();
        let reads = targets.iter().flat_map(Target::templates).flat_map(Template::expressions);
        let parts = reads.filter_map(|expression| match expression {
            Expression::Answer(Answerer::Target(other), part) if **other == *name => Some(part),
            _ => None,
        });
        let mut kept = Kept::default();
        for part in parts {
            kept.answer = true;
            kept.headers |= part.needs_headers();
            kept.body |= part.is_of_body();
        }
        if let Some(target) = targets.get_mut(index) {
            target.kept = kept;
        }
    }
    followers
}

fn conditions(rules: NonEmpty<raw::Rule>) -> Vec<Conditions> {
    rules.0.into_iter().map(Conditions::from).collect()
}

impl Target {
    // Apart for the same reason.
    #[inline(never)]
    fn new(raw: raw::Target, names: &[String], env: Env<'_>) -> Self {
        let (retry, retry_on) = match raw.retry {
            Some(retry) => retry_policy(retry),
            None => (None, RetryOn::defaults()),
        };
        let failures = raw.circuit_breaker.failure_statuses.0.clone();
        let timeout = Duration::from_millis(raw.timeout.0);
        let redact = raw.response.and_then(|response| shaping::redaction(response.redact));
        let mut target = Self {
            breaker: breaker_settings(raw.circuit_breaker, timeout),
            rate: raw.limits.rate.map(token_bucket),
            name: raw.name.0 .0,
            cluster: raw.cluster.0 .0,
            matcher: Matcher::new(raw.rules.map(conditions), raw.except.map(conditions)),
            sample: raw.sample.map(Sampling::from),
            after: shaping::after(raw.after, raw.statuses, names),
            order: raw.order.map(OrderKey::from),
            followers: Vec::new(),
            kept: Kept::default(),
            shape: shaping::shape(raw.request, redact.as_ref(), env),
            batch: raw.batch.map(shaping::batch),
            compare: raw.compare.map(compare::Settings::from),
            policy: Policy::new(raw.success.0, retry_on, failures),
            retry,
            dead_letter: raw.dead_letter.map(|raw| dead_letter(raw, redact.as_ref(), env)),
            timeout,
            max_in_flight: bytes(raw.limits.max_in_flight.0),
            max_queued: bytes(raw.limits.max_queued.0),
            reads: Reads::default(),
        };
        target.shape.head.has_own_key = target.after.leader().is_some();
        target.reads = target.find_reads();
        target
    }
}

impl Target {
    /// All templates of the target.
    fn templates(&self) -> impl Iterator<Item = &Template> {
        self.shape.templates().chain(self.dead_letter.iter().flat_map(DeadLetter::templates))
    }

    fn find_reads(&self) -> Reads {
        let names = |wanted: fn(&Expression) -> bool| self.templates().flat_map(Template::expressions).any(wanted);
        Reads {
            headers: !self.shape.is_plain() || self.batch.is_some() || self.order.is_some(),
            body: self.shape.needs_body(),
            properties: names(|expression| matches!(expression, Expression::Property(_))),
            time: names(|expression| matches!(expression, Expression::Now | Expression::NowS | Expression::NowMs)),
            response_headers: names(
                |expression| matches!(expression, Expression::Answer(Answerer::Primary, part) if part.needs_headers()),
            ),
            response_body: names(
                |expression| matches!(expression, Expression::Answer(Answerer::Primary, part) if part.is_of_body()),
            ),
            compared_body: self.compare.as_ref().is_some_and(|compare| compare.body != BodyMode::None),
        }
    }
}

fn retry_policy(raw: raw_delivery::Retry) -> (Option<RetryPolicy>, Vec<RetryOn>) {
    let millis = Duration::from_millis;
    // The grammar ensures that the base is not above the maximum.
    let backoff = Backoff::try_new(millis(raw.backoff.base.0), millis(raw.backoff.max.0)).ok();
    let policy = backoff.map(|backoff| RetryPolicy {
        max_attempts: u32::try_from(raw.max_attempts.0).unwrap_or(u32::MAX),
        backoff,
        budget: RetryBudget::new(raw.budget.percent.0, raw.budget.min_per_second.0),
        obey_retry_after: raw.retry_after,
        expire_after: millis(raw.expire_after.0),
    });
    (policy, raw.on.0)
}

fn breaker_settings(raw: raw_delivery::Breaker, timeout: Duration) -> Option<breaker::Settings> {
    let millis = Duration::from_millis;
    let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let open_for = millis(raw.open_for.0);
    (raw.mode != BreakerMode::Disabled).then(|| breaker::Settings {
        consecutive_failures: count(raw.consecutive_failures.0),
        failure_percent: raw.failure_rate.percent.0,
        window: millis(raw.failure_rate.window.0),
        min_requests: count(raw.failure_rate.min_requests.0),
        slow_call: raw
            .slow_call
            .map(|slow| breaker::SlowCall { longer_than: millis(slow.longer_than.0), percent: slow.percent.0 }),
        open_for,
        max_open_for: raw.max_open_for.map_or(open_for.max(DEFAULT_MAX_OPEN_FOR), |max| millis(max.0)),
        probes: count(raw.half_open.probes.0),
        successes: count(raw.half_open.successes.0),
        observe: raw.mode == BreakerMode::Observe,
        timeout,
    })
}

/// The default of the longest open time of a breaker.
const DEFAULT_MAX_OPEN_FOR: Duration = Duration::from_secs(60);

fn token_bucket(raw: raw_delivery::RateLimit) -> TokenBucket {
    let per_second = raw.per_second.0;
    TokenBucket::new(per_second, raw.burst.map_or(per_second.max(1.0), |burst| burst.0 as f64))
}

fn dead_letter(raw: raw_delivery::DeadLetter, redact: Option<&Redaction>, env: Env<'_>) -> DeadLetter {
    let cluster = raw.cluster.0 .0;
    let mut dead_letter = DeadLetter {
        path: raw.path.map_or_else(|| Template::literal("/".to_owned()), |path| path.0 .0),
        authority: raw.authority.map_or_else(|| DeadLetter::default_authority(&cluster), |authority| authority.0 .0),
        headers: raw.headers.map_or_else(Vec::new, |headers| headers.set.0.into_iter().collect()),
        timeout: Duration::from_millis(raw.timeout.0),
        on: raw.on.0.into_iter().map(DropReason::from).collect(),
        body: raw.body.map(|body| body.template),
        answers: AnswerReads::default(),
        cluster,
    };
    dead_letter.answers = AnswerReads::new(dead_letter.templates(), redact);
    dead_letter.resolve_env(env);
    dead_letter
}

/// Converts a limit to `usize`. A limit that does not fit becomes the maximum.
fn bytes(bound: u64) -> usize {
    usize::try_from(bound).unwrap_or(usize::MAX)
}

/// The secret of the loop guard, with its variables filled in. The grammar reports a secret that is not a template.
fn secret(document: &Value, env: Env<'_>, problems: &mut Problems) -> Option<String> {
    let text = document.get("loop_guard")?.get("secret")?.as_str()?;
    let secret = Template::from_str(text).ok()?.with_env(env);
    let expected = match secret {
        Ok(secret) if !secret.is_empty() => return Some(secret),
        Ok(_) => "expected text, found none".into(),
        Err(expected) => expected,
    };
    problems.push("loop_guard.secret", expected);
    None
}

/// Target names must be unique: they are metric names, and the metrics of two targets with one name would silently add up.
fn repeated_names(document: &Value, problems: &mut Problems) {
    let targets = document.get("targets").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let names: Vec<Option<&str>> = targets.iter().map(|target| target.get("name").and_then(Value::as_str)).collect();
    for (index, name) in names.iter().enumerate() {
        let first = names.iter().position(|other| name.is_some() && other == name);
        if let (Some(name), Some(first)) = (name, first.filter(|first| *first < index)) {
            problems.push(format!("targets[{index}].name"), format!("{name:?} is already the name of targets[{first}]"));
        }
    }
}

#[cfg(test)]
mod tests;
