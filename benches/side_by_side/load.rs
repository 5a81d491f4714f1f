//! The load: `wrk` on a fixed number of connections, told by a Lua script what to send and how to report.

use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;

use serde::Deserialize;
use tempfile::NamedTempFile;

use crate::case::Case;
use crate::options::Options;
use crate::Result;

/// Headers such as a service inside a mesh sees; `wrk` itself sends only `host`.
const HEADERS: [(&str, &str); 7] = [
    ("accept", "application/json"),
    ("accept-encoding", "gzip, deflate, br"),
    ("authorization", "Bearer 0123456789abcdef0123456789abcdef"),
    ("content-type", "application/json"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("user-agent", "orders/1.4.2"),
    ("x-user-id", "c0ffee"),
];

/// Marks the report in `wrk`'s output.
const MARK: &str = "side_by_side:";

/// What `wrk` saw in one round.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Load {
    pub(crate) requests: u64,
    pub(crate) duration_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Connects, reads, writes and time-outs that failed, and statuses from 400.
    pub(crate) errors: u64,
}

/// The script of one case.
pub(crate) struct Script {
    file: NamedTempFile,
}

impl Script {
    pub(crate) fn write(case: &Case, options: &Options) -> Result<Self> {
        let mut file = tempfile::Builder::new().suffix(".lua").tempfile()?;
        for (name, value) in HEADERS {
            writeln!(file, "wrk.headers[\"{name}\"] = \"{value}\"")?;
        }
        if !case.body.is_empty() {
            writeln!(file, "wrk.method = \"POST\"")?;
            // Between such brackets everything stands for itself.
            file.write_all(b"wrk.body = [==[")?;
            file.write_all(&case.body)?;
            writeln!(file, "]==]")?;
        }
        if options.think_ms > 0 {
            // Spread around the mean: connections in step would make bursts.
            let longest = 2 * options.think_ms;
            writeln!(file, "function delay() return math.random(0, {longest}) end")?;
        }
        writeln!(
            file,
            r#"function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\n{MARK}{{"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"errors":%d}}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.timeout + e.status))
end"#
        )?;
        file.flush()?;
        Ok(Self { file })
    }

    /// Loads `listener` for `seconds`.
    pub(crate) fn run(&self, listener: SocketAddr, seconds: u64, options: &Options) -> Result<Load> {
        let output = Command::new("wrk")
            .args(["-t1", &format!("-c{}", options.connections), &format!("-d{seconds}s"), "-s"])
            .arg(self.file.path())
            .arg(format!("http://{listener}/orders?source=web"))
            .output()
            .map_err(|problem| format!("wrk does not run ({problem}); install it, such as by apt-get install wrk"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let report = text.lines().find_map(|line| line.strip_prefix(MARK));
        let report =
            report.ok_or_else(|| format!("wrk ended without a report:\n{text}{}", String::from_utf8_lossy(&output.stderr)))?;
        Ok(serde_json::from_str(report)?)
    }
}
