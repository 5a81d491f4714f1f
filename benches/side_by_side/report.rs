//! What a run says: a Markdown table with the verdicts, and the raw slices.

use std::fmt::Write as _;
use std::fs;
use std::ops::Range;
use std::path::Path;

use serde::Serialize;

use crate::case::{Case, Variant, Verdict};
use crate::machine::Machine;
use crate::options::Options;
use crate::slice::Slice;
use crate::stats::{interval, median, quantile};
use crate::turns::paired;
use crate::Result;

/// What is told of a variant as a whole.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Whole {
    pub(crate) variant: Variant,
    /// Of all requests in all launches.
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    /// Memory of the last launch's Envoy after its last slice.
    pub(crate) rss_kib: u64,
    pub(crate) peak_kib: u64,
}

/// All that was measured in a case.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CaseReport {
    pub(crate) case: Case,
    /// Turns are numbered on through all launches.
    pub(crate) slices: Vec<Slice>,
    pub(crate) wholes: Vec<Whole>,
}

impl CaseReport {
    fn of(&self, variant: Variant) -> impl Iterator<Item = &Slice> {
        self.slices.iter().filter(move |slice| slice.variant == variant)
    }

    fn median(&self, variant: Variant, figure: impl Fn(&Slice) -> f64) -> Option<f64> {
        median(&self.of(variant).map(figure).collect::<Vec<f64>>())
    }

    /// CPU per request of `variant` over that of `base`, one ratio a turn.
    pub(crate) fn cpu_ratios(&self, variant: Variant, base: Variant) -> Vec<f64> {
        self.cpu_of_turns(variant, base, 0..usize::MAX, |cpu, base| cpu / base)
    }

    /// CPU per request of `variant` less that of `base`, in microseconds, one difference a turn.
    fn cpu_differences(&self, variant: Variant, base: Variant) -> Vec<f64> {
        self.cpu_of_turns(variant, base, 0..usize::MAX, |cpu, base| cpu - base)
    }

    fn cpu_of_turns(&self, variant: Variant, base: Variant, turns: Range<usize>, figure: impl Fn(f64, f64) -> f64) -> Vec<f64> {
        let cpu = |variant| self.of(variant).filter(|slice| turns.contains(&slice.turn)).map(|slice| (slice.turn, slice.cpu_us));
        paired(cpu(variant), cpu(base), figure)
    }

    /// The median of the ratios of each launch.
    pub(crate) fn launches(&self, variant: Variant, base: Variant) -> Vec<f64> {
        let turns = |launch| launch * self.case.turns..(launch + 1) * self.case.turns;
        let ratios = |launch| self.cpu_of_turns(variant, base, turns(launch), |cpu, base| cpu / base);
        (0..self.case.launches).filter_map(|launch| median(&ratios(launch))).collect()
    }
}

/// A run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    options: Options,
    pub(crate) cases: Vec<CaseReport>,
}

impl Report {
    pub(crate) fn new(options: &Options, machine: &Machine) -> Self {
        Self { machine: machine.clone(), options: options.clone(), cases: Vec::new() }
    }

    /// Writes the table and the raw slices to `directory`.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        fs::write(directory.join("table.md"), self.markdown())?;
        fs::write(directory.join("results.json"), serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }

    /// The table, with what it depends on above and the verdicts below.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        let Options { seconds, slice_ms, launches, connections, think_ms, .. } = self.options;
        let _ = writeln!(text, "{}: {}", self.machine.date, self.machine);
        let _ = writeln!(
            text,
            "\nSlices of {slice_ms} ms in turns ({seconds} s of load on each variant a launch of Envoy; launches a case: {launches}, twice as many where there \
             is a verdict), {connections} connections, {think_ms} ms between requests. Medians; ratios are medians of the ratios within a turn, with \
             their quartiles.\n"
        );
        text += "| case | variant | CPU us/request | to native | to none | p50 us | p99 us | requests/s | RSS MiB | peak MiB |\n";
        text += "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n";
        for case in &self.cases {
            for &variant in &case.case.variants {
                text += &row(case, variant);
            }
        }
        text.push('\n');
        for verdict in self.verdicts() {
            let _ = writeln!(text, "- {verdict}");
        }
        text
    }

    /// What the project asks of itself, and whether this run shows it.
    fn verdicts(&self) -> Vec<String> {
        let mut verdicts = Vec::new();
        for report in &self.cases {
            let Some(Verdict { of, base, at_most }) = report.case.verdict else {
                continue;
            };
            let ratios = report.cpu_ratios(of, base);
            let more = median(&report.cpu_differences(of, base));
            let (Some(ratio), Some([low, high]), Some(more)) = (median(&ratios), interval(&ratios), more) else {
                continue;
            };
            let verdict = if ratio <= at_most { "met" } else { "MISSED" };
            let launches: Vec<String> = report.launches(of, base).iter().map(|ratio| format!("{ratio:.3}")).collect();
            verdicts.push(format!(
                "{}: CPU per request {of}/{base} {ratio:.3} ({low:.3}-{high:.3}, {more:+.1} us), at most {at_most:.2}: {verdict}; launch by launch {}",
                report.case.name,
                launches.join(", ")
            ));
        }
        verdicts
    }
}

fn row(report: &CaseReport, variant: Variant) -> String {
    let figure = |value: Option<f64>, digits: usize| value.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
    let ratio = |base: Variant| {
        let ratios = report.cpu_ratios(variant, base);
        let quartiles = (quantile(&ratios, 0.25), median(&ratios), quantile(&ratios, 0.75));
        match quartiles {
            (Some(_), Some(_), Some(_)) if base == variant => "1".to_owned(),
            (Some(low), Some(middle), Some(high)) => format!("{middle:.2} ({low:.2}-{high:.2})"),
            _ => "-".to_owned(),
        }
    };
    let whole = report.wholes.iter().find(|whole| whole.variant == variant);
    let of_whole = |value: fn(&Whole) -> u64, unit: f64| figure(whole.map(|whole| value(whole) as f64 / unit), 0);
    format!(
        "| {} | {variant} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
        report.case.name,
        figure(report.median(variant, |slice| slice.cpu_us), 1),
        ratio(Variant::Native),
        ratio(Variant::None),
        of_whole(|whole| whole.p50_us, 1.0),
        of_whole(|whole| whole.p99_us, 1.0),
        figure(report.median(variant, |slice| slice.requests_per_second), 0),
        of_whole(|whole| whole.rss_kib, 1024.0),
        of_whole(|whole| whole.peak_kib, 1024.0),
    )
}
