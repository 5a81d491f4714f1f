//! Warnings about the settings of a target.

use sidecast::template::{Expression, Template};
use std::str::FromStr;

use super::super::tree::{Kind, Node};
use super::{Code, Warning};

const IDEMPOTENCY_KEY: &str = "idempotency-key";

pub(super) fn check(target: &Node, path: &str, warnings: &mut Vec<Warning>) {
    if let Some(statuses) = target.member("statuses").filter(|_| is_unused_beside(target.get("after"))) {
        let message = "has an effect only with `after: response`";
        let warning = Warning::new(&statuses.value, Code::UnusedStatuses, format!("{path}.statuses"), message);
        warnings.push(Warning { at: statuses.key_at, ..warning });
    }
    let mode = target.at(&["circuit_breaker", "mode"]);
    if let Some(mode) = mode.filter(|mode| mode.text() == Some("disabled") && target.at(&["limits", "max_in_flight"]).is_none()) {
        let message = "without a circuit breaker, a target that hangs takes as many calls as `limits.max_in_flight` allows; set it for this target";
        warnings.push(Warning::new(mode, Code::NoCircuitBreaker, format!("{path}.circuit_breaker.mode"), message));
    }
    check_failure_statuses(target, path, warnings);
    check_retries(target, path, warnings);
    check_key(target, path, warnings);
}

/// True if `statuses` beside this `after` mean nothing. Beside an object they are a problem of the configuration.
fn is_unused_beside(after: Option<&Node>) -> bool {
    after.is_none_or(|after| after.members().is_empty() && after.text() != Some("response"))
}

/// Warns about failure statuses that `success` covers: a delivered attempt is never a failure for the breaker.
fn check_failure_statuses(target: &Node, path: &str, warnings: &mut Vec<Warning>) {
    let failures = target.at(&["circuit_breaker", "failure_statuses"]).map_or(&[][..], Node::items);
    let success: Vec<String> = match target.get("success") {
        Some(success) => success.items().iter().filter_map(status).collect(),
        None => ["2xx", "3xx"].map(str::to_owned).to_vec(),
    };
    for (index, failure) in failures.iter().enumerate() {
        let Some(text) = status(failure) else { continue };
        let class = text.get(..1).map(|class| format!("{class}xx"));
        if success.iter().any(|success| *success == text || Some(success) == class.as_ref()) {
            let message = "no effect: `success` names it, and a delivered copy is no failure for the breaker";
            let path = format!("{path}.circuit_breaker.failure_statuses[{index}]");
            warnings.push(Warning::new(failure, Code::UnusedFailureStatus, path, message));
        }
    }
}

/// The text of a status or a class of statuses.
fn status(node: &Node) -> Option<String> {
    match &node.kind {
        Kind::String(text) => Some(text.clone()),
        Kind::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The most attempts. `None` if it is one, or is not a number.
fn attempts(target: &Node) -> Option<f64> {
    let attempts = match target.get("retry")?.get("max_attempts") {
        Some(Node { kind: Kind::Number(number), .. }) => number.as_f64()?,
        Some(_) => return None,
        None => 3.0,
    };
    (attempts > 1.0).then_some(attempts)
}

fn check_retries(target: &Node, path: &str, warnings: &mut Vec<Warning>) {
    let (Some(retry), Some(attempts)) = (target.member("retry"), attempts(target)) else { return };
    // A target that responds 409 to a request it already has evidently checks the idempotency key.
    let success = target.get("success").map_or(&[][..], Node::items);
    if !may_repeat_badly(target) || success.iter().any(covers_conflict) {
        return;
    }
    let message = format!(
        "up to {attempts} attempts, also for POST and PATCH: if a response is lost, the target gets the request again and must recognise it by its \
         {IDEMPOTENCY_KEY}"
    );
    let warning = Warning::new(&retry.value, Code::RetryPost, format!("{path}.retry"), message);
    warnings.push(Warning { at: retry.key_at, ..warning });
}

fn covers_conflict(status: &Node) -> bool {
    match &status.kind {
        Kind::String(text) => text == "409" || text == "4xx",
        Kind::Number(number) => number.as_f64() == Some(409.0),
        _ => false,
    }
}

/// True if the target gets requests that are not idempotent (RFC 9110, 9.2.2, and RFC 5789).
fn may_repeat_badly(target: &Node) -> bool {
    let is_bad = |method: &Node| matches!(method.text(), Some("POST" | "PATCH"));
    if let Some(method) = target.at(&["request", "method"]) {
        return is_bad(method);
    }
    let rules = target.get("match").map_or(&[][..], Node::items);
    let takes_bad = |rule: &Node| rule.get("methods").is_none_or(|methods| methods.items().iter().any(is_bad));
    target.get("batch").is_some() || rules.is_empty() || rules.iter().any(takes_bad)
}

/// Warns about a useless idempotency key. Sidecast always sends a key, but the user may set another.
fn check_key(target: &Node, path: &str, warnings: &mut Vec<Warning>) {
    let set = target.at(&["request", "headers", "set"]).map_or(&[][..], Node::members);
    for header in set.iter().filter(|header| header.key.eq_ignore_ascii_case(IDEMPOTENCY_KEY)) {
        let Some(template) = header.value.text().and_then(|text| Template::from_str(text).ok()) else { continue };
        let is_constant =
            |expression: &Expression| matches!(expression, Expression::Env(_) | Expression::Target | Expression::Method);
        let message = if template.expressions().all(is_constant) {
            "the same for every request: a target that checks it takes all but the first for repetitions"
        } else if template.expressions().any(|expression| *expression == Expression::Attempt) {
            "different for each attempt: a target cannot recognise a request that it already has"
        } else {
            continue;
        };
        warnings.push(Warning::new(
            &header.value,
            Code::IdempotencyKey,
            format!("{path}.request.headers.set.{}", header.key),
            message,
        ));
    }
}

/// Warns about unquoted keys that mean `true` in YAML 1.1, which Kubernetes tools read.
pub(super) fn check_keys(target: &Node, path: &str, text: &str, warnings: &mut Vec<Warning>) {
    for section in ["retry", "dead_letter"] {
        for member in target.get(section).map_or(&[][..], Node::members).iter().filter(|member| member.key == "on") {
            if text.get(member.key_at..).is_some_and(|text| text.starts_with("on")) {
                let message = "Kubernetes tools read the bare key `on` as `true`; write `\"on\":`";
                let warning = Warning::new(&member.value, Code::BareOn, format!("{path}.{section}.on"), message);
                warnings.push(Warning { at: member.key_at, ..warning });
            }
        }
    }
}
