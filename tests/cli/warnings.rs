//! What is legal but unwise: each warning, where it points, and what does not call for it.

use super::{check, position, position_of};

/// What makes labels of the statistics.
pub(crate) const LABELS: &str = r"stats_config:
  stats_tags:
  - {tag_name: target, regex: '^wasmcustom\.sidecast\.(([^.]+)\.)'}
  - {tag_name: reason, regex: '^wasmcustom\.sidecast\.[^.]+\.dropped(\.([a-z_]+))$'}
  - {tag_name: cause, regex: '^wasmcustom\.sidecast\.[^.]+\.attempt_failures(\.([a-z0-9_]+))$'}
  - {tag_name: version, regex: '^wasmcustom\.sidecast_build_info(\.(.+))$'}
";

/// An Envoy with routes and clusters; `plugin` stands beside the configuration.
fn envoy(plugin: &str, targets: &str) -> String {
    format!(
        "{LABELS}static_resources:
  listeners:
  - filter_chains:
    - filters:
      - typed_config:
          route_config:
            virtual_hosts:
            - routes:
              - match: {{prefix: /metrics, headers: [{{name: x-internal}}]}}
                route: {{cluster: metrics}}
              - match: {{path: /health}}
                route: {{cluster: health}}
              - match: {{prefix: /orders}}
                route: {{weighted_clusters: {{clusters: [{{name: orders, weight: 9}}, {{name: orders-new, weight: 1}}]}}}}
              - match: {{prefix: /}}
                route: {{cluster: primary}}
          http_filters:
          - name: sidecast
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                vm_config: {{runtime: envoy.wasm.runtime.v8}}
                {plugin}
                configuration:
                  '@type': type.googleapis.com/google.protobuf.Struct
                  value:
                    targets:
                    - {targets}
  clusters: [{{name: audit}}, {{name: dlq}}, {{name: primary}}, {{name: orders}}, {{name: orders-new}}, {{name: metrics}}, {{name: health}}]
"
    )
}

/// A plugin that is all right but for its target.
fn target(target: &str) -> String {
    envoy("fail_open: true", target)
}

/// A configuration by itself.
fn plain(target: &str) -> String {
    format!("targets:\n- {target}\n")
}

fn codes(text: &str) -> Vec<String> {
    check(text).iter().map(|finding| finding["code"].as_str().unwrap_or_else(|| panic!("{finding}")).to_owned()).collect()
}

macro_rules! warned {
    ($($name:ident: $text:expr => $code:literal at $at:literal;)*) => {
        $(#[test] fn $name() {
            let text = $text;
            let findings = check(&text);
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert_eq!(findings[0]["code"], $code, "{findings:?}");
            assert_eq!(findings[0]["severity"], if $code == "retry-post" { "note" } else { "warning" });
            assert_eq!(position_of(&findings[0]), position(&text, text.rfind($at).unwrap()), "{findings:?}");
        })*
    };
}

macro_rules! passed {
    ($($name:ident: $text:expr;)*) => {
        $(#[test] fn $name() {
            assert_eq!(codes(&$text), [] as [&str; 0]);
        })*
    };
}

