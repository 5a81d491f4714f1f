//! The side-by-side benchmark: the same load on one Envoy worker without a filter, with Envoy's own mirroring, with a
//! Lua filter that does an asynchronous `httpCall`, and with Sidecast.
//!
//! All the Envoys of a case are up at once and get the load in short slices, in turns, so that whatever else the machine does hits
//! every variant alike; the figures are medians over the slices, and ratios are formed within a turn. What is measured
//! is Envoy's own CPU time, from the scheduler's nanosecond accounting: it says what a request costs, whatever the load
//! generator and the upstreams, which live in other threads on other CPUs, do meanwhile.
//!
//! `docs/benchmarks.md` says how to run it and how to read it.
mod case;
mod envoy;
mod envoy_config;
mod load;
mod machine;
mod options;
mod plan;
mod plot;
mod report;
mod slice;
mod stats;
mod turns;
mod upstreams;
mod verify;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use case::{Case, Variant};
use hdrhistogram::Histogram;
use machine::Machine;
use options::Options;
use report::{CaseReport, Report, Whole};
use slice::Side;

/// Any failure ends the run: a benchmark that went on after an error would print figures of something else.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("side_by_side: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let options = Options::from_env()?;
    let machine = Machine::look(&options)?;
    eprintln!("{machine}");
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    std::fs::create_dir_all(&out)?;

    let cases = plan::plan(&options)?;
    if options.cases == ["outage"] {
        // That is the other benchmark's.
        return Ok(());
    }
    if cases.is_empty() {
        return Err("no case is selected by SIDECAST_BENCH_CASES".into());
    }

    let mut report = Report::new(&options, &machine);
    for (index, case) in cases.iter().enumerate() {
        eprintln!("[{}/{}] {}", index + 1, cases.len(), case.name);
        report.cases.push(run_case(case, &options, &machine, &out)?);
        // After each case, so that an interrupted run leaves what it has.
        report.write(&out)?;
    }
    plot::draw(&report, &out.join("cpu-ratio.svg"))?;
    println!("{}", report.markdown());
    println!("Written: {}/{{table.md,results.json,cpu-ratio.svg}}", out.display());
    Ok(())
}

fn run_case(case: &Case, options: &Options, machine: &Machine, out: &Path) -> Result<CaseReport> {
    let slice = Duration::from_millis(options.slice_ms);
    let mut report = CaseReport { case: case.clone(), slices: Vec::new(), wholes: Vec::new() };
    let mut latencies = case.variants.iter().map(|_| histogram()).collect::<Result<Vec<_>>>()?;
    for launch in 0..case.launches {
        let mut sides = start(case, options, machine)?;
        for turn in launch * case.turns..(launch + 1) * case.turns {
            for index in turns::order(turn, sides.len()) {
                report.slices.push(sides[index].slice(turn, slice, &mut latencies[index])?);
            }
        }
        for side in &sides {
            let ratio = report.launches(side.variant, case.base()).last().map_or("-".to_owned(), |ratio| format!("{ratio:.3}"));
            eprintln!("  launch {}: {:12} {ratio} of {}", launch + 1, side.variant.to_string(), case.base());
        }
        let whole = |(side, latency)| whole(side, latency);
        report.wholes = sides.iter().zip(&latencies).map(whole).collect::<Result<_>>()?;
        if options.perf && launch + 1 == case.launches {
            profile(&mut sides, options, out)?;
        }
        for side in &sides {
            side.upstreams.drain(case.quiet())?;
            side.verify().map_err(|problem| format!("{}, {}: {problem}", case.name, side.variant))?;
        }
    }
    Ok(report)
}

/// Microseconds, to a thousandth.
fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new(3)?)
}

/// An Envoy for each variant, which has had its load for a while.
fn start<'a>(case: &'a Case, options: &Options, machine: &Machine) -> Result<Vec<Side<'a>>> {
    let start = |&variant: &Variant| Side::start(variant, case, options, machine);
    let mut sides = case.variants.iter().map(start).collect::<Result<Vec<Side<'a>>>>()?;
    for side in &mut sides {
        side.slice(0, Duration::from_secs(options.warm_up_seconds), &mut histogram()?)?;
    }
    Ok(sides)
}

fn whole(side: &Side<'_>, latency: &Histogram<u64>) -> Result<Whole> {
    let (rss_kib, peak_kib) = side.envoy.memory()?;
    let percentile = |percent| latency.value_at_percentile(percent);
    Ok(Whole { variant: side.variant, p50_us: percentile(50.0), p99_us: percentile(99.0), rss_kib, peak_kib })
}

/// Further seconds of each variant, under `perf record`.
fn profile(sides: &mut [Side<'_>], options: &Options, out: &Path) -> Result<()> {
    for side in sides {
        let data = out.join(format!("perf-{}-{}.data", side.case.file_stem(), side.variant));
        let _recording = side.envoy.perf_record(&data, options.seconds)?;
        side.slice(0, Duration::from_secs(options.seconds), &mut histogram()?)?;
        eprintln!("  profile: perf report --no-children -i {}", data.display());
    }
    Ok(())
}
