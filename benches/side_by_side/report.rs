//! What a run says: a Markdown table with the verdicts, and the raw rounds.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::case::{Case, Variant, Verdict};
use crate::machine::Machine;
use crate::options::Options;
use crate::round::Round;
use crate::stats::{median, quantile};
use crate::Result;

/// An Envoy's memory after its last round.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Memory {
    pub(crate) variant: Variant,
    pub(crate) rss_kib: u64,
    pub(crate) peak_kib: u64,
}

/// All that was measured in a case.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CaseReport {
    pub(crate) case: Case,
    pub(crate) rounds: Vec<Round>,
    pub(crate) memory: Vec<Memory>,
}

impl CaseReport {
    fn median(&self, variant: Variant, figure: impl Fn(&Round) -> f64) -> Option<f64> {
        let of_variant = self.rounds.iter().filter(|round| round.variant == variant);
        median(&of_variant.map(figure).collect::<Vec<f64>>())
    }

    /// CPU per request of `variant` over that of `base`, one ratio a round.
    pub(crate) fn cpu_ratios(&self, variant: Variant, base: Variant) -> Vec<f64> {
        self.cpu_of_rounds(variant, base, |cpu, base| cpu / base)
    }

    /// CPU per request of `variant` less that of `base`, in microseconds, one difference a round.
    fn cpu_differences(&self, variant: Variant, base: Variant) -> Vec<f64> {
        self.cpu_of_rounds(variant, base, |cpu, base| cpu - base)
    }

    fn cpu_of_rounds(&self, variant: Variant, base: Variant, figure: impl Fn(f64, f64) -> f64) -> Vec<f64> {
        let cpu = |number: usize, wanted: Variant| {
            let found = self.rounds.iter().find(|round| round.round == number && round.variant == wanted);
            found.map(|round| round.cpu_us)
        };
        (0..self.case.rounds).filter_map(|number| Some(figure(cpu(number, variant)?, cpu(number, base)?))).collect()
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

    /// Writes the table and the raw rounds to `directory`.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        fs::write(directory.join("table.md"), self.markdown())?;
        fs::write(directory.join("results.json"), serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }

    /// The table, with what it depends on above and the verdicts below.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        let Options { seconds, launches, rounds, connections, think_ms, .. } = self.options;
        let _ = writeln!(text, "{}: {}", self.machine.date, self.machine);
        let _ = writeln!(
            text,
            "\nRounds of {seconds} s ({rounds} a launch of Envoy; {launches} of those a case, twice as many where there is a verdict), {connections} connections, \
             {think_ms} ms between requests. Medians; ratios are medians of the ratios within a round, with their \
             quartiles.\n"
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
            let (ratio, more) = (median(&report.cpu_ratios(of, base)), median(&report.cpu_differences(of, base)));
            let (Some(ratio), Some(more)) = (ratio, more) else {
                continue;
            };
            let verdict = if ratio <= at_most { "met" } else { "MISSED" };
            verdicts.push(format!(
                "{}: CPU per request {of}/{base} {ratio:.3} ({more:+.1} us), at most {at_most:.2}: {verdict}",
                report.case.name
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
    let memory = report.memory.iter().find(|memory| memory.variant == variant);
    let mib = |kib: fn(&Memory) -> u64| figure(memory.map(|memory| kib(memory) as f64 / 1024.0), 0);
    format!(
        "| {} | {variant} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
        report.case.name,
        figure(report.median(variant, |round| round.cpu_us), 1),
        ratio(Variant::Native),
        ratio(Variant::None),
        figure(report.median(variant, |round| round.p50_us), 0),
        figure(report.median(variant, |round| round.p99_us), 0),
        figure(report.median(variant, |round| round.requests_per_second), 0),
        mib(|memory| memory.rss_kib),
        mib(|memory| memory.peak_kib),
    )
}
