//! What an update does besides: which statistics begin and end, what becomes of circuit breakers, and what is drained.
//!
//! Statistics belong to the name of a target, and the record of a circuit breaker to the names of the target and its cluster. Everything else that
//! a worker keeps (limits, rates, retry budgets, order by key) belongs to one configuration.

use serde_json::Value;

use super::changes::Change;

/// Statistics that only count while a target has a section.
const COUNTED_WITH: [(&str, &str); 6] = [
    ("sample", "sampled_out"),
    ("retry", "retries"),
    ("batch", "batch_items"),
    ("dead_letter", "dead_lettered"),
    ("compare", "compare.*"),
    ("limits.rate", "dropped.rate_limited"),
];

/// What is known of an update as a whole.
pub(super) struct Update {
    /// That of the old configuration, which is the one that is drained.
    pub(super) drain_timeout: String,
    /// Envoy ends the VM, and drains nothing.
    pub(super) vm_differs: bool,
}

/// What the update does to a target that comes.
pub(super) fn of_new(target: &Value) -> Vec<String> {
    let mut effects =
        vec!["Its statistics begin at 0, or continue if this Envoy had a target of this name since it started.".to_owned()];
    if has_breaker(target) {
        effects.push("Its circuit breaker starts closed.".to_owned());
    }
    effects
}

/// What the update does to a target that goes.
pub(super) fn of_old(target: &Value, update: &Update) -> Vec<String> {
    let Update { drain_timeout, vm_differs } = update;
    let lost = match target.pointer("/dead_letter/on").and_then(Value::as_array) {
        Some(on) if on.iter().any(|reason| reason == "shutdown") => "becomes a dead letter (`shutdown`)",
        _ => "is lost, and counts as `dropped.shutdown`",
    };
    if *vm_differs {
        return vec!["Its counters and histograms stop, but keep their values until Envoy ends.".to_owned()];
    }
    let mut effects = vec![
        format!("Its copies in flight and queued continue for up to {drain_timeout}. What is left then {lost}."),
        "Its counters and histograms stop, but keep their values until Envoy ends. The gauges `inflight`, `queued` and `queued_bytes` \
         fall to 0 as its copies end."
            .to_owned(),
    ];
    if has_breaker(target) {
        effects.push(
            "Its circuit breaker ends with the drain; `breaker.state` is then 0. If you add the target again later, its breaker starts closed."
                .to_owned(),
        );
    }
    effects
}

/// What the update does to a target that stays. The targets are in their normal form.
pub(super) fn of_kept(old: &Value, new: &Value, changes: &[Change], update: &Update) -> Vec<String> {
    let mut effects = vec!["Its statistics continue: they belong to its name.".to_owned()];
    effects.extend(statistics(old, new));
    if !update.vm_differs {
        effects.push(breaker(old, new, changes));
    }
    if !update.vm_differs && changes.iter().any(|change| change.is_in("order")) {
        effects.push(
            "Copies that wait for an earlier copy with their key finish under the old configuration. The new one does not wait for them.".to_owned(),
        );
    }
    let is_follower = |target: &Value| target.pointer("/after/target").is_some();
    if is_follower(old) != is_follower(new) {
        let own = "is its delivery id";
        let (before, after) = if is_follower(new) { ("may be the client's", own) } else { (own, "may be the client's") };
        effects.push(format!("The `idempotency-key` of its copies {before} before the update, and {after} after it."));
    }
    effects
}

