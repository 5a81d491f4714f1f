//! `sidecast replay`: sends dead letters to their targets.
//!
//! A letter is taken from its source, delivered, written into the journal, and only then acknowledged. So a replay that ends in the middle, however it
//! ends, loses none: what was under way is sent again, with the same `idempotency-key`.

mod destinations;
mod durable;
mod envelope;
mod failed;
mod filter;
mod forms;
mod journal;
mod pace;
mod queue;
mod report;
mod request;
mod run;
mod send;
mod shown;
mod source;
mod supplied;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::watch;

use self::destinations::Destinations;
use self::failed::Failed;
use self::filter::Only;
use self::journal::Journal;
use self::pace::{Pace, Rate};
use self::queue::{Address, Queue};
use self::report::{Format, Report};
use self::request::Rules;
use self::run::{Plan, Run};
use self::send::{Attempts, Clients, Success};
use self::source::Source;
use crate::client::{Client, Terms, Tls};

/// The file of failed letters, if letters come from files.
const FAILED: &str = "sidecast-replay.failed.jsonl";

/// How much of a response is read. Only its status counts.
const MAX_RESPONSE: usize = 1 << 20;

/// Send dead letters to their targets again
///
/// Letters come from files or from a RabbitMQ queue. From files, the oldest letter goes first; a queue keeps its order. A letter leaves the queue only when
/// it is delivered. What fails again stays there, unless --failed names a file for it.
///
/// The journal lists all delivered letters. If you start an interrupted replay again, it skips them.
///
/// SIGINT or SIGTERM stops the replay when the requests in flight have ended; a second one stops it at once.
///
/// Exit status: 0 all letters were sent, 1 some were not, 2 an argument is invalid, or a file or the queue cannot be read.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Files with letters, in any form that queues and their tools print; `-` reads standard input
    #[arg(value_name = "FILE", required_unless_present = "from", conflicts_with = "from")]
    files: Vec<PathBuf>,
    /// The RabbitMQ server with the letters: amqp://USER@HOST:PORT/VHOST, or amqps:// for TLS
    ///
    /// The password is taken from the environment variable SIDECAST_AMQP_PASSWORD, or from the URL, where other users of the machine can see it.
    #[arg(long, value_name = "URL", requires = "queue")]
    from: Option<String>,
    /// The queue with the letters
    #[arg(long, value_name = "NAME", requires = "from")]
    queue: Option<String>,
    /// Where letters go: a URL for all, or NAME=URL for a target or a cluster that letters name; can be repeated
    ///
    /// The path of the letter is appended to the path of the URL.
    #[arg(long, value_name = "[NAME=]URL", required_unless_present = "targets")]
    to: Vec<String>,
    /// A file with `NAME: URL` on each line
    #[arg(long, value_name = "FILE")]
    targets: Option<PathBuf>,
    /// A header to set, such as 'audit:authorization=Bearer ${TOKEN}' with an environment variable; can be repeated
    #[arg(long = "set", value_name = "[TARGET:]HEADER=VALUE")]
    set: Vec<String>,
    /// Send `[redacted]` as it is where a letter has it in place of a secret
    #[arg(long)]
    keep_redacted: bool,
    /// Which authority to send
    #[arg(long, value_enum, default_value_t)]
    authority: Authority,
    /// Statuses that count as delivered, such as 2xx,409 or 200-299
    #[arg(long, value_name = "STATUSES", default_value = "2xx")]
    success: Success,
    /// How long an attempt may take, to the last byte of the response
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// How many attempts each letter gets if it fails for a temporary reason
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    attempts: u32,
    /// How many letters are in flight at a time; 1 keeps their order
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrency: u16,
    /// The highest rate of attempts, such as 10/s, 100/m or 1000/h
    #[arg(long, value_name = "RATE")]
    rate: Option<Rate>,
    /// Send only matching letters, by target, cluster, reason, id, method, or since and until (when they were received); of several, one is enough
    #[arg(long, value_name = "KEY=VALUE[,KEY=VALUE...]")]
    only: Vec<Only>,
    /// Send at most this many letters
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u64>,
    /// Show what would be sent; send, acknowledge and write nothing
    #[arg(long)]
    dry_run: bool,
    /// The file that lists delivered letters
    #[arg(long, value_name = "FILE", default_value = "sidecast-replay.journal")]
    journal: PathBuf,
    /// The file for letters that fail again [default: sidecast-replay.failed.jsonl for letters from files; letters from a queue stay there]
    #[arg(long, value_name = "FILE")]
    failed: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    tls: Tls,
}

