//! What an operator sees of the filter: its statistics in a real Prometheus, the shipped rules and dashboard, traces, and log lines.
#[path = "../envoy/scene.rs"]
#[allow(dead_code)] // Shared with other tests; a part is used here.
mod scene;
#[path = "../support/mod.rs"]
#[allow(dead_code)]
mod support;

mod contract;
mod dashboard;
mod logs;
mod prometheus;
mod promql;
mod rules;
mod series;
mod stage;
mod traces;
mod traffic;
