//! The shipped rules: promtool's judgement, the shipped tests of each alert, and what a real Prometheus makes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{json, Value};

use crate::contract::SCRAPES;
use crate::prometheus::{in_clone, is_installed, promtool, yaml, Api};
use crate::promql;
use crate::stage::Stage;
use crate::support::eventually::eventually;

const FILES: [&str; 2] = ["envoy/prometheus/recording.rules.yml", "envoy/prometheus/alerts.rules.yml"];

/// All shipped rules.
fn rules() -> Vec<Value> {
    let rules = |file: &str| {
        let groups = yaml(file)["groups"].as_array().unwrap().clone();
        groups.into_iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect::<Vec<_>>()
    };
    FILES.into_iter().flat_map(rules).collect()
}

fn texts(rules: &[Value], field: &str) -> BTreeSet<String> {
    rules.iter().filter_map(|rule| rule[field].as_str()).map(ToOwned::to_owned).collect()
}

/// The shipped files with tests of the rules.
fn test_files() -> Vec<String> {
    let files = fs::read_dir(in_clone("envoy/prometheus/tests")).unwrap();
    files.map(|file| format!("tests/{}", file.unwrap().file_name().to_str().unwrap())).collect()
}

#[track_caller]
fn assert_passes(arguments: &[&str]) {
    let output = promtool(arguments);
    let [out, error] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "promtool {arguments:?}: {out}{error}");
}

#[test]
fn promtool_accepts_the_configuration_and_the_rules() {
    if is_installed() {
        assert_passes(&["check", "config", "--lint=all", "--lint-fatal", "prometheus.yml"]);
    }
}

#[test]
fn each_alert_fires_when_it_should_and_only_then() {
    if is_installed() {
        let files = test_files();
        let arguments: Vec<&str> = ["test", "rules"].into_iter().chain(files.iter().map(String::as_str)).collect();
        assert_passes(&arguments);
    }
}

/// The anchors of the headings of a page, as GitHub makes them of headings that are one word.
fn anchors(page: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(in_clone(page)).unwrap();
    text.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_lowercase).collect()
}

#[test]
fn each_alert_links_to_its_own_section_of_the_runbook_and_each_section_has_an_alert() {
    let runbook = "docs/runbook.md";
    let alerts = texts(&rules(), "alert");
    assert_eq!(anchors(runbook), alerts.iter().map(|alert| alert.to_lowercase()).collect());
    for rule in rules().iter().filter(|rule| rule["alert"].is_string()) {
        let name = rule["alert"].as_str().unwrap();
        // The base is the same everywhere, so one command changes it.
        let wanted = format!("https://sidecast.example/{runbook}#{}", name.to_lowercase());
        assert_eq!(rule["annotations"]["runbook_url"], wanted, "{name}");
    }
    let comment = fs::read_to_string(in_clone(FILES[1])).unwrap();
    assert!(comment.contains("sed -i 's|https://sidecast.example/|"), "the command that changes it");
}