/// Which authority requests have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Authority {
    /// The one in the letter
    #[default]
    Letter,
    /// The one in the URL
    Url,
}

/// Replays letters. Returns the exit status.
pub(crate) fn run(arguments: &Arguments) -> u8 {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(replay(arguments)),
        Err(error) => Err(error.to_string()),
    };
    ended.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "error: {error}");
        2
    })
}

async fn replay(arguments: &Arguments) -> Result<u8, String> {
    let destinations = Destinations::new(&arguments.to, arguments.targets.as_deref())?;
    let supplied = supplied::Headers::new(&arguments.set, destinations.all.len())?;
    let address = match (&arguments.from, &arguments.queue) {
        (Some(url), Some(queue)) => Some(Address::parse(url, queue)?),
        _ => None,
    };
    let is_amqps = address.as_ref().is_some_and(|address| address.has_tls);
    let tls = arguments.tls.config_if(is_amqps || destinations.has_tls())?;
    let is_queue = address.is_some();
    let source = match address {
        Some(address) => Source::Queue(Box::new(Queue::open(address, is_amqps.then(|| tls.clone())).await?)),
        None => Source::read(&arguments.files)?,
    };
    let journal = match arguments.dry_run {
        true => Journal::read(&arguments.journal)?,
        false => Journal::open(&arguments.journal).await?,
    };
    let failed = match &arguments.failed {
        _ if arguments.dry_run => None,
        Some(path) => Some(Failed::open(path)?),
        None if is_queue => None,
        None => Some(Failed::open(FAILED.as_ref())?),
    };
    let client = |only_http2, server: &hyper::Uri| {
        let connect_to = Some(server.clone());
        Client::new(tls.clone(), Terms { timeout: arguments.timeout, max_body: MAX_RESPONSE, only_http2, connect_to })
    };
    let servers = destinations.all.iter().map(|destination| &destination.server);
    let clients = servers.map(|server| Clients { plain: client(false, server), grpc: client(true, server) }).collect();
    let plan = Plan {
        clients,
        destinations,
        rules: Rules {
            supplied,
            keeps_redacted: arguments.keep_redacted,
            authority_of_url: arguments.authority == Authority::Url,
        },
        attempts: Attempts { most: arguments.attempts, success: arguments.success.clone(), pace: Pace::new(arguments.rate) },
        only: arguments.only.clone(),
        journal,
        failed,
        concurrency: arguments.concurrency.into(),
        limit: arguments.limit,
        is_dry: arguments.dry_run,
    };
    let report = Report::new(arguments.format, source.length());
    Ok(Run::new(plan, source, report, stop_signal()?).finish().await)
}

/// Becomes true at the first SIGINT or SIGTERM. The second one ends the process.
fn stop_signal() -> Result<watch::Receiver<bool>, String> {
    let listen = |kind| signal(kind).map_err(|error| error.to_string());
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let (stop, stops) = watch::channel(false);
    tokio::spawn(async move {
        loop {
            let status = tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
            };
            if stop.send_replace(true) {
                std::process::exit(status);
            }
            let _ = writeln!(std::io::stderr(), "stopping when the requests in flight have ended; a second signal stops at once");
        }
    });
    Ok(stops)
}
