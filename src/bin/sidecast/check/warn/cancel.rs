//! Finds settings that cancel each other: each is legal, but beside the other it never has an effect.

use std::time::Duration;

use sidecast::config::raw::{Document, Target, WorkerLimits};
use sidecast::config::raw_delivery::{Breaker, BreakerMode, DeadLetterReason, Retry};
use sidecast::config::raw_shape::Forward;
use sidecast::delivery::backoff::Backoff;
use sidecast::delivery::retry_condition::RetryOn;
use sidecast::http::status::StatusPattern;

use super::super::tree::Node;
use super::{Code, Warning};

/// More attempts in a second than an Envoy makes.
const MOST_ATTEMPTS: f64 = 200_000.0;
/// More workers than an Envoy has.
const MOST_WORKERS: f64 = 256.0;

pub(super) fn check(config: &Node, document: &Document, warnings: &mut Vec<Warning>) {
    let nodes = config.get("targets").map_or(&[][..], Node::items).iter();
    for (index, (target, node)) in document.targets.0.iter().zip(nodes).enumerate() {
        let mut check = Check { node, path: format!("targets[{index}]"), warnings };
        if let Some(retry) = &target.retry {
            check.expiry(target, retry);
            check.retries(target, retry);
        }
        check.breaker(target, &target.circuit_breaker);
        check.dead_letter(target);
        check.shape(target);
        check.batch(target, &document.limits);
        check.body_rules(target, &document.limits);
    }
}

struct Check<'c> {
    node: &'c Node,
    path: String,
    warnings: &'c mut Vec<Warning>,
}

