//! How many series a target has in an Envoy, as docs/observability.md says.

use std::fs;

use serde_json::{json, Value};

use crate::prometheus::{in_clone, yaml};
use crate::support::admin;
use crate::support::bootstrap::Filter;
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::setup::Setup;

/// A row of the table: the settings of a target, and its series with Envoy's buckets and with those of the page.
struct Row {
    settings: Value,
    series: [usize; 2],
}

fn page() -> String {
    fs::read_to_string(in_clone("docs/observability.md")).unwrap()
}

fn rows() -> Vec<Row> {
    let page = page();
    let table = page.split("| settings of the target |").nth(1).unwrap().split("\n\n").next().unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let settings = serde_saphyr::from_str(cells[0].trim_matches('`')).unwrap();
        Row { settings, series: [1, 2].map(|cell| cells[cell].parse().unwrap()) }
    };
    table.lines().filter(|line| line.starts_with("| `")).map(row).collect()
}

/// The buckets of the page.
fn buckets() -> Value {
    let page = page();
    let block = page.split("```yaml\nstats_config:\n").nth(1).unwrap().split("```").next().unwrap();
    let settings: Value = serde_saphyr::from_str(block).unwrap();
    settings["histogram_bucket_settings"].clone()
}

/// The lines of each target in what Prometheus would read.
async fn series(settings: &[Value], stats: Value) -> Vec<usize> {
    let target = |(number, settings): (usize, &Value)| {
        let mut target = json!({"name": format!("t{number}"), "cluster": "works"});
        target.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        target
    };
    let targets: Vec<Value> = settings.iter().enumerate().map(target).collect();
    let setup = Setup::new().cluster("works", ([127, 0, 0, 1], 9).into()).cluster("primary", ([127, 0, 0, 1], 9).into());
    let envoy =
        setup.listener("main", Filter::json(&json!({ "targets": targets }))).with("", "stats_config", stats).start().await;
    let text = eventually(PATIENCE, "the statistics", async || {
        let text = admin::page(envoy.admin, "/stats/prometheus").await?;
        // Histograms come with the next merge.
        if text.contains("sidecast_latency_ms_count") {
            Ok(text)
        } else {
            Err("not yet".to_owned())
        }
    })
    .await;
    let of = |number| text.lines().filter(|line| line.contains(&format!("target=\"t{number}\""))).count();
    (0..settings.len()).map(of).collect()
}

#[tokio::test]
async fn a_target_has_as_many_series_as_the_documents_say() {
    let rows = rows();
    assert!(rows.len() > 5);
    let settings: Vec<Value> = rows.iter().map(|row| row.settings.clone()).collect();
    let stats = yaml("envoy/envoy.yaml")["stats_config"].clone();
    let mut few = stats.clone();
    few["histogram_bucket_settings"] = buckets();
    for (which, stats) in [stats, few].into_iter().enumerate() {
        let counted = series(&settings, stats).await;
        assert_eq!(counted, rows.iter().map(|row| row.series[which]).collect::<Vec<_>>());
    }
}
