//! The text of a new configuration.
//!
//! A line of explanation is `# ` and words. A setting that is left out is `#` and the setting, without a space, so that both people and tests see which is
//! which. Where a setting that is left out has a default, it stands there with it.

use super::{Purpose, Target};

const HEAD: &str = "\
# yaml-language-server: $schema=sidecast.schema.json
#
# A configuration of Sidecast, which copies matching requests to other clusters of Envoy (\"targets\").
# The first line is for editors: `sidecast schema > sidecast.schema.json` writes the file that it names.
#
# Lines with `#` and no space after it are settings that are commented out. To use one, remove the `#` from all of its lines.
# Durations have a unit: ms, s, m or h. Sizes are bytes, or have a unit: KiB, MiB or GiB.
# `sidecast check FILE` finds mistakes in this file, and `sidecast explain FILE --request 'POST /orders'` shows who gets a request.
";

const REST: &str = "
# Limits per worker of Envoy, over all targets.
# The longest body that is copied. Requests with a longer one count as `body_too_large`. Default: 1MiB, at most 64MiB.
#limits: {max_body_bytes: 1MiB}
# How long a replaced configuration may take to finish its copies. What is left then counts as `shutdown`. Default: 30s, at most 1h.
#drain_timeout: 30s
# The header that ties a copy to the primary's request. Default: x-request-id, which Envoy makes.
#correlation: {header: x-request-id}
# A secret of your filters, so that no client can mark its request as a copy and avoid being copied. It comes from Envoy's environment,
# through `vm_config.environment_variables`. Without it, a client can opt out of being copied.
#loop_guard: {secret: \"${env:SIDECAST_SECRET}\"}
";

/// What the first target has besides.
const SETTINGS: &str = "  # Requests that are not copied, whatever `match` says. Without it: no exceptions.
  #except:
  #- path: {prefix: /health}
  # What the target receives. Without it: the primary's request, without credentials such as `authorization` and `cookie`.
  # This masks values in JSON bodies, and sets a header.
  #request:
  #  headers: {set: {x-copied-from: shop}}
  #  body: {redact: [/card/number]}
  # The statuses that count as delivered. Default: 2xx and 3xx.
  #success: [2xx, 3xx]
  # How long one attempt may take. Default: 2s, at most 1h.
  #timeout: 2s
";

const RETRY: &str = "  # Retries of a failed copy, with back-off and a budget, so that a target that is down is not flooded. Without it: one attempt.
  # `max_attempts` includes the first. The wait before the second is up to `base`, then doubles, up to `max`. A copy older than `expire_after` is given up.
  #retry:
  #  max_attempts: 3
  #  backoff: {base: 100ms, max: 10s}
  #  expire_after: 60s
";

const RETRIES: &str = "  # A failed copy is retried. If a response is lost, the target gets the request again and must recognise it by its `idempotency-key`.
  # `max_attempts` includes the first. Default: 3, at most 100.
  retry:
    max_attempts: 5
    # The wait before the second attempt is up to `base`, then doubles, up to `max`. Default: 100ms and 10s.
    #backoff: {base: 100ms, max: 10s}
    # A copy older than this is given up. Default: 60s, at most 24h.
    #expire_after: 60s
";

const PROTECTION: &str = "  # The circuit breaker stops calls to a failing target for a while. It opens after this many failures in a row, over all workers. Default: 5 and 5s.
  #circuit_breaker: {consecutive_failures: 5, open_for: 5s}
  # How many calls may be in flight and how many copies may be queued, per worker. Copies beyond that count as `queue_full`. Default: 256 and 1024.
  #limits: {max_in_flight: 256, max_queued: 1024}
";

const LETTERS: &str = "  # A cluster that gets the copies that are given up, as JSON. Use another cluster than the target's. Without it: they are lost, and counted.
  #dead_letter: {cluster: dead-letters, path: /letters}
";

const MIRROR: &str =
    "  # Which requests are copied: one rule must match, with all of its conditions. Without `match`: every request.
  match:
  - path: {prefix: /}
  # The percentage of them to copy. Without it: all.
  #sample: {percent: 10}
  # What a copy waits for: `request` (it is complete) or `response` (the primary answered with 2xx). Default: request.
  #after: request
";

const CHANGES: &str =
    "  # Which requests are copied: one rule must match, with all of its conditions. Without `match`: every request.
  match:
  - methods: [POST, PUT, PATCH, DELETE]
  # The copy waits until the primary has accepted the request. Without it, the copy is sent at once, whatever the primary responds.
  after: response
  # The responses that count as accepted. Default: 2xx.
  #statuses: [2xx]
";

const SHADOW: &str = "  # Which requests are copied: one rule must match, with all of its conditions. If both versions share a database, requests that
  # change something would change it twice.
  match:
  - methods: [GET, HEAD]
  # The percentage of them to copy.
  sample:
    percent: 10
    # Requests with the same value of this header are all copied or all left out. Without it: chosen at random.
    #key: {header: x-user-id}
  # The target's responses are compared with the primary's. Differences are counted and logged. Credentials are not copied, so a response that
  # depends on them differs.
  compare:
    # The percentage of responses to compare. Default: 100.
    percent: 100
    # Places in JSON bodies that may differ, such as times and ids. Without it: all must be the same.
    #ignore: [/created_at]
    # How bodies are compared: json, exact or none. Default: json.
    #body: json
";

const ORDERED: &str = "  # Copies with the same key go one after the other, in each worker: here the value of a header. `{body: /account/id}` is a value of a JSON body.
  order:
    key: {header: x-account-id}
";

const OTHERS: &str = "  # All settings of the first target can be used here, too.
";

pub(super) fn configuration(purpose: Purpose, targets: &[Target]) -> String {
    let mut text = HEAD.to_owned();
    text.push_str("\ntargets:\n");
    for (index, target) in targets.iter().enumerate() {
        let name = scalar(&target.name);
        text.push_str(&if index == 0 {
            format!("# The label in statistics and logs. Must be unique.\n- name: {name}\n")
        } else {
            format!("\n- name: {name}\n")
        });
        if index == 0 {
            text.push_str("  # The cluster of Envoy that gets the copies. In Istio: outbound|PORT||HOST.\n");
        }
        text.push_str(&format!("  cluster: {}\n", scalar(&target.cluster)));
        if index == 0 {
            parts(purpose).into_iter().for_each(|part| text.push_str(part));
        } else {
            text.push_str(OTHERS);
            parts(purpose).into_iter().for_each(|part| text.push_str(&without_comments(part)));
        }
    }
    text.push_str(REST);
    text
}

/// The parts of a target, in the order of the file.
fn parts(purpose: Purpose) -> Vec<&'static str> {
    match purpose {
        Purpose::Mirror => vec![MIRROR, SETTINGS, RETRY, PROTECTION, LETTERS],
        Purpose::Audit => vec![CHANGES, SETTINGS, RETRIES, PROTECTION, LETTERS],
        Purpose::Shadow => vec![SHADOW, SETTINGS, PROTECTION],
        Purpose::Order => vec![CHANGES, ORDERED, SETTINGS, RETRIES, PROTECTION, LETTERS],
    }
}

/// The lines that are settings.
fn without_comments(part: &str) -> String {
    let settings = part.lines().filter(|line| !line.trim_start().starts_with('#'));
    settings.map(|line| format!("{line}\n")).collect()
}

/// A text as YAML. What could be taken for something else is quoted.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 11] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"];
    let is_plain = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.'))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    // Every text of JSON is one of YAML.
    if is_plain {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}
