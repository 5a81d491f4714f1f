//! Reads what `/stats` of an Envoy says: as JSON (`format=json`) or as text.

use serde::Deserialize;
use serde_json::Value;

use super::latency::{Buckets, Latency};

/// The statistics of one Envoy.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Counters and gauges.
    pub(super) numbers: Vec<(String, u64)>,
    pub(super) latencies: Vec<(String, Latency)>,
}

/// Reads the pages in a text. There are several if JSON of several Envoys was put together.
///
/// # Errors
/// Says what was expected.
pub(super) fn pages(text: &str) -> Result<Vec<Page>, String> {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if text.is_empty() {
        return Err("is empty: expected the output of `/stats`".to_owned());
    }
    if text.starts_with('{') {
        return serde_json::Deserializer::from_str(text)
            .into_iter::<Json>()
            .map(|page| of_json(page.map_err(not_json)?))
            .collect();
    }
    Ok(vec![of_text(text)?])
}

fn not_json(error: serde_json::Error) -> String {
    format!("is not the output of `/stats?format=json`: {error}")
}

#[derive(Deserialize)]
struct Json {
    stats: Vec<Entry>,
}

/// A counter or gauge, or all histograms.
#[derive(Deserialize)]
struct Entry {
    name: Option<String>,
    #[serde(default)]
    value: Value,
    histograms: Option<Histograms>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Histograms {
    /// With `histogram_buckets=detailed`, or with percentiles alone.
    Named(Named),
    /// With buckets whose bounds Envoy's configuration gives. Whether they are cumulative is not said, so they are not used.
    #[allow(dead_code, reason = "tells the form apart")]
    Bounded(Vec<serde::de::IgnoredAny>),
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    details: Vec<Detail>,
    #[serde(default)]
    supported_quantiles: Vec<f64>,
    #[serde(default)]
    computed_quantiles: Vec<Computed>,
}

#[derive(Deserialize)]
struct Detail {
    name: String,
    #[serde(default)]
    totals: Vec<Bucket>,
}

#[derive(Deserialize)]
struct Bucket {
    lower_bound: f64,
    width: f64,
    count: u64,
}

#[derive(Deserialize)]
struct Computed {
    name: String,
    values: Vec<Percentile>,
}

#[derive(Deserialize)]
struct Percentile {
    cumulative: Option<f64>,
}

fn of_json(json: Json) -> Result<Page, String> {
    let mut page = Page::default();
    for entry in json.stats {
        match (entry.name, entry.histograms) {
            (Some(name), _) => {
                // Others have texts, too.
                match entry.value.as_u64() {
                    Some(number) => page.numbers.push((name, number)),
                    None if is_ours(&name) => return Err(no_number(&name, &entry.value.to_string())),
                    None => {}
                }
            }
            (None, Some(Histograms::Named(histograms))) => page.latencies.extend(latencies(histograms)),
            (None, _) => {}
        }
    }
    only_once(page)
}

fn latencies(histograms: Named) -> Vec<(String, Latency)> {
    let place = |wanted: f64| histograms.supported_quantiles.iter().position(|percent| (percent - wanted).abs() < 1e-9);
    let places = (place(50.0), place(99.0));
    let computed = histograms.computed_quantiles.into_iter().map(|computed| {
        let at = |place: Option<usize>| computed.values.get(place?)?.cumulative;
        (computed.name, of_percentiles(at(places.0), at(places.1)))
    });
    let detailed = histograms.details.into_iter().map(|detail| {
        let buckets = detail.totals.into_iter().map(|bucket| (bucket.lower_bound, bucket.width, bucket.count));
        (detail.name, of_buckets(buckets))
    });
    detailed.chain(computed).collect()
}

fn of_percentiles(p50: Option<f64>, p99: Option<f64>) -> Latency {
    // In text, a percentile that is not known is "nan".
    match (p50.filter(|value| value.is_finite()), p99.filter(|value| value.is_finite())) {
        (Some(p50), Some(p99)) => Latency::Percentiles { p50, p99 },
        _ => Latency::None,
    }
}

fn of_buckets(list: impl Iterator<Item = (f64, f64, u64)>) -> Latency {
    let mut buckets = Buckets::default();
    list.for_each(|(lower_bound, width, count)| buckets.add(lower_bound, width, count));
    if buckets.count() == 0 {
        Latency::None
    } else {
        Latency::Buckets(buckets)
    }
}

/// The longest part of somebody else's text that a message shows, in characters.
const SHOWN: usize = 60;

/// The beginning of a text, on one line and without control characters.
pub(super) fn beginning(text: &str) -> String {
    let shown = text.chars().take(SHOWN).map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char });
    let more = if text.chars().nth(SHOWN).is_some() { "..." } else { "" };
    format!("{}{more}", shown.collect::<String>())
}