fn statistics(old: &Value, new: &Value) -> Vec<String> {
    let has = |target: &Value, section: &str| target.pointer(&format!("/{}", section.replace('.', "/"))).is_some();
    let waits = |target: &Value| target.get("after").is_some_and(|after| after != "request");
    let sections = COUNTED_WITH.iter().map(|(section, statistic)| (*statistic, has(old, section), has(new, section)));
    let waiting = std::iter::once(("not_triggered", waits(old), waits(new)));
    let (mut begin, mut end) = (Vec::new(), Vec::new());
    for (statistic, before, after) in sections.chain(waiting) {
        match (before, after) {
            (false, true) => begin.push(format!("`{statistic}`")),
            (true, false) => end.push(format!("`{statistic}`")),
            _ => {}
        }
    }
    let sentence = |names: Vec<String>, what: &str| (!names.is_empty()).then(|| format!("{what}: {}.", names.join(", ")));
    let begin = sentence(begin, "These start to count");
    begin.into_iter().chain(sentence(end, "These stop, but keep their values")).collect()
}

fn has_breaker(target: &Value) -> bool {
    target.pointer("/circuit_breaker/mode").is_none_or(|mode| mode != "disabled")
}

fn breaker(old: &Value, new: &Value, changes: &[Change]) -> String {
    let is_changed = |path: &str| changes.iter().any(|change| change.is_in(path));
    match (has_breaker(old), has_breaker(new)) {
        (false, false) => "It has no circuit breaker.".to_owned(),
        (true, false) => "Its circuit breaker ends: all attempts go through, and `breaker.state` is set to 0.".to_owned(),
        (false, true) => {
            "It gets a circuit breaker: closed, or in its last state if this Envoy had one for this target and cluster.".to_owned()
        }
        (true, true) if is_changed("cluster") => {
            "It gets a new, closed circuit breaker: a breaker belongs to the names of its target and cluster.".to_owned()
        }
        (true, true) if is_changed("circuit_breaker.failure_rate.window") => {
            "Its circuit breaker keeps its state and applies the new settings. The new window starts with the counts of the old one.".to_owned()
        }
        (true, true) if is_changed("circuit_breaker") || is_changed("timeout") || is_changed("success") => {
            "Its circuit breaker keeps its state and its counts, and applies the new settings.".to_owned()
        }
        (true, true) => "Its circuit breaker keeps its state and its counts.".to_owned(),
    }
}

/// What any update does to all targets.
pub(super) fn of_update(update: &Update, new: &Value, changes: &[Change]) -> Vec<String> {
    let mut effects = if update.vm_differs { vec![OF_VM.to_owned()] } else { of_drain(&update.drain_timeout, new) };
    let is_changed = |path: &str| changes.iter().any(|change| change.is_in(path));
    if is_changed("drain_timeout") {
        effects.push("The new `drain_timeout` applies from the next update on.".to_owned());
    }
    if is_changed("loop_guard") {
        effects.push(
            "While some filters use the old `loop_guard.secret` and others the new one, they take each other's copies for requests and copy them again."
                .to_owned(),
        );
    }
    if is_changed("correlation.header") {
        effects.push("Copies carry their correlation id in another header.".to_owned());
    }
    effects
}

fn of_drain(drain_timeout: &str, new: &Value) -> Vec<String> {
    let mut effects = vec![
        "New connections use the new configuration at once. Open connections keep the old one until Envoy has drained them (`--drain-time-s`, 600 s by default)."
            .to_owned(),
        format!(
            "The old configuration drains: its attempts, retries, queues, batches and dead letters continue for up to its `drain_timeout` ({drain_timeout}). What is left then is dropped as `shutdown`, or becomes a dead letter."
        ),
        "Limits, rates and retry budgets start again, so a target may get up to twice its `max_in_flight` during the drain.".to_owned(),
    ];
    let has_order =
        new.get("targets").and_then(Value::as_array).into_iter().flatten().any(|target| target.get("order").is_some());
    if has_order {
        effects.push(
            "`order` is not kept across the update: the old configuration finishes its copies while the new one starts."
                .to_owned(),
        );
    }
    effects
}

/// What an update of the VM does.
const OF_VM: &str =
    "`vm_config` differs, so Envoy ends the old VM: everything in flight and queued is lost and not counted. `inflight` and `queued` stay too high by that much.";
