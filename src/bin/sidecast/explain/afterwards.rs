//! Tells what becomes of a copy once it is sent: when it counts as delivered, and what happens if it fails.

use std::time::Duration;

use humantime::format_duration;
use sidecast::config::raw;
use sidecast::config::raw_delivery::{Breaker, BreakerMode};
use sidecast::config::Config;
use sidecast::delivery::drop_reason::DropReason;
use sidecast::delivery::retry_condition::RetryOn;

use super::chain;

/// Tells it in the order in which it happens. `raw` is the target as the user wrote it; `chained` is a configuration with its followers.
pub(super) fn told(raw: &raw::Target, chained: &Config) -> Vec<String> {
    let timeout = time(raw.timeout.0);
    let mut told = vec![format!("delivered if it responds {} within {timeout}", any(raw.success.0.iter()))];
    told.push(retries(raw));
    told.push(breaker(&raw.circuit_breaker));
    told.push(letter(raw));
    let indices = chained.targets.iter().filter(|target| target.name == raw.name.0 .0).flat_map(|target| &target.followers);
    let followers = indices.filter_map(|index| chained.targets.get(*index));
    told.extend(followers.filter_map(|follower| {
        let trigger = chain::trigger(&follower.after)?;
        Some(format!("after it {}, {} gets its copy", chain::wanted(trigger), follower.name))
    }));
    told
}

fn retries(raw: &raw::Target) -> String {
    let Some(retry) = &raw.retry else {
        return "given up if it fails: no retries, because `retry` is not set".to_owned();
    };
    if retry.max_attempts.0 == 1 {
        return "given up if it fails: no retries, because `retry.max_attempts` is 1".to_owned();
    }
    let conditions = any(retry.on.0.iter().map(|condition| match condition {
        RetryOn::Status(pattern) => pattern.to_string(),
        RetryOn::Reset => "reset".to_owned(),
        RetryOn::Timeout => "timeout".to_owned(),
        RetryOn::ConnectFailure => "connect_failure".to_owned(),
        RetryOn::NoHealthyUpstream => "no_healthy_upstream".to_owned(),
    }));
    let [base, max, expire_after] = [retry.backoff.base.0, retry.backoff.max.0, retry.expire_after.0].map(time);
    format!(
        "up to {} attempts within {expire_after}, retried on {conditions}; waits up to {base} first, then doubles, up to {max}",
        retry.max_attempts.0
    )
}

fn breaker(breaker: &Breaker) -> String {
    let mut conditions = Vec::new();
    if breaker.consecutive_failures.0 > 0 {
        conditions.push(format!("{} failures in a row", breaker.consecutive_failures.0));
    }
    let rate = &breaker.failure_rate;
    let window = format!("of at least {} attempts within {}", rate.min_requests.0, time(rate.window.0));
    conditions.push(format!("{} % failures {window}", rate.percent.0));
    if let Some(slow) = &breaker.slow_call {
        conditions.push(format!("{} % attempts slower than {} {window}", slow.percent.0, time(slow.longer_than.0)));
    }
    let conditions = any(conditions.iter());
    let open_for = time(breaker.open_for.0);
    match breaker.mode {
        BreakerMode::Enforce => format!("its circuit breaker opens after {conditions}, and blocks for {open_for}"),
        BreakerMode::Observe => format!("its circuit breaker only observes: it would open after {conditions}"),
        BreakerMode::Disabled => "it has no circuit breaker: the mode is `disabled`".to_owned(),
    }
}

fn letter(raw: &raw::Target) -> String {
    match &raw.dead_letter {
        None => "lost if given up, because `dead_letter` is not set".to_owned(),
        Some(letter) => {
            let reasons = any(letter.on.0.iter().map(|reason| DropReason::from(*reason).name()));
            format!("if given up for {reasons}, cluster {} gets a dead letter", letter.cluster.0 .0)
        }
    }
}

/// A list of alternatives.
fn any(alternatives: impl Iterator<Item = impl ToString>) -> String {
    let alternatives: Vec<String> = alternatives.map(|alternative| alternative.to_string()).collect();
    match alternatives.as_slice() {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

fn time(millis: u64) -> String {
    format_duration(Duration::from_millis(millis)).to_string()
}
