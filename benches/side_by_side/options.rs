//! What a run does, from environment variables: `cargo bench` leaves no other way that reads well in a Makefile.

use std::env;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Serialize;

use crate::case::Variant;
use crate::Result;

/// The settings of one run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Options {
    /// The Envoy binary (`ENVOY`).
    pub(crate) envoy: PathBuf,
    /// The compiled filter (`SIDECAST_WASM`).
    pub(crate) wasm: PathBuf,
    /// The mirror that is written with the SDK (`PLAIN_FILTER_WASM`).
    pub(crate) plain_filter: PathBuf,
    /// Seconds of load on each variant in a launch (`SIDECAST_BENCH_SECONDS`).
    pub(crate) seconds: u64,
    /// Milliseconds of load on a variant until the next has its turn (`SIDECAST_BENCH_SLICE_MS`).
    pub(crate) slice_ms: u64,
    /// Seconds of load before the first turn, per variant (`SIDECAST_BENCH_WARM_UP`): connections are made, caches and the
    /// allocator fill. V8 has nothing to learn: Envoy has it compile the whole module at its start.
    pub(crate) warm_up_seconds: u64,
    /// How often the Envoys of a case are started anew (`SIDECAST_BENCH_LAUNCHES`): a process is faster or slower than another of its kind for
    /// all of its life. A case with a verdict is started twice as often.
    pub(crate) launches: usize,
    /// Connections of the load generator (`SIDECAST_BENCH_CONNECTIONS`).
    pub(crate) connections: u64,
    /// Milliseconds a connection waits between a response and its next request (`SIDECAST_BENCH_THINK_MS`). 0: none,
    /// which keeps Envoy busy all the time.
    pub(crate) think_ms: u64,
    /// Only cases whose name contains one of these, comma-separated (`SIDECAST_BENCH_CASES`).
    pub(crate) cases: Vec<String>,
    /// Only these variants, comma-separated (`SIDECAST_BENCH_VARIANTS`): by default all but `sdk` and
    /// `native-again`.
    pub(crate) variants: Vec<Variant>,
    /// Whether Envoy gets a CPU of its own (`SIDECAST_BENCH_PIN`, 1 or 0).
    pub(crate) pin: bool,
    /// Whether as many further seconds of load per variant are run under `perf record` (`SIDECAST_BENCH_PERF`, 1 or 0).
    pub(crate) perf: bool,
}

impl Options {
    pub(crate) fn from_env() -> Result<Self> {
        let variants = match list("SIDECAST_BENCH_VARIANTS").as_slice() {
            [] => Variant::ALL.into_iter().filter(|variant| !matches!(variant, Variant::Sdk | Variant::NativeAgain)).collect(),
            names => names.iter().map(|name| name.parse()).collect::<Result<_>>()?,
        };
        let options = Self {
            envoy: setting("ENVOY", in_clone("target/envoy/1.40.0/envoy"))?,
            wasm: setting("SIDECAST_WASM", in_clone("dist/sidecast.wasm"))?,
            plain_filter: setting("PLAIN_FILTER_WASM", in_clone("target/plain_filter.wasm"))?,
            seconds: setting("SIDECAST_BENCH_SECONDS", 3)?,
            slice_ms: setting("SIDECAST_BENCH_SLICE_MS", 100)?,
            warm_up_seconds: setting("SIDECAST_BENCH_WARM_UP", 1)?,
            launches: setting("SIDECAST_BENCH_LAUNCHES", 2)?,
            connections: setting("SIDECAST_BENCH_CONNECTIONS", 16)?,
            think_ms: setting("SIDECAST_BENCH_THINK_MS", 0)?,
            cases: list("SIDECAST_BENCH_CASES"),
            pin: setting("SIDECAST_BENCH_PIN", 1)? != 0,
            perf: setting("SIDECAST_BENCH_PERF", 0)? != 0,
            variants,
        };
        let numbers = [options.seconds, options.slice_ms, options.warm_up_seconds, options.launches as u64, options.connections];
        if numbers.contains(&0) {
            return Err("seconds, slice, warm-up, launches and connections start at 1".into());
        }
        if !options.envoy.is_file() {
            return Err(format!("{} is no Envoy binary; name one in ENVOY", options.envoy.display()).into());
        }
        if options.variants.iter().any(|variant| matches!(variant, Variant::OneRule | Variant::Sidecast))
            && !options.wasm.is_file()
        {
            return Err(format!("{} is missing; `make build` makes it", options.wasm.display()).into());
        }
        if options.variants.contains(&Variant::Sdk) && !options.plain_filter.is_file() {
            return Err(format!("{} is missing; `make plain-filter` makes it", options.plain_filter.display()).into());
        }
        Ok(options)
    }

    /// How many turns a launch has: as many slices as fill its seconds, and one at least.
    pub(crate) fn turns(&self) -> usize {
        (self.seconds * 1000 / self.slice_ms).max(1) as usize
    }
}

fn in_clone(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn setting<T: FromStr<Err: Display>>(name: &str, default: T) -> Result<T> {
    match env::var(name) {
        Ok(text) if !text.is_empty() => text.parse().map_err(|problem| format!("{name}={text}: {problem}").into()),
        _ => Ok(default),
    }
}

fn list(name: &str) -> Vec<String> {
    let text = env::var(name).unwrap_or_default();
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}
