//! `sidecast status`: tells how the targets of many Envoys are, from what their admin interfaces say.

mod json;
mod latency;
mod overview;
mod page;
mod reading;
mod source;
mod table;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use sidecast::delivery::drop_reason::DropReason;

use self::overview::{Envoy, Kind, Overview, Since, ALLOWED};
use self::page::Page;
use self::reading::Reading;
use self::source::Source;
use crate::client::{Client, Terms, Tls};

/// The longest answer of an admin interface that is read, in bytes. 32 targets have about 200 KiB.
const MAX_ANSWER: usize = 16 << 20;
/// Clears a terminal: to its first place, and away with all behind it.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Show what became of the copies in one or many Envoys
///
/// Reads the admin interfaces of all Envoys at once and adds up: what each target matched, delivered and lost, what is in flight, and whether its circuit
/// breaker is closed. Latencies are upper bounds: the bound of the bucket that holds the percentile over all Envoys. Counters count from the start of each
/// Envoy; --watch also shows them per second.
///
/// If you cannot reach an admin interface from here, save its output and pass the file: `curl 'localhost:15000/stats?format=json&histogram_buckets=detailed'`.
///
/// Exit status: 0 nothing is wrong, 1 something is (each problem has a line on standard error), 2 an Envoy cannot be read, or an argument is invalid. With
/// --watch, only what was lost, refused or unexpected since the previous reading is a problem.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Admin interfaces, such as localhost:9901 or https://10.0.0.7:9901; files with the output of `/stats`; `-` reads standard input
    #[arg(required = true, value_name = "ADMIN")]
    sources: Vec<String>,
    /// Add a table with the targets of each Envoy
    #[arg(long)]
    per_envoy: bool,
    /// Read repeatedly and show rates per second; without a number, every 2 seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "2", value_parser = seconds)]
    watch: Option<Duration>,
    /// How many times to read with --watch; without it, until you interrupt it
    #[arg(long, value_name = "NUMBER", requires = "watch", value_parser = clap::value_parser!(u64).range(1..))]
    times: Option<u64>,
    /// What is not a problem: a kind of problem, or a drop reason; several are separated by commas
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_parser = allowed())]
    allow: Vec<String>,
    /// How long each Envoy may take, such as 500ms or 5s
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    tls: Tls,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Tables
    #[default]
    Text,
    /// One JSON object; with --watch one on each line
    Json,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=3_600.0).contains(seconds));
    let seconds = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "expected seconds from 0.1 to 3600".to_owned())
}

fn allowed() -> PossibleValuesParser {
    let kinds = ALLOWED.iter().map(|(name, _)| *name);
    PossibleValuesParser::new(kinds.chain(DropReason::ALL.iter().map(|reason| reason.name())))
}

/// Tells the status. Returns the exit status.
pub(crate) fn run(arguments: &Arguments) -> u8 {
    match arguments.run() {
        Ok(status) => status,
        Err(error) => {
            tell(&format!("error: {error}"));
            2
        }
    }
}

/// Writes a line to the standard error. Nobody may be there to read it, and the exit status says it, too.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

impl Arguments {
    fn run(&self) -> Result<u8, String> {
        let sources = self.sources.iter().map(|text| Source::from_str(text)).collect::<Result<Vec<_>, _>>()?;
        let mut names: Vec<String> = sources.iter().map(Source::name).collect();
        names.sort_unstable();
        if let Some(name) = names.windows(2).find_map(|pair| pair.first().filter(|name| Some(*name) == pair.last())) {
            return Err(format!("expected each Envoy only once, found {} twice", table::visible(name)));
        }
        if self.watch.is_some() && sources.contains(&Source::Stdin) {
            return Err("`-` cannot be used with --watch: standard input can be read only once".to_owned());
        }
        let tls = self.tls.config_if(sources.iter().any(Source::is_tls))?;
        let client = Client::new(tls, Terms { timeout: self.timeout, max_body: MAX_ANSWER, ..Terms::default() });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let status = runtime.block_on(self.watch(&sources, &client));
        // A name that is being looked up cannot be given up, and need not be waited for.
        runtime.shutdown_background();
        Ok(status)
    }

    async fn watch(&self, sources: &[Source], client: &Client) -> u8 {
        let mut last: BTreeMap<String, (Instant, Reading)> = BTreeMap::new();
        let mut number = 0_u64;
        loop {
            number = number.saturating_add(1);
            let overview = read(sources, client, &mut last).await;
            let problems = overview.problems(&self.allow);
            let is_last = self.watch.is_none() || self.times.is_some_and(|times| number >= times);
            let written = self.write(&overview, &problems, number);
            // Who reads no more, as `head` does, has what is wanted.
            let unwritten = written.as_ref().err().filter(|error| error.kind() != std::io::ErrorKind::BrokenPipe);
            if let Some(error) = unwritten {
                tell(&format!("error: standard output: {error}"));
                return 2;
            }
            if is_last || written.is_err() {
                problems.iter().for_each(|problem| tell(&table::line(problem)));
                return match problems.iter().any(|problem| problem.kind == Kind::Unreachable) {
                    true => 2,
                    false => u8::from(!problems.is_empty()),
                };
            }
            tokio::time::sleep(self.watch.unwrap_or_default()).await;
        }
    }

    /// Writes the overview. Fails if nobody reads it.
    fn write(&self, overview: &Overview, problems: &[overview::Problem], number: u64) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        let is_watching = self.watch.is_some();
        if self.format == Format::Json {
            let json = json::json(overview, self.per_envoy, problems);
            let text = if is_watching { format!("{json}\n") } else { format!("{json:#}\n") };
            out.write_all(text.as_bytes())?;
            return out.flush();
        }
        // Lines on the standard error would destroy what a terminal shows.
        let shown = if is_watching && self.times.is_none() { problems } else { &[] };
        let text = table::text(overview, self.per_envoy, shown);
        if is_watching && out.is_terminal() {
            out.write_all(CLEAR.as_bytes())?;
        } else if number > 1 {
            out.write_all(b"\n")?;
        }
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

/// Reads all Envoys at once. `last` is what each said when it was last read.
async fn read(sources: &[Source], client: &Client, last: &mut BTreeMap<String, (Instant, Reading)>) -> Overview {
    let tasks: Vec<_> = sources.iter().map(|source| tokio::spawn(source.clone().read(client.clone()))).collect();
    let mut envoys = Vec::new();
    for (source, task) in sources.iter().zip(tasks) {
        let name = source.name();
        let (time, said) = task.await.unwrap_or_else(|error| (Instant::now(), Err(error.to_string())));
        match said {
            Ok(pages) => envoys.extend(of_pages(&name, pages, time, last)),
            Err(error) => envoys.push(Envoy { name, said: Err(error), since: None }),
        }
    }
    Overview { envoys }
}

fn of_pages(name: &str, pages: Vec<Page>, time: Instant, last: &mut BTreeMap<String, (Instant, Reading)>) -> Vec<Envoy> {
    let is_one = pages.len() == 1;
    let envoys = pages.into_iter().enumerate().map(|(index, page)| {
        let name = if is_one { name.to_owned() } else { format!("{name}#{}", index.saturating_add(1)) };
        let reading = Reading::new(page);
        let since = last.get(&name).map(|(before, old)| Since {
            counted: reading.since(old),
            seconds: time.saturating_duration_since(*before).as_secs_f64(),
            is_restarted: reading.is_restarted_since(old),
        });
        last.insert(name.clone(), (time, reading.clone()));
        Envoy { name, said: Ok(reading), since }
    });
    envoys.collect()
}