warned! {
    a_plugin_that_fails_closed: envoy("root_id: a", "{name: a, cluster: audit}") => "fail-closed" at "vm_config";
    a_plugin_that_fails_closed_in_so_many_words: envoy("failure_policy: FAIL_CLOSED", "{name: a, cluster: audit}") => "fail-closed" at "FAIL_CLOSED";
    a_plugin_that_is_not_open: envoy("fail_open: false", "{name: a, cluster: audit}") => "fail-closed" at "false";
    a_policy_in_place_of_fail_open: envoy("failure_policy: FAIL_OPEN", "{name: a, cluster: audit}") => "failure-policy" at "FAIL_OPEN";
    a_policy_of_reloads: envoy("failurePolicy: FAIL_RELOAD", "{name: a, cluster: audit}") => "failure-policy" at "FAIL_RELOAD";
    a_variable_that_is_not_given: target("{name: a, cluster: audit, request: {path: '/${env:A}'}}") => "unpassed-variable" at "'/${env:A}'";
    a_variable_in_a_template_that_is_not_given:
        target("{name: a, cluster: audit, request: {body: {template: [{b: '${env:A}'}]}}}") => "unpassed-variable" at "'${env:A}'";
    a_token_that_can_be_read: plain("{name: a, cluster: c, request: {headers: {set: {Authorization: hunter2}}}}") => "plain-secret" at "hunter2";
    a_token_of_dead_letters_that_can_be_read:
        plain("{name: a, cluster: c, dead_letter: {cluster: d, headers: {set: {x-api-key: hunter2}}}}") => "plain-secret" at "hunter2";
    a_key_of_a_cloud_that_can_be_read:
        plain("{name: a, cluster: c, request: {headers: {set: {Ocp-Apim-Subscription-Key: hunter2}}}}") => "plain-secret" at "hunter2";
    a_token_that_is_known_by_its_scheme: plain("{name: a, cluster: c, request: {headers: {set: {x-a: Bearer hunter2}}}}") => "plain-secret" at "Bearer";
    a_secret_of_the_loop_guard_that_can_be_read: plain("{name: a, cluster: c}") + "loop_guard: {secret: hunter2}" => "plain-secret" at "hunter2";
    a_secret_of_a_webhook_that_can_be_read:
        plain("{name: a, cluster: c, request: {sign: {standard_webhooks: {secrets: ['${env:A}', whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD]}}}}") => "plain-secret" at "whsec_";
    a_secret_of_a_signature_that_can_be_read:
        plain("{name: a, cluster: c, request: {sign: {hmac_sha256: {header: x-a, secrets: [hunter2]}}}}") => "plain-secret" at "hunter2";
    a_secret_of_a_signature_that_is_not_given:
        target("{name: a, cluster: audit, request: {sign: {standard_webhooks: {secrets: ['${env:A}']}}}}") => "unpassed-variable" at "'${env:A}'";
    a_cluster_that_is_not_there: target("{name: a, cluster: adit}") => "unknown-cluster" at "adit";
    a_cluster_of_dead_letters_that_is_not_there: target("{name: a, cluster: audit, dead_letter: {cluster: x}}") => "unknown-cluster" at "x}";
    the_primarys_own_cluster: target("{name: a, cluster: primary }") => "own-cluster" at "primary }" ;
    statistics_without_labels: target("{name: a, cluster: audit}").replace(LABELS, "") => "no-stats-tags" at "static_resources";
    statistics_with_other_labels: target("{name: a, cluster: audit}").replace("tag_name: reason", "tag_name: why") => "no-stats-tags" at "stats_tags";
    dead_letters_to_the_cluster_that_failed: plain("{name: a, cluster: c, dead_letter: {cluster: c }}") => "dead-letter-cluster" at "c }";
    nothing_that_stops_calls: plain("{name: a, cluster: c, circuit_breaker: {mode: disabled}}") => "no-circuit-breaker" at "disabled";
    a_failure_that_counts_as_delivered:
        plain("{name: a, cluster: c, success: [2xx, 404], circuit_breaker: {failure_statuses: [5xx, 404 ]}}") => "unused-failure-status" at "404 ]";
    a_failure_of_a_class_that_counts_as_delivered:
        plain("{name: a, cluster: c, circuit_breaker: {failure_statuses: [5xx, '302']}}") => "unused-failure-status" at "'302'";
    statuses_that_nobody_waits_for: plain("{name: a, cluster: c, statuses: [201]}") => "unused-statuses" at "statuses";
    one_key_for_all_requests: plain("{name: a, cluster: c, request: {headers: {set: {Idempotency-Key: one}}}}") => "idempotency-key" at "one}";
    a_key_for_each_attempt:
        plain("{name: a, cluster: c, request: {headers: {set: {idempotency-key: '${body:/id}-${attempt}'}}}}") => "idempotency-key" at "'${body";
    retries_of_any_method: plain("{name: a, cluster: c, retry: {}}") => "retry-post" at "retry";
    retries_of_a_post: plain("{name: a, cluster: c, match: [{methods: [GET, POST]}], retry: {max_attempts: 2}}") => "retry-post" at "retry";
    retries_as_a_post: plain("{name: a, cluster: c, match: [{methods: [GET]}], request: {method: POST}, retry: {}}") => "retry-post" at "retry";
    retries_of_batches: plain("{name: a, cluster: c, match: [{methods: [PUT]}], batch: {}, retry: {}}") => "retry-post" at "retry";
}