#[test]
fn each_expression_of_the_runbook_is_one_and_names_what_the_rules_or_envoy_have() {
    let text = fs::read_to_string(in_clone("docs/runbook.md")).unwrap();
    let blocks = text.split("```text\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let recorded = texts(&rules(), "record");
    let mut found = 0;
    for expression in blocks.flat_map(str::lines) {
        for metric in promql::metrics(expression).into_iter().filter(|metric| metric.contains(':')) {
            assert!(recorded.contains(&metric), "{expression}");
        }
        found += 1;
    }
    assert!(found > 10, "{found}");
}

/// A rule keeps these labels, so that workloads with targets of the same name are told apart.
#[test]
fn no_aggregation_loses_the_workload() {
    for rule in rules() {
        let expression = rule["expr"].as_str().unwrap();
        for by in expression.split(" by (").skip(1) {
            assert!(by.starts_with("job, namespace, workload"), "{expression}");
        }
        // An instance is one process; its labels are on both sides.
        for on in expression.split(" on (").skip(1) {
            assert!(on.starts_with("job, namespace, workload") || on.starts_with("job, instance)"), "{expression}");
        }
    }
}

/// The labels that the scrape of a cluster gives a pod with these discovered labels; none if it is not scraped.
fn relabelled(pod: &[(&str, &str)]) -> Option<Value> {
    let mut scrape = yaml("envoy/prometheus/kubernetes.yml")["scrape_configs"][0].clone();
    scrape.as_object_mut().unwrap().remove("kubernetes_sd_configs").unwrap();
    let mut labels = json!({});
    for (name, value) in pod {
        labels[format!("__meta_kubernetes_{name}")] = json!(value);
    }
    scrape["static_configs"] = json!([{"targets": ["10.0.0.7:8080"], "labels": labels}]);
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), json!({"scrape_configs": [scrape]}).to_string()).unwrap();
    let file = file.path().to_str().unwrap();
    let output = promtool(&["check", "service-discovery", "--timeout=200ms", file, scrape["job_name"].as_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    found[0].get("labels").filter(|labels| labels["__address__"].is_string()).cloned()
}

#[test]
fn the_scrape_of_a_cluster_finds_sidecars_and_names_their_workload() {
    if !is_installed() {
        return;
    }
    let base = [("namespace", "shop"), ("pod_name", "checkout-5d8f-x2"), ("pod_ip", "10.0.0.7")];
    let with = |more: &[(&'static str, &'static str)]| relabelled(&[&base[..], more].concat());
    let of_deployment = [("pod_controller_kind", "ReplicaSet"), ("pod_controller_name", "check-out-5d8f6b7c9")];
    let istio = with(&[&of_deployment[..], &[("pod_container_port_name", "http-envoy-prom")]].concat()).unwrap();
    let names = ["__address__", "namespace", "pod", "workload", "sidecast"];
    let texts = |labels: &Value| names.map(|name| labels[name].as_str().unwrap_or_default().to_owned());
    assert_eq!(texts(&istio), ["10.0.0.7:15090", "shop", "checkout-5d8f-x2", "check-out", ""]);
    let own = with(&[
        ("pod_controller_kind", "StatefulSet"),
        ("pod_controller_name", "ledger-db"),
        ("pod_container_port_name", "pages"),
        ("pod_annotation_prometheus_io_path", "/stats/prometheus"),
        ("pod_annotation_prometheus_io_port", "9902"),
        ("pod_label_sidecast", "expected"),
    ])
    .unwrap();
    assert_eq!(texts(&own), ["10.0.0.7:9902", "shop", "checkout-5d8f-x2", "ledger-db", "expected"]);
    let of_cron_job = [
        ("pod_controller_kind", "Job"),
        ("pod_controller_name", "nightly-29414760"),
        ("pod_container_port_name", "http-envoy-prom"),
    ];
    assert_eq!(texts(&with(&of_cron_job).unwrap())[3], "nightly");
    assert_eq!(with(&[&of_deployment[..], &[("pod_container_port_name", "http")]].concat()), None, "another port");
    assert_eq!(
        with(&[("pod_annotation_prometheus_io_path", "/metrics"), ("pod_container_port_name", "http")]),
        None,
        "an application"
    );
}

#[test]
fn the_operator_relabels_as_the_scrape_of_a_cluster_does() {
    let by_hand = yaml("envoy/prometheus/kubernetes.yml")["scrape_configs"][0]["relabel_configs"].clone();
    let operator = yaml("envoy/prometheus/podmonitor.yaml")["spec"]["podMetricsEndpoints"][0]["relabelings"].clone();
    let made =
        |rule: &Value, source: &str, target: &str| [source, "regex", target, "replacement"].map(|field| rule[field].clone());
    let by_hand: Vec<_> = by_hand.as_array().unwrap().iter().map(|rule| made(rule, "source_labels", "target_label")).collect();
    let operator = operator.as_array().unwrap().iter().filter(|rule| rule["action"].is_null());
    let operator: Vec<_> = operator.map(|rule| made(rule, "sourceLabels", "targetLabel")).collect();
    assert_eq!(operator.len(), 3);
    for rule in operator {
        assert!(by_hand.contains(&rule), "{rule:?}");
    }
}

#[test]
fn each_alert_is_tested_both_firing_and_silent() {
    let mut tested: BTreeMap<String, (bool, bool)> = BTreeMap::new();
    for file in test_files() {
        let tests = yaml(&format!("envoy/prometheus/{file}"));
        let tests = tests["tests"].as_array().unwrap().iter();
        for case in tests.filter_map(|test| test["alert_rule_test"].as_array()).flatten() {
            let (fires, silent) = tested.entry(case["alertname"].as_str().unwrap().to_owned()).or_default();
            match case["exp_alerts"].as_array().unwrap()[..] {
                [] => *silent = true,
                [..] => *fires = true,
            }
        }
    }
    let wanted = texts(&rules(), "alert").into_iter().map(|alert| (alert, (true, true))).collect();
    assert_eq!(tested, wanted);
}

#[tokio::test]
async fn every_rule_is_evaluated_and_names_only_metrics_that_exist() {
    let Some(stage) = Stage::shared() else {
        return;
    };
    let (prometheus, rules) = (stage.prometheus(), rules());
    eventually(SCRAPES, "every rule to be evaluated", async || {
        let groups = prometheus.get("rules").await?;
        let seen: Vec<Value> =
            groups["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect();
        assert_eq!(seen.len(), rules.len());
        match seen.iter().find(|rule| rule["health"] != "ok") {
            Some(rule) => Err(rule.to_string()),
            None => Ok(()),
        }
    })
    .await;
    eventually(SCRAPES, "every metric of a rule", async || {
        let existing: BTreeSet<String> = prometheus.metrics().await?.into_iter().collect();
        let named = rules.iter().flat_map(|rule| promql::metrics(rule["expr"].as_str().unwrap()));
        let missing: BTreeSet<String> = named.chain(texts(&rules, "record")).filter(|name| !existing.contains(name)).collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(format!("{missing:?}"))
        }
    })
    .await;
}

/// The alerts of this state, each with its target if it has one.
async fn alerts(prometheus: Api, states: &[&str]) -> Result<BTreeSet<(String, String)>, String> {
    let data = prometheus.get("alerts").await?;
    let text = |alert: &Value, label: &str| alert["labels"][label].as_str().unwrap_or_default().to_owned();
    let all = data["alerts"].as_array().unwrap().iter();
    let chosen = all.filter(|alert| states.contains(&alert["state"].as_str().unwrap()));
    Ok(chosen.map(|alert| (text(alert, "alertname"), text(alert, "target"))).collect())
}

#[tokio::test]
async fn what_goes_wrong_in_an_envoy_raises_the_alerts_for_it_and_no_others() {
    let Some(stage) = Stage::shared() else {
        return;
    };
    let prometheus = stage.prometheus();
    let pair = |(alert, target): &(&str, &str)| ((*alert).to_owned(), (*target).to_owned());
    // These have no `for`.
    let firing: BTreeSet<(String, String)> =
        [("SidecastUnknownCluster", "nowhere"), ("SidecastDeadLettersLost", "kept"), ("SidecastConfigurationRejected", "")]
            .iter()
            .map(pair)
            .collect();
    let coming: BTreeSet<(String, String)> = [
        ("SidecastBreakerOpen", "down"),
        ("SidecastDeadLetters", "kept"),
        ("SidecastAttemptsFailing", "down"),
        ("SidecastAttemptsFailing", "retried"),
        ("SidecastAttemptsFailing", "picky"),
        ("SidecastDeliveryRatioLow", "retried"),
        ("SidecastDeliveryRatioLow", "kept"),
        ("SidecastDropping", "narrow"),
        ("SidecastDropping", "limited"),
        ("SidecastComparisonMismatch", "rival"),
        ("SidecastComparisonMismatch", "other"),
    ]
    .iter()
    .map(pair)
    .collect();
    let (fired, active) = eventually(SCRAPES, "the alerts", async || {
        let fired = alerts(prometheus, &["firing"]).await?;
        let active = alerts(prometheus, &["firing", "pending"]).await?;
        if firing.is_subset(&fired) && coming.is_subset(&active) {
            Ok((fired, active))
        } else {
            let missing =
                [firing.difference(&fired), coming.difference(&active)].map(|missing| missing.cloned().collect::<Vec<_>>());
            Err(format!("{missing:?}"))
        }
    })
    .await;
    let lasting = ["SidecastBreakerOpen", "SidecastQueueNearLimit", "SidecastInFlightNearLimit"];
    let early: BTreeSet<_> = fired.difference(&firing).filter(|(alert, _)| !lasting.contains(&alert.as_str())).collect();
    assert!(early.is_empty(), "{early:?}");
    for silent in [
        "SidecastFilterMissing",
        "SidecastFilterLost",
        "SidecastAccountsOpen",
        "SidecastQueueNearLimit",
        "SidecastInFlightNearLimit",
    ] {
        assert!(!active.iter().any(|(alert, _)| alert == silent), "{silent}: {active:?}");
    }
    for (alert, fine) in [("SidecastBreakerOpen", "audit"), ("SidecastComparisonMismatch", "twin"), ("SidecastDropping", "later")]
    {
        assert!(!active.contains(&pair(&(alert, fine))), "{alert}: {active:?}");
    }
}
