//! Settings that cancel each other, and their like that do not.

use serde_json::Value;

use super::check;

fn told_of(document: &str) -> Vec<(String, String)> {
    let findings = check(document).into_iter().filter(|finding| finding["severity"] != "note");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    findings.map(|finding| (text(&finding["code"]), text(&finding["path"]).replace("targets[0].", ""))).collect()
}

fn told(fields: &str) -> Vec<(String, String)> {
    told_of(&format!("targets:\n- {{name: a, cluster: c, {fields}}}\n"))
}

#[test]
fn settings_that_cancel_each_other_are_told_where_they_stand() {
    for (fields, code, path) in [
        ("retry: {max_attempts: 12, backoff: {base: 30s, max: 1h}, expire_after: 60s}", "retry-expires", "retry.max_attempts"),
        ("retry: {backoff: {base: 1m, max: 10m}, expire_after: 20s}", "retry-expires", "retry.max_attempts"),
        ("retry: {backoff: {max: 5m}}", "retry-expires", "retry.backoff.max"),
        ("timeout: 60s, retry: {}", "retry-expires", "timeout"),
        ("retry: {expire_after: 2s}", "retry-expires", "retry.expire_after"),
        ("batch: {max_delay: 2m}, retry: {}", "retry-expires", "batch.max_delay"),
        ("retry: {}, limits: {max_queued: 0}", "unused-setting", "limits.max_queued"),
        ("retry: {max_attempts: 1, backoff: {base: 1s}}", "unused-setting", "retry.backoff"),
        ("retry: {max_attempts: 1, retry_after: false}", "unused-setting", "retry.retry_after"),
        ("retry: {on: [5xx, '429']}, success: [2xx, 429]", "unused-setting", "retry.on[1]"),
        ("retry: {on: [4xx]}, success: [2xx, 3xx, 4xx]", "unused-setting", "retry.on[0]"),
        ("retry: {on: [reset], retry_after: true}", "unused-setting", "retry.retry_after"),
        ("circuit_breaker: {slow_call: {longer_than: 3s}}", "unused-setting", "circuit_breaker.slow_call.longer_than"),
        ("circuit_breaker: {failure_rate: {min_requests: 1000000, window: 1s}}", "unused-setting", "circuit_breaker.failure_rate.min_requests"),
        (
            "circuit_breaker: {consecutive_failures: 0, failure_rate: {min_requests: 100000, window: 10s}}, limits: {rate: {per_second: 1}}",
            "unused-setting",
            "circuit_breaker.failure_rate.min_requests",
        ),
        ("dead_letter: {cluster: d, on: [rate_limited]}", "unused-setting", "dead_letter.on"),
        ("dead_letter: {cluster: d, on: [circuit_open]}, circuit_breaker: {mode: observe}", "unused-setting", "dead_letter.on"),
        ("dead_letter: {cluster: d, on: [retry_budget, expired]}", "unused-setting", "dead_letter.on"),
        ("request: {headers: {forward: none, sensitive: forward}}", "unused-setting", "request.headers.sensitive"),
        ("request: {headers: {forward: [x-a], sensitive: forward}}", "unused-setting", "request.headers.sensitive"),
        ("compare: {status: false, body: none}", "unused-setting", "compare"),
        ("compare: {body: exact, ignore: [/a]}", "unused-setting", "compare.ignore"),
        ("compare: {body: none, unordered: [/a]}", "unused-setting", "compare.unordered"),
        ("success: [1xx]", "unused-setting", "success"),
        ("batch: {max_bytes: 128MiB}", "unused-setting", "batch.max_bytes"),
    ] {
        let expected = [(code.to_owned(), path.to_owned())];
        let told = told(fields);
        // A single attempt has nothing to do with a POST.
        assert_eq!(told, expected, "{fields}");
    }
    let small = |limit: &str| {
        told_of(&format!("targets: [{{name: a, cluster: c, match: [{{body: [{{pointer: /type, exact: order}}]}}]}}]\nlimits: {{max_body_bytes: {limit}}}\n"))
    };
    assert_eq!(small("0"), [("never-matches".to_owned(), "match[0].body".to_owned())]);
    assert_eq!(small("3"), small("0"));
    assert_eq!(small("1KiB"), []);
}

#[test]
fn settings_that_go_together_are_not_told_of() {
    for fields in [
        "retry: {}",
        "retry: {max_attempts: 12}",
        // As many as there is time for.
        "retry: {max_attempts: 100}",
        "retry: {max_attempts: 100, backoff: {base: 1s, max: 30s}, expire_after: 10m}",
        "retry: {max_attempts: 12, backoff: {base: 30s, max: 1h}, expire_after: 24h}",
        "retry: {expire_after: 5s}",
        "retry: {max_attempts: 1}",
        "retry: {max_attempts: 1, expire_after: 5s}",
        "retry: {on: [reset], expire_after: 2s}",
        "retry: {on: [5xx, '429'], retry_after: true}",
        "retry: {on: [5xx, 404]}, success: [2xx, 409]",
        "retry: {on: [4xx]}, success: [2xx, 404]",
        "limits: {max_queued: 0}",
        "limits: {max_in_flight: 1}, order: {key: {header: x-a}}",
        "timeout: 5m",
        "batch: {max_delay: 2m}",
        "batch: {max_bytes: 64MiB}",
        "circuit_breaker: {slow_call: {longer_than: 2s}}",
        "circuit_breaker: {slow_call: {longer_than: 3s}}, timeout: 4s",
        "circuit_breaker: {consecutive_failures: 0}",
        "circuit_breaker: {failure_rate: {min_requests: 1000, window: 1s}}",
        "circuit_breaker: {failure_rate: {min_requests: 100, window: 30s}}, limits: {rate: {per_second: 1}}",
        "dead_letter: {cluster: d, on: [rate_limited, queue_full]}",
        "dead_letter: {cluster: d, on: [rate_limited]}, limits: {rate: {per_second: 9}}",
        "dead_letter: {cluster: d, on: [expired]}, retry: {}",
        "request: {headers: {forward: all, sensitive: forward}}",
        "request: {headers: {forward: none, sensitive: strip}}",
        "compare: {status: false}",
        "compare: {body: none}",
        "compare: {ignore: [/a], unordered: [/b]}",
        "success: [1xx, 2xx]",
    ] {
        assert_eq!(told(fields), [], "{fields}");
    }
}