passed! {
    a_good_target: target("{name: a, cluster: audit, dead_letter: {cluster: dlq}}");
    a_variable_that_is_given: target("{name: a, cluster: audit, request: {path: '/${env:A}'}}")
        .replace("v8}", "v8, environment_variables: {host_env_keys: [A]}}");
    a_variable_that_is_given_with_its_value: target("{name: a, cluster: audit, request: {path: '/${env:A}'}}")
        .replace("v8}", "v8, environment_variables: {key_values: {A: b}}}");
    a_variable_of_nobody_knows_what: plain("{name: a, cluster: c, request: {path: '/${env:A}'}}");
    a_token_of_the_environment: plain("{name: a, cluster: c, request: {headers: {set: {authorization: 'Bearer ${env:A}'}}}}");
    secrets_of_the_environment:
        plain("{name: a, cluster: c, request: {sign: {standard_webhooks: {secrets: ['${env:A}', '${env:B}']}}}}");
    a_secret_that_is_given: target("{name: a, cluster: audit, request: {sign: {hmac_sha256: {header: x-a, secrets: ['${env:A}']}}}}")
        .replace("v8}", "v8, environment_variables: {host_env_keys: [A]}}");
    a_token_of_the_request: plain("{name: a, cluster: c, request: {headers: {set: {authorization: '${header:x-a}'}}}}");
    a_header_that_is_no_secret: plain("{name: a, cluster: c, request: {headers: {set: {x-source: sidecast}}}}");
    clusters_that_come_while_it_runs: target("{name: a, cluster: other}") + "dynamic_resources: {cds_config: {ads: {}}}";
    the_primarys_cluster_by_another_path: target("{name: a, cluster: primary, request: {path: /events}}");
    a_cluster_that_other_requests_are_routed_to: target("{name: a, cluster: primary, match: [{path: {prefix: /orders/7}}, {path: {exact: /orders}}]}");
    a_cluster_with_a_path_of_its_own: target("{name: a, cluster: health, match: [{path: {prefix: /orders}}, {path: {exact: /healthy}}]}");
    a_cluster_of_a_pattern: target("{name: a, cluster: primary, match: [{path: {regex: /a}}]}");
    calls_that_are_bounded: plain("{name: a, cluster: c, circuit_breaker: {mode: disabled}, limits: {max_in_flight: 64}}");
    a_breaker_that_watches: plain("{name: a, cluster: c, circuit_breaker: {mode: observe}}");
    failures_of_a_class_but_one: plain("{name: a, cluster: c, success: [2xx, 404], circuit_breaker: {failure_statuses: [4xx, 5xx]}}");
    statuses_that_are_waited_for: plain("{name: a, cluster: c, after: response, statuses: [201]}");
    a_key_that_tells_requests_apart: plain("{name: a, cluster: c, request: {headers: {set: {idempotency-key: '${body:/id}'}}}}");
    retries_of_what_can_be_repeated: plain("{name: a, cluster: c, match: [{methods: [GET, PUT, DELETE]}], retry: {}}");
    a_single_attempt: plain("{name: a, cluster: c, retry: {max_attempts: 1}}");
    retries_that_the_target_knows: plain("{name: a, cluster: c, retry: {}, success: [2xx, 409]}");
}

#[test]
fn labels_are_those_that_the_alerts_ask_for() {
    let good = target("{name: a, cluster: audit}");
    let is_warned = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        let codes = codes(&good.replace(from, to));
        assert!(codes.is_empty() || codes == ["no-stats-tags"], "{codes:?}");
        !codes.is_empty()
    };
    for (from, to) in [
        // The name of the target would stay in that of the metric.
        (r"(([^.]+)\.)", r"([^.]+)\."),
        (r"(\.([a-z_]+))$", r"\.([a-z_]+)$"),
        ("wasmcustom", "wasm"),
        ("stats_tags", "use_all_default_tags"),
        ("tag_name: target", "tag_name: sidecast_target"),
        (r"dropped(", r"delivered("),
        // No group, no label.
        (r"(([^.]+)\.)", r"[^.]+\."),
    ] {
        assert!(is_warned(from, to), "{from}: {to}");
    }
    for (from, to) in [
        (r"^wasmcustom\.sidecast\.(([^.]+)\.)", r"wasmcustom[.]sidecast[.](([a-z0-9_-]+)[.])"),
        (
            "stats_config:\n  stats_tags:",
            "statsConfig:\n  statsTags:\n  - {tagName: zone, fixedValue: a}\n  - {tagName: of_others, regex: '^http(\\.(a))'}",
        ),
        // Envoy's patterns can do more than those that can be tried here.
        ("wasmcustom", "(?=w)wasmcustom"),
    ] {
        assert!(!is_warned(from, to), "{from}: {to}");
    }
}