impl Check<'_> {
    /// Warns at a field, or at the nearest section around it that is written.
    fn warn(&mut self, code: Code, field: &str, message: impl Into<String>) {
        let mut fields: Vec<&str> = field.split('.').collect();
        while !fields.is_empty() && self.node.at(&fields).is_none() {
            fields.pop();
        }
        let at = fields.split_last().and_then(|(last, before)| self.node.at(before)?.member(last));
        let path = format!("{}.{field}", self.path);
        let warning = Warning::new(self.node, code, path, message);
        self.warnings.push(Warning { at: at.map_or(self.node.span.start, |member| member.key_at), ..warning });
    }

    fn unused(&mut self, field: &str, message: impl Into<String>) {
        self.warn(Code::UnusedSetting, field, message);
    }

    fn has(&self, field: &str) -> bool {
        self.node.at(&field.split('.').collect::<Vec<_>>()).is_some()
    }

    /// Attempts that come too late for a copy's age.
    fn expiry(&mut self, target: &Target, retry: &Retry) {
        let (most, expire_after) = (retry.max_attempts.0, retry.expire_after.0);
        if most < 2 {
            return;
        }
        if let Some((attempt, wait)) = too_long(retry) {
            let message = format!(
                "after attempt {attempt} the wait is up to {}, but a copy expires after {} (`expire_after`): later attempts are unlikely",
                duration_text(wait),
                duration_text(expire_after),
            );
            self.warn(Code::RetryExpires, "retry.max_attempts", message);
        } else if self.has("retry.backoff.max") && retry.backoff.max.0 > expire_after {
            let message = format!("a copy that waits that long has expired (`expire_after` is {})", duration_text(expire_after));
            self.warn(Code::RetryExpires, "retry.backoff.max", message);
        }
        let retries_timeouts = retry.on.0.iter().any(|on| matches!(on, RetryOn::Timeout));
        if retries_timeouts && target.timeout.0 >= expire_after {
            let field = if self.has("timeout") { "timeout" } else { "retry.expire_after" };
            let message = format!(
                "a copy whose attempt times out after {} has expired and is not retried (`expire_after` is {})",
                duration_text(target.timeout.0),
                duration_text(expire_after),
            );
            self.warn(Code::RetryExpires, field, message);
        }
        let delay = target.batch.as_ref().map(|batch| batch.max_delay.0).filter(|delay| *delay >= expire_after);
        if let Some(delay) = delay {
            let message = format!(
                "a copy that waits {} for its batch has expired (`expire_after` is {})",
                duration_text(delay),
                duration_text(expire_after)
            );
            self.warn(Code::RetryExpires, "batch.max_delay", message);
        }
    }

    fn retries(&mut self, target: &Target, retry: &Retry) {
        if retry.max_attempts.0 == 1 {
            for field in ["backoff", "on", "budget", "retry_after"] {
                let field = format!("retry.{field}");
                if self.has(&field) {
                    self.unused(&field, "no effect: `max_attempts: 1` allows no retries");
                }
            }
            return;
        }
        if target.limits.max_queued.0 == 0 {
            self.unused("limits.max_queued", "retries wait in this queue: at 0, every retry is dropped (`queue_full`)");
        }
        let covered = |on: &RetryOn| matches!(on, RetryOn::Status(pattern) if is_covered(*pattern, &target.success.0));
        if self.has("retry.on") {
            for (index, _) in retry.on.0.iter().enumerate().filter(|(_, on)| covered(on)) {
                let at = self.node.at(&["retry", "on"]).and_then(|on| on.items().get(index));
                let path = format!("{}.retry.on[{index}]", self.path);
                let message = "no effect: `success` names it, and a delivered copy is not retried";
                self.warnings.push(Warning::new(at.unwrap_or(self.node), Code::UnusedSetting, path, message));
            }
        }
        let is_asked_to_wait = |status: u16| {
            let is_retried = retry.on.0.iter().any(|on| matches!(on, RetryOn::Status(pattern) if pattern.covers(status)));
            is_retried && !target.success.0.iter().any(|pattern| pattern.covers(status))
        };
        if retry.retry_after && self.has("retry.retry_after") && ![429, 503].into_iter().any(is_asked_to_wait) {
            self.unused("retry.retry_after", "no effect: `on` names neither 429 nor 503, which can have a Retry-After");
        }
    }

    fn breaker(&mut self, target: &Target, breaker: &Breaker) {
        if breaker.mode == BreakerMode::Disabled {
            return;
        }
        let slow = breaker.slow_call.as_ref().filter(|slow| slow.longer_than.0 > target.timeout.0);
        if let Some(slow) = slow {
            let message = format!(
                "no attempt takes longer than the `timeout` of {}, so none counts as slow after {}",
                duration_text(target.timeout.0),
                duration_text(slow.longer_than.0)
            );
            self.unused("circuit_breaker.slow_call.longer_than", message);
        }
        let seconds = Duration::from_millis(breaker.failure_rate.window.0).as_secs_f64();
        let asked = breaker.failure_rate.min_requests.0 as f64;
        let possible = target.limits.rate.as_ref().map_or(MOST_ATTEMPTS * seconds, |rate| {
            let burst = rate.burst.as_ref().map_or(rate.per_second.0.max(1.0), |burst| burst.0 as f64);
            let attempts = target.retry.as_ref().map_or(1.0, |retry| retry.max_attempts.0 as f64);
            (rate.per_second.0 * seconds + burst) * attempts * MOST_WORKERS
        });
        if asked > possible {
            let is_all = breaker.consecutive_failures.0 == 0;
            let end = if is_all {
                "so the breaker never opens"
            } else {
                "so the share of failures or slow calls never opens the breaker"
            };
            let window = duration_text(breaker.failure_rate.window.0);
            self.unused(
                "circuit_breaker.failure_rate.min_requests",
                format!("there are not that many attempts in {window}, {end}"),
            );
        }
    }

    fn dead_letter(&mut self, target: &Target) {
        let Some(letter) = target.dead_letter.as_ref().filter(|_| self.has("dead_letter.on")) else { return };
        let retries = target.retry.as_ref().is_some_and(|retry| retry.max_attempts.0 > 1);
        let can_be = |reason: &DeadLetterReason| match reason {
            DeadLetterReason::RetryBudget => retries,
            DeadLetterReason::Expired => target.retry.is_some(),
            DeadLetterReason::CircuitOpen => target.circuit_breaker.mode == BreakerMode::Enforce,
            DeadLetterReason::RateLimited => target.limits.rate.is_some(),
            _ => true,
        };
        if !letter.on.0.iter().any(can_be) {
            self.unused("dead_letter.on", "no copy of this target is dropped for these reasons, so there are no dead letters");
        }
    }

    fn shape(&mut self, target: &Target) {
        let headers = target.request.as_ref().and_then(|request| request.headers.as_ref());
        if headers.is_some_and(|headers| !matches!(headers.forward, Forward::All))
            && self.is("request.headers.sensitive", "forward")
        {
            self.unused(
                "request.headers.sensitive",
                "no effect: credentials are sent only with `forward: all`, or if the list in `forward` names them",
            );
        }
        let no_body = self.is("compare.body", "none");
        let no_status = self.node.at(&["compare", "status"]).is_some_and(|status| !status.is_true());
        if target.compare.is_some() && no_body && no_status {
            self.unused("compare", "without status and body there is nothing to compare");
        } else if no_body || self.is("compare.body", "exact") {
            for field in ["compare.ignore", "compare.unordered"] {
                if self.node.at(&field.split('.').collect::<Vec<_>>()).is_some_and(|list| !list.items().is_empty()) {
                    self.unused(field, "has an effect only with `body: json`");
                }
            }
        }
        if target.success.0.iter().all(|pattern| (200..600).all(|status| !pattern.covers(status))) {
            self.unused("success", "no response ends with a 1xx status, so no copy is ever delivered");
        }
    }

    fn is(&self, field: &str, word: &str) -> bool {
        self.node.at(&field.split('.').collect::<Vec<_>>()).and_then(Node::text) == Some(word)
    }

    fn batch(&mut self, target: &Target, limits: &WorkerLimits) {
        let Some(batch) = target.batch.as_ref().filter(|_| self.has("batch.max_bytes")) else { return };
        if batch.max_bytes.0 > limits.max_buffered_bytes.0 {
            let message = format!(
                "a batch never gets that large: a worker holds at most {} bytes (`limits.max_buffered_bytes`)",
                limits.max_buffered_bytes.0
            );
            self.unused("batch.max_bytes", message);
        }
    }

    /// Conditions on values that no body within the limit has.
    fn body_rules(&mut self, target: &Target, limits: &WorkerLimits) {
        let sections = [("match", &target.rules), ("except", &target.except)];
        for (field, rules) in sections {
            let rules = rules.as_ref().map_or(&[][..], |rules| rules.0.as_slice());
            for (index, rule) in rules.iter().enumerate() {
                let bodies = rule.body.as_ref().map_or(&[][..], |bodies| bodies.0.as_slice());
                let needs = |body: &sidecast::config::raw::BodyRule| {
                    let texts = [&body.prefix, &body.suffix].into_iter().flatten().map(String::len);
                    let exact = match &body.exact {
                        Some(sidecast::config::raw::ExactValue::Text(text)) => Some(text.len()),
                        Some(_) => Some(0),
                        None => None,
                    };
                    let is_there = body.present == Some(true) || body.regex.is_some();
                    texts.chain(exact).chain(is_there.then_some(0)).max().map(|length| length.saturating_add(1))
                };
                let least = bodies.iter().filter_map(needs).max();
                if least.is_some_and(|least| least as u64 > limits.max_body_bytes.0) {
                    let at = self.node.get(field).and_then(|rules| rules.items().get(index)).and_then(|rule| rule.get("body"));
                    let path = format!("{}.{field}[{index}].body", self.path);
                    let message = "never matches: a body with these values is longer than `limits.max_body_bytes`";
                    self.warnings.push(Warning::new(at.unwrap_or(self.node), Code::NeverMatches, path, message));
                }
            }
        }
    }
}

/// The first attempt after which the wait can be longer than a copy lives, and the bound of that wait in milliseconds.
fn too_long(retry: &Retry) -> Option<(u32, u64)> {
    let millis = Duration::from_millis;
    let backoff = Backoff::try_new(millis(retry.backoff.base.0), millis(retry.backoff.max.0)).ok()?;
    let last = u32::try_from(retry.max_attempts.0).unwrap_or(u32::MAX);
    let mut waits = (1..last).map(|attempt| (attempt, u64::try_from(backoff.bound(attempt).as_millis()).unwrap_or(u64::MAX)));
    waits.find(|(_, wait)| *wait >= retry.expire_after.0)
}

fn is_covered(pattern: StatusPattern, success: &[StatusPattern]) -> bool {
    (100..600).filter(|status| pattern.covers(*status)).all(|status| success.iter().any(|success| success.covers(status)))
}

/// A length of time as people write it.
fn duration_text(millis: u64) -> String {
    humantime::format_duration(Duration::from_millis(millis)).to_string()
}
