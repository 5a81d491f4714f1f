//! The shipped dashboard: each of its queries, as Grafana would send it, has a response.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::contract::SCRAPES;
use crate::prometheus::{in_clone, yaml};
use crate::promql;
use crate::stage::Stage;
use crate::support::eventually::eventually;
use crate::traffic::TARGETS;

fn dashboard() -> Value {
    serde_json::from_str(&std::fs::read_to_string(in_clone("envoy/grafana/sidecast.json")).unwrap()).unwrap()
}

/// The panels that are no headings.
fn panels(dashboard: &Value) -> Vec<&Value> {
    dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row").collect()
}

/// Every query with the title of its panel, its variables replaced as Grafana does with all values chosen.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let values: BTreeMap<&str, String> = [
        ("job", "(envoy)".to_owned()),
        // The value for All: a scrape may have no such labels.
        ("namespace", ".*".to_owned()),
        ("workload", ".*".to_owned()),
        ("instance", "(.+)".to_owned()),
        ("target", format!("({})", TARGETS.join("|"))),
        // Of a scrape_interval of 15 s, it would be this.
        ("__rate_interval", "1m".to_owned()),
        ("__range", "1h".to_owned()),
    ]
    .into();
    let filled = |query: &Value| {
        let mut query = query["expr"].as_str().unwrap().to_owned();
        for (name, value) in &values {
            query = query.replace(&format!("${name}"), value);
        }
        assert!(!query.contains('$'), "{query}");
        query
    };
    let of_panel = |panel: &Value| {
        let title = panel["title"].as_str().unwrap().to_owned();
        let queries = panel["targets"].as_array().unwrap();
        assert!(!queries.is_empty(), "{title}");
        queries.iter().map(|query| (title.clone(), filled(query))).collect::<Vec<_>>()
    };
    let annotations = dashboard["annotations"]["list"].as_array().unwrap();
    let annotations = annotations.iter().map(|one| (one["name"].as_str().unwrap().to_owned(), filled(one)));
    panels(dashboard).into_iter().flat_map(of_panel).chain(annotations).collect()
}

#[tokio::test]
async fn every_query_of_every_panel_has_an_answer() {
    let Some(stage) = Stage::shared() else {
        return;
    };
    let prometheus = stage.prometheus();
    for (panel, query) in queries(&dashboard()) {
        eventually(SCRAPES, &format!("{panel}: {query}"), async || {
            let samples = prometheus.query(&query).await?;
            // What is no number would be an empty panel.
            if samples.iter().any(|sample| sample.value.is_finite()) {
                Ok(())
            } else {
                Err(format!("{samples:?}"))
            }
        })
        .await;
    }
}

#[tokio::test]
async fn it_names_only_metrics_that_envoy_has_and_needs_no_rules() {
    let Some(stage) = Stage::shared() else {
        return;
    };
    let dashboard = dashboard();
    let mut named: BTreeSet<String> = queries(&dashboard).iter().flat_map(|(_, query)| promql::metrics(query)).collect();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    for variable in variables.iter().filter(|variable| variable["type"] == "query") {
        // label_values(metric{...}, label)
        let query = variable["query"]["query"].as_str().unwrap();
        let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).unwrap();
        let (selector, label) = inner.rsplit_once(", ").unwrap();
        assert_eq!(label, variable["name"].as_str().unwrap());
        named.extend(promql::metrics(selector));
    }
    assert!(named.iter().all(|name| !name.contains(':')), "{named:?}");
    let prometheus = stage.prometheus();
    eventually(SCRAPES, "every metric of the dashboard", async || {
        let existing: BTreeSet<String> = prometheus.metrics().await?.into_iter().collect();
        let missing: BTreeSet<&String> = named.difference(&existing).collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(format!("{missing:?}"))
        }
    })
    .await;
}

#[test]
fn every_statistic_stands_in_a_panel() {
    let dashboard = dashboard();
    let named: BTreeSet<String> = queries(&dashboard).iter().flat_map(|(_, query)| promql::metrics(query)).collect();
    for metric in sidecast::observe::metrics::Metric::ALL {
        let full = metric.full_name("t");
        let name = full.strip_prefix("sidecast.t.").unwrap();
        let labelled = ["dropped", "attempt_failures"].into_iter().find(|labelled| name.starts_with(&format!("{labelled}.")));
        let name = labelled.map_or_else(|| name.replace('.', "_"), ToOwned::to_owned);
        let name = format!("sidecast_{name}");
        assert!(named.contains(&name) || named.contains(&format!("{name}_bucket")), "{name}");
    }
}

#[test]
fn it_begins_with_single_values_and_shows_small_losses_and_many_series() {
    let dashboard = dashboard();
    let panels = panels(&dashboard);
    let titles = |kind: &str| -> Vec<&str> {
        let of_kind = panels.iter().filter(|panel| panel["type"] == kind);
        of_kind.map(|panel| panel["title"].as_str().unwrap()).collect()
    };
    let first = ["Targets", "Wanted", "Delivered", "Lost", "Breakers open", "In flight", "Letters"];
    assert_eq!(titles("stat"), first);
    assert!(panels[..first.len()].iter().all(|panel| panel["type"] == "stat" && panel["gridPos"]["y"] == 1));
    let ratio = panels.iter().find(|panel| panel["title"] == "Delivery ratio").unwrap();
    let defaults = &ratio["fieldConfig"]["defaults"];
    // Otherwise 99.5 % is no different from 100 %.
    assert!(defaults["min"].is_null() && defaults["max"] == 1 && defaults["custom"]["axisSoftMin"] == 0.95, "{defaults}");
    for panel in panels.iter().filter(|panel| panel["type"] == "timeseries") {
        assert_eq!(panel["options"]["legend"]["displayMode"], "table", "{}", panel["title"]);
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<&str> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["datasource", "job", "namespace", "workload", "instance", "target"]);
    for variable in &variables[1..] {
        assert!(variable["includeAll"] == true && variable["multi"] == true, "{variable}");
    }
    // What is scraped without these labels is in All as well.
    assert!(variables[2..4].iter().all(|variable| variable["allValue"] == ".*"));
}

#[test]
fn every_panel_has_a_place_and_a_number_of_its_own_and_the_data_source_that_is_chosen() {
    let dashboard = dashboard();
    let all = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = all.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), all.len());
    let mut cells = BTreeSet::new();
    for panel in all {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|field| panel["gridPos"][field].as_u64().unwrap());
        assert!(x + w <= 24, "{}", panel["title"]);
        for cell in (x..x + w).flat_map(|column| (y..y + h).map(move |row| (column, row))) {
            assert!(cells.insert(cell), "{} overlaps", panel["title"]);
        }
    }
    for panel in panels(&dashboard) {
        let sources = panel["targets"].as_array().unwrap().iter().map(|query| &query["datasource"]).chain([&panel["datasource"]]);
        for source in sources {
            assert_eq!(source["uid"], "${datasource}", "{}", panel["title"]);
        }
    }
}

#[test]
fn what_provisions_it_fits_the_configuration_of_prometheus() {
    let sources = yaml("envoy/grafana/provisioning/datasources/prometheus.yaml");
    let source = &sources["datasources"][0];
    assert_eq!(source["type"], "prometheus");
    assert_eq!(source["jsonData"]["timeInterval"], yaml("envoy/prometheus/prometheus.yml")["global"]["scrape_interval"]);
    let providers = yaml("envoy/grafana/provisioning/dashboards/sidecast.yaml");
    assert_eq!(providers["providers"][0]["type"], "file");
    assert!(providers["providers"][0]["options"]["path"].as_str().unwrap().starts_with('/'));
}