#[test]
fn labels_are_made_by_a_bootstrap_alone() {
    let envoy = target("{name: a, cluster: audit}").replace(LABELS, "");
    let inside: String = envoy.lines().map(|line| format!("    {line}\n")).collect();
    let map = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata:\n  envoy.yaml: |\n{inside}");
    assert_eq!(codes(&map), ["no-stats-tags"]);
    assert_eq!(position_of(&check(&map)[0]), (6, 5));
    let filters = envoy[envoy.find("http_filters").unwrap()..envoy.find("  clusters: [{name: audit").unwrap()]
        .replace("\n          ", "\n");
    assert_eq!(codes(&filters), [] as [&str; 0]);
    let patch: String = filters.lines().map(|line| format!("    {line}\n")).collect();
    let patch = format!("apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nspec:\n  static_resources:\n{patch}");
    assert_eq!(codes(&patch), [] as [&str; 0]);
}

#[test]
fn routes_are_held_against_what_a_target_wants() {
    let own = |rule: &str, cluster: &str| {
        codes(&target(&format!("{{name: a, cluster: {cluster}, match: [{rule}]}}"))) == ["own-cluster"]
    };
    assert!(own("{path: {exact: /orders/7}}", "orders-new"));
    assert!(own("{path: {prefix: /ord}}", "orders"));
    assert!(own("{path: {prefix: /ord}}", "primary"));
    assert!(own("{path: {exact: /health}}", "health"));
    assert!(own("{methods: [POST]}", "health"));
    // The route has another condition, so some requests go on to the next.
    assert!(own("{path: {prefix: /metrics}}", "metrics"));
    assert!(own("{path: {prefix: /metrics}}", "primary"));
    assert!(!own("{path: {exact: /orders}}", "primary"));
    assert!(!own("{path: {prefix: /metrics}}", "orders"));
}

/// The routes of Envoy's own answers.
const OWN_ANSWERS: &str = "- match: {path: /health}
                direct_response: {status: 200}
              - match: {prefix: /old}
                redirect: {path_redirect: /new}
              - match: {path: /health}";

#[test]
fn answers_that_come_before_the_body_are_held_against_what_a_target_wants() {
    let with_answers = |target_text: &str| target(target_text).replacen("- match: {path: /health}", OWN_ANSWERS, 1);
    let warned = |more: &str| {
        let codes = codes(&with_answers(&format!("{{name: a, cluster: audit, {more}}}")));
        assert!(codes.is_empty() || codes == ["answered-early"], "{codes:?}");
        !codes.is_empty()
    };
    for more in [
        "sample: {percent: 50}",
        "match: [{path: {exact: /health}}]",
        "match: [{path: {prefix: /old/orders}, methods: [GET, POST]}]",
        "match: [{path: {exact: /orders}}, {path: {prefix: /o}}]",
        "request: {path: '/${body:/id}', body: {omit: true}}",
        "request: {body: {template: '${body_text}'}}",
        "request: {body: {redact: [/a]}}",
        "match: [{path: {exact: /health}}], after: response",
        "match: [{path: {prefix: /old}}], after: response, statuses: [301]",
        "match: [{path: {prefix: /old}}], after: response, statuses: ['3xx']",
        "request: {body: {omit: true}}, match: [{body: [{pointer: /a, present: true}]}]",
        "except: [{path: {exact: /health}}]",
        "except: [{path: {exact: /health}, methods: [GET]}, {path: {prefix: /old}}]",
    ] {
        assert!(warned(more), "{more}");
    }
    for more in [
        "match: [{path: {exact: /orders}}]",
        "match: [{methods: [GET, HEAD]}]",
        "except: [{path: {exact: /health}}, {path: {prefix: /old}}]",
        "except: [{path: {prefix: /heal}}, {path: {prefix: /o}}]",
        "request: {body: {omit: true}}",
        "request: {path: '/${query:id}', body: {template: ['${path}']}}",
        "match: [{path: {prefix: /old}}], after: response",
        "match: [{path: {exact: /health}}], after: response, statuses: [201]",
    ] {
        assert!(!warned(more), "{more}");
    }
    let text = with_answers("{name: a, cluster: audit, match: [{path: {prefix: /old}}]}");
    let finding = &check(&text)[0];
    assert!(finding["message"].as_str().unwrap().starts_with("a `redirect` of this listener answers"), "{finding}");
    assert!(finding["hint"].as_str().unwrap().contains("envoy.filters.http.buffer"), "{finding}");
    assert_eq!(position_of(finding), position(&text, text.rfind("[{path").unwrap()));
}

