//! The side-by-side benchmark: the same load on one Envoy worker without a filter, with Envoy's own mirroring, with a
//! Lua filter that does an asynchronous `httpCall`, and with Sidecast.
//!
//! All the Envoys of a case are up at once and take turns in short rounds, so that whatever else the machine does hits
//! every variant alike; the figures are medians over the rounds, and ratios are formed within a round. What is measured
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
mod round;
mod stats;
mod upstreams;
mod verify;

use std::path::Path;
use std::process::ExitCode;

use case::{Case, Variant};
use envoy::Envoy;
use load::Script;
use machine::Machine;
use options::Options;
use report::{CaseReport, Memory, Report};
use round::Bench;
use upstreams::Upstreams;

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
    let most_targets = cases.iter().map(|case| case.targets).max().unwrap_or(0);
    let upstreams = Upstreams::start(most_targets, machine.load_cpus())?;

    let mut report = Report::new(&options, &machine);
    for (index, case) in cases.iter().enumerate() {
        eprintln!("[{}/{}] {}", index + 1, cases.len(), case.name);
        report.cases.push(run_case(case, &options, &machine, &upstreams, &out)?);
        // After each case, so that an interrupted run leaves what it has.
        report.write(&out)?;
    }
    plot::draw(&report, &out.join("cpu-ratio.svg"))?;
    println!("{}", report.markdown());
    println!("Written: {}/{{table.md,results.json,cpu-ratio.svg}}", out.display());
    Ok(())
}

fn run_case(case: &Case, options: &Options, machine: &Machine, upstreams: &Upstreams, out: &Path) -> Result<CaseReport> {
    let script = Script::write(case, options)?;
    upstreams.inspect(case.inspected());
    let bench = Bench { case, options, upstreams, script: &script };
    let mut report = CaseReport { case: case.clone(), rounds: Vec::new(), memory: Vec::new() };
    let per_launch = case.rounds / case.launches;
    for launch in 0..case.launches {
        let envoys = start(&bench, machine)?;
        for number in launch * per_launch..(launch + 1) * per_launch {
            for index in case::order(number, envoys.len()) {
                let (variant, envoy) = &envoys[index];
                let mut measured = bench.round(*variant, envoy, options.seconds)?;
                measured.round = number;
                eprintln!("  {measured}");
                report.rounds.push(measured);
            }
        }
        report.memory = envoys.iter().map(memory).collect::<Result<_>>()?;
        if options.perf && launch + 1 == case.launches {
            profile(&bench, &envoys, out)?;
        }
    }
    Ok(report)
}

/// An Envoy for each variant, which has had its load for a while.
fn start(bench: &Bench<'_>, machine: &Machine) -> Result<Vec<(Variant, Envoy)>> {
    let Bench { case, options, upstreams, .. } = bench;
    let start = |&variant: &Variant| Ok((variant, Envoy::start(variant, case, options, machine, upstreams)?));
    let envoys = case.variants.iter().map(start).collect::<Result<Vec<(Variant, Envoy)>>>()?;
    for (variant, envoy) in &envoys {
        bench.round(*variant, envoy, options.warm_up_seconds)?;
    }
    Ok(envoys)
}

fn memory((variant, envoy): &(Variant, Envoy)) -> Result<Memory> {
    let (rss_kib, peak_kib) = envoy.memory()?;
    Ok(Memory { variant: *variant, rss_kib, peak_kib })
}

/// One further round of each variant, under `perf record`.
fn profile(bench: &Bench<'_>, envoys: &[(Variant, Envoy)], out: &Path) -> Result<()> {
    for (variant, envoy) in envoys {
        let data = out.join(format!("perf-{}-{variant}.data", bench.case.file_stem()));
        let _recording = envoy.perf_record(&data, bench.options.seconds)?;
        bench.round(*variant, envoy, bench.options.seconds)?;
        eprintln!("  profile: perf report --no-children -i {}", data.display());
    }
    Ok(())
}
