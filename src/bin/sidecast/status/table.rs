//! The table.

use comfy_table::{presets, CellAlignment, Table};

use super::overview::{reasons, Overview, Problem, Row};
use super::reading::Target;

/// A column, and what it shows of a row.
struct Column {
    title: &'static str,
    /// It is left out if it is 0 in all rows.
    is_optional: bool,
    cell: fn(&Row<'_>) -> String,
}

const fn counter(title: &'static str, cell: fn(&Row<'_>) -> String) -> Column {
    Column { title, is_optional: true, cell }
}

const fn always(title: &'static str, cell: fn(&Row<'_>) -> String) -> Column {
    Column { title, is_optional: false, cell }
}

const COLUMNS: [Column; 12] = [
    always("matched", |row| row.total.get("matched").to_string()),
    counter("sampled out", |row| row.total.get("sampled_out").to_string()),
    counter("not triggered", |row| row.total.get("not_triggered").to_string()),
    always("delivered", |row| row.total.get("delivered").to_string()),
    always("lost", |row| row.total.lost_in_all().to_string()),
    counter("letters", |row| row.total.get("dead_lettered").to_string()),
    counter("mismatches", |row| row.total.mismatches().to_string()),
    always("in flight", |row| row.total.get("inflight").to_string()),
    always("queued", |row| row.total.get("queued").to_string()),
    always("p50 ms", |row| row.total.latency.shown(50)),
    always("p99 ms", |row| row.total.latency.shown(99)),
    always("breaker", |row| row.total.breaker.shown()),
];

const RATES: [Column; 3] = [
    always("matched/s", |row| row.rates.map_or_else(dash, |rates| rate(rates.matched))),
    always("delivered/s", |row| row.rates.map_or_else(dash, |rates| rate(rates.delivered))),
    always("lost/s", |row| row.rates.map_or_else(dash, |rates| rate(rates.lost))),
];

fn dash() -> String {
    "-".to_owned()
}

fn rate(rate: f64) -> String {
    format!("{rate:.1}")
}

/// The overview as text.
pub(super) fn text(overview: &Overview, per_envoy: bool, problems: &[Problem]) -> String {
    let mut text = head(overview);
    let sums = overview.rows();
    if !sums.is_empty() {
        text.push('\n');
        text.push_str(&table(&sums, false));
    }
    if per_envoy && !sums.is_empty() {
        text.push('\n');
        text.push_str(&table(&overview.rows_per_envoy(), true));
    }
    let lost: Vec<(&str, &Target)> =
        sums.iter().map(|row| (row.target, &row.total)).filter(|(_, total)| total.lost_in_all() > 0).collect();
    if !lost.is_empty() {
        text.push_str("\nLost since these Envoys started, by reason:\n");
        for (name, total) in lost {
            text.push_str(&format!("  {}: {}\n", visible(name), visible(&reasons(&total.lost()))));
        }
    }
    if sums.iter().any(|row| row.total.latency.shown(50) == "?") {
        text.push_str(
            "\n?: percentiles of several Envoys cannot be combined. Save the statistics with `histogram_buckets=detailed`.\n",
        );
    }
    if !problems.is_empty() {
        text.push('\n');
        problems.iter().for_each(|problem| text.push_str(&format!("{}\n", line(problem))));
    }
    text
}

/// A problem on one line.
pub(super) fn line(problem: &Problem) -> String {
    let subject = problem.target.as_deref().or(problem.envoy.as_deref()).unwrap_or_default();
    format!("{}: {}", visible(subject), visible(&problem.message))
}

fn head(overview: &Overview) -> String {
    let readings = || overview.envoys.iter().filter_map(|envoy| envoy.reading());
    let count = |number: usize, what: &str| (number > 0).then(|| format!("{number} {what}"));
    let without = readings().filter(|reading| !reading.has_filter).count();
    let restarted = overview.envoys.iter().filter(|envoy| envoy.since.as_ref().is_some_and(|since| since.is_restarted)).count();
    let silent = overview.envoys.len().saturating_sub(readings().count());
    let mut versions: Vec<&str> = readings().flat_map(|reading| &reading.versions).map(String::as_str).collect();
    versions.sort_unstable();
    versions.dedup();
    let plural = if overview.envoys.len() == 1 { "Envoy" } else { "Envoys" };
    let parts = [
        Some(format!("{} {plural}", overview.envoys.len())),
        count(silent, "not reached"),
        count(without, "without the filter"),
        count(restarted, "restarted since the last reading"),
        (!versions.is_empty()).then(|| format!("version {}", visible(&versions.join(" and ")))),
    ];
    format!("{}\n", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

fn table(rows: &[Row<'_>], with_envoys: bool) -> String {
    let mut columns = vec![always("target", |row| visible(row.target))];
    if with_envoys {
        columns.push(always("Envoy", |row| visible(row.envoy.unwrap_or_default())));
    }
    let left = columns.len();
    let is_shown = |column: &Column| !column.is_optional || rows.iter().any(|row| (column.cell)(row) != "0");
    columns.extend(COLUMNS.into_iter().filter(is_shown));
    if rows.iter().any(|row| row.rates.is_some()) {
        columns.extend(RATES);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(columns.iter().map(|column| column.title));
    rows.iter().for_each(|row| {
        table.add_row(columns.iter().map(|column| (column.cell)(row)));
    });
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if index >= left {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A text without control characters that a terminal would obey.
pub(super) fn visible(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char }).collect()
}