#[test]
fn a_filter_that_buffers_between_sidecast_and_the_router_lets_the_body_come() {
    const SIDECAST: &str = "          - name: sidecast\n";
    let text = target("{name: a, cluster: audit}").replacen("- match: {path: /health}", OWN_ANSWERS, 1);
    let buffer = |more: &str| {
        format!(
            "          - name: b\n            {more}typed_config: {{'@type': type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer}}\n"
        )
    };
    let clusters = "  clusters: [{name: audit}";
    assert_eq!(codes(&text), ["answered-early"]);
    assert_eq!(codes(&text.replace(clusters, &format!("{}{clusters}", buffer("")))), [] as [&str; 0]);
    assert_eq!(codes(&text.replace(SIDECAST, &format!("{}{SIDECAST}", buffer("")))), ["answered-early"]);
    assert_eq!(
        codes(&text.replace(clusters, &format!("{}{clusters}", buffer("disabled: true\n            ")))),
        ["answered-early"]
    );
}

#[test]
fn capabilities_that_are_left_out_are_held_against_what_a_configuration_needs() {
    let least: serde_json::Value = serde_json::from_str(include_str!("../../envoy/capabilities.json")).unwrap();
    let text = |target: &str, left_out: &[&str], more: &[&str]| {
        let listed = least["allowed_capabilities"].as_object().unwrap().keys().map(String::as_str);
        let kept: Vec<String> = listed
            .chain(more.iter().copied())
            .filter(|name| !left_out.contains(name))
            .map(|name| format!("{name}: {{}}"))
            .collect();
        envoy(
            &format!(
                "fail_open: true\n                capability_restriction_config: {{allowed_capabilities: {{{}}}}}",
                kept.join(", ")
            ),
            target,
        )
    };
    let plain = "{name: a, cluster: audit}";
    let disabled = "{name: a, cluster: audit, circuit_breaker: {mode: disabled}, limits: {max_in_flight: 9}}";
    let answers = ["proxy_on_response_headers", "proxy_on_response_body", "proxy_on_response_trailers"];
    for passed in [
        text(plain, &[], &[]),
        text(plain, &["fd_write", "proc_exit", "proxy_get_log_level", "environ_get", "environ_sizes_get"], &[]),
        text(disabled, &["proxy_get_shared_data", "proxy_set_shared_data"], &[]),
        text("{name: a, cluster: audit, compare: {}}", &[], &answers),
        envoy("fail_open: true\n                capability_restriction_config: {}", plain),
    ] {
        assert_eq!(codes(&passed), [] as [&str; 0]);
    }
    for (target, left_out) in [
        (plain, "clock_time_get"),
        (plain, "proxy_on_http_call_response"),
        (plain, "proxy_on_tick"),
        (plain, "proxy_get_shared_data"),
        ("{name: a, cluster: audit, compare: {}}", ""),
    ] {
        let findings = check(&text(target, &[left_out], &[]));
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0]["code"], "missing-capability");
        let named = if left_out.is_empty() { answers[1] } else { left_out };
        assert!(findings[0]["message"].as_str().unwrap().contains(&format!("`{named}`")), "{findings:?}");
    }
}

#[test]
fn a_secret_is_told_by_its_place_and_never_shown() {
    let text =
        target("{name: a, cluster: audit, request: {headers: {set: {authorization: 'Bearer ${env:A}', x-token: hunter2}}}}")
            .replace("v8}", "v8, environment_variables: {key_values: {A: hunter2}}}");
    let findings = check(&text);
    assert_eq!(codes(&text), ["plain-secret", "plain-secret"], "{findings:?}");
    assert!(!format!("{findings:?}").contains("hunter2"), "{findings:?}");
    assert_eq!(position_of(&findings[0]), position(&text, text.find("hunter2").unwrap()));
    assert_eq!(position_of(&findings[1]), position(&text, text.rfind("hunter2").unwrap()));
}