/// True for a statistic of the filter.
fn is_ours(name: &str) -> bool {
    without_prefix(name).starts_with("sidecast")
}

/// The name as the filter defines it.
pub(super) fn without_prefix(name: &str) -> &str {
    name.strip_prefix("wasmcustom.").unwrap_or(name)
}

fn no_number(name: &str, value: &str) -> String {
    format!("{}: expected a whole number, found {}", beginning(name), beginning(value))
}

fn of_text(text: &str) -> Result<Page, String> {
    if text.starts_with("# TYPE") || text.starts_with("# HELP") {
        return Err("is for Prometheus: expected the output of `/stats` or `/stats?format=json`".to_owned());
    }
    let mut page = Page::default();
    // The histogram whose buckets stand on the lines below its name.
    let mut histogram: Option<&str> = None;
    for line in text.lines() {
        if let Some(part) = line.strip_prefix("  ") {
            if let (Some(name), Some(totals)) = (histogram, part.trim_start().strip_prefix("totals=")) {
                page.latencies.push((name.to_owned(), of_totals(totals).ok_or_else(|| no_number(name, totals))?));
            }
            continue;
        }
        histogram = None;
        // A name may hold colons, and what follows it may, too. Between them there is a blank.
        match line.trim_end().rsplit_once(": ").map(|(name, value)| (name, value, value.parse::<u64>())) {
            Some((name, _, Ok(number))) => page.numbers.push((name.to_owned(), number)),
            Some((name, value, Err(_))) => match of_summary(value) {
                Some(latency) => page.latencies.push((name.to_owned(), latency)),
                // A histogram without values, or with buckets in a form that is not used.
                None if value == "No recorded values" || value.starts_with('B') => {}
                None if is_ours(name) => return Err(no_number(name, value)),
                // A text, such as the name of the control plane.
                None => {}
            },
            None => histogram = line.trim_end().strip_suffix(':'),
        }
    }
    if page.numbers.is_empty() {
        return Err(format!("is neither JSON nor text from `/stats`: {:?}", beginning(text)));
    }
    only_once(page)
}

/// The percentiles of a line such as `P0(1,1) P25(1,1.05) ...`, of which the second number is that since Envoy's start.
fn of_summary(text: &str) -> Option<Latency> {
    let mut values = text.split(' ').filter_map(|part| {
        let (percent, values) = part.strip_prefix('P')?.strip_suffix(')')?.split_once('(')?;
        let (_, cumulative) = values.split_once(',')?;
        Some((percent, cumulative.parse::<f64>().ok()))
    });
    let all: Vec<(&str, Option<f64>)> = values.by_ref().collect();
    let at = |wanted: &str| all.iter().find(|(percent, _)| *percent == wanted).and_then(|(_, value)| *value);
    (!all.is_empty()).then(|| of_percentiles(at("50"), at("99")))
}

/// The buckets of a line such as `0,0:24, 2,0.1:2`: lower bound, width and count of each.
fn of_totals(text: &str) -> Option<Latency> {
    let mut buckets = Vec::new();
    for bucket in text.split(", ").filter(|bucket| !bucket.trim().is_empty()) {
        let (bounds, count) = bucket.trim().split_once(':')?;
        let (lower_bound, width) = bounds.split_once(',')?;
        buckets.push((lower_bound.parse().ok()?, width.parse().ok()?, count.parse().ok()?));
    }
    Some(of_buckets(buckets.into_iter()))
}

/// Refuses a page with a statistic of the filter that stands there twice.
fn only_once(page: Page) -> Result<Page, String> {
    let mut names: Vec<&str> = page.numbers.iter().map(|(name, _)| name.as_str()).filter(|name| is_ours(name)).collect();
    names.sort_unstable();
    match names.windows(2).find_map(|pair| pair.first().filter(|name| Some(*name) == pair.last())) {
        Some(name) => Err(format!("has {} twice: expected the statistics of one Envoy", beginning(name))),
        None => Ok(page),
    }
}