#[test]
fn a_cluster_that_is_not_there_is_told_as_it_is_written_right() {
    let of_copies = &check(&target("{name: a, cluster: adit}"))[0];
    assert_eq!(of_copies["hint"], "did you mean `audit`?");
    assert!(of_copies["message"].as_str().unwrap().ends_with("every copy would be dropped (`unknown_cluster`)"), "{of_copies}");
    let of_letters = &check(&target("{name: a, cluster: audit, dead_letter: {cluster: x}}"))[0];
    assert!(of_letters["message"].as_str().unwrap().ends_with("every dead letter would be lost"), "{of_letters}");
}

const ISTIO: &str = "apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: sidecast}
spec:
  url: oci://registry.example/sidecast:0.1.0
  match: [{mode: SERVER}]
  failStrategy: FAIL_OPEN
  vmConfig: {env: [{name: A, valueFrom: HOST}, {name: B, value: hunter2}]}
  pluginConfig:
    targets:
    - name: a
      cluster: outbound|80||c.example
      request: {path: '/${env:A}${env:B}'}
      dead_letter: {cluster: outbound|80||d.example, \"on\": [queue_full]}
";

#[test]
fn a_wasm_plugin_of_istio_is_looked_at() {
    assert_eq!(codes(ISTIO), [] as [&str; 0]);
    assert_eq!(codes(&ISTIO.replace("failStrategy: FAIL_OPEN", "failStrategy: FAIL_CLOSE")), ["fail-closed"]);
    assert_eq!(codes(&ISTIO.replace("failStrategy: FAIL_OPEN", "phase: STATS")), ["fail-closed"]);
    assert_eq!(codes(&ISTIO.replace("{name: A, valueFrom: HOST}, ", "")), ["unpassed-variable"]);
    assert_eq!(codes(&(ISTIO.to_owned() + "    loop_guard: {secret: '${env:B}'}")), ["plain-secret"]);
    let signing = "request: {sign: {hmac_sha256: {header: x-a, secrets: ['${env:A}', '${env:B}']}}, path";
    assert_eq!(codes(&ISTIO.replace("request: {path", signing)), ["plain-secret"]);
}

#[test]
fn a_bare_on_is_told_to_whom_kubernetes_tools_read_it() {
    let bare = ISTIO.replace("\"on\"", "on");
    assert_eq!(codes(&bare), ["bare-on"]);
    assert_eq!(position_of(&check(&bare)[0]), position(&bare, bare.find("on: [").unwrap()));
    assert_eq!(codes(&plain("{name: a, cluster: c, dead_letter: {cluster: d, on: [queue_full]}}")), [] as [&str; 0]);
}

const GATEWAY: &str = "apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyExtensionPolicy
metadata: {name: sidecast}
spec:
  wasm:
  - name: sidecast
    failOpen: true
    env: {hostKeys: [A]}
    config: {targets: [{name: a, cluster: c, request: {path: '/${env:A}'}}]}
";

#[test]
fn an_extension_policy_of_envoy_gateway_is_looked_at() {
    assert_eq!(codes(GATEWAY), [] as [&str; 0]);
    assert_eq!(codes(&GATEWAY.replace("failOpen: true", "failOpen: false")), ["fail-closed"]);
    assert_eq!(codes(&GATEWAY.replace("failOpen: true", "rootID: a")), ["fail-closed"]);
    assert_eq!(codes(&GATEWAY.replace("[A]", "[B]")), ["unpassed-variable"]);
}

#[test]
fn notes_are_kept_from_who_has_errors_to_mend() {
    let findings = check(&plain("{name: a, cluster: c, retry: {}, statuses: [201], a: 1}"));
    let severities: Vec<_> = findings.iter().map(|finding| finding["severity"].as_str().unwrap()).collect();
    assert_eq!(severities, ["warning", "error"]);
}

#[test]
fn warnings_about_json_in_a_string_have_their_place_in_the_file() {
    let text = "http_filters:
- name: sidecast
  typed_config:
    '@type': type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
    config:
      fail_open: true
      configuration:
        '@type': type.googleapis.com/google.protobuf.StringValue
        value: |
          {\"targets\": [
            {\"name\": \"a\", \"cluster\": \"c\",
              \"statuses\": [201]}
          ]}
";
    let findings = check(text);
    assert_eq!(findings[0]["code"], "unused-statuses", "{findings:?}");
    assert_eq!(position_of(&findings[0]), (12, 15));
}
