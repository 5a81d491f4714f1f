//! Where the run takes place, and who gets which CPU.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{self, Command};
use std::thread;

use serde::Serialize;

use crate::options::Options;
use crate::Result;

/// What the figures depend on besides the code.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) envoy: String,
    pub(crate) cpu: String,
    pub(crate) cpus: usize,
    pub(crate) kernel: String,
    /// The CPU that only Envoy runs on, and those of everything else of this benchmark.
    pub(crate) pinned: Option<(usize, Vec<usize>)>,
}

impl Machine {
    /// Looks around, and moves this process off Envoy's CPU if there is more than one to choose from.
    pub(crate) fn look(options: &Options) -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, model)| model);
        let version = output(Command::new(&options.envoy).arg("--version"))?;
        Ok(Self {
            date: output(Command::new("date").args(["-u", "+%F"]))?,
            // PATH  version: COMMIT/VERSION/Clean/RELEASE/BoringSSL
            envoy: version.split('/').rev().nth(3).unwrap_or(&version).to_owned(),
            cpu: model.to_owned(),
            cpus: thread::available_parallelism()?.get(),
            kernel: output(Command::new("uname").args(["-s", "-r", "-m"]))?,
            pinned: if options.pin { pin()? } else { None },
        })
    }

    /// How many CPUs the load and the upstreams share.
    pub(crate) fn load_cpus(&self) -> usize {
        self.pinned.as_ref().map_or(self.cpus, |(_, others)| others.len())
    }

    /// `program`, to be started on Envoy's CPU.
    pub(crate) fn on_envoys_cpu(&self, program: &Path) -> Command {
        let Some((cpu, _)) = &self.pinned else {
            return Command::new(program);
        };
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &cpu.to_string()]).arg(program);
        command
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envoy {}; {} CPUs, {}; {}; ", self.envoy, self.cpus, self.cpu, self.kernel)?;
        match &self.pinned {
            Some((envoy, others)) => {
                write!(f, "Envoy on CPU {envoy}, load and upstreams on {others:?}")
            }
            None => write!(f, "not pinned"),
        }
    }
}

/// Keeps this process, and so the load generator it starts, off the first CPU; none if there is only one.
fn pin() -> Result<Option<(usize, Vec<usize>)>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let mut cpus = Vec::new();
    for part in allowed.ok_or("no Cpus_allowed_list in the process's status")?.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cpus.extend(first.parse::<usize>()?..=last.parse::<usize>()?);
    }
    let Some((&envoy, others)) = cpus.split_first().filter(|(_, others)| !others.is_empty()) else {
        return Ok(None);
    };
    let list: Vec<String> = others.iter().map(usize::to_string).collect();
    let pid = process::id().to_string();
    output(Command::new("taskset").args(["--all-tasks", "--cpu-list", "--pid", &list.join(","), &pid]))?;
    Ok(Some((envoy, others.to_vec())))
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|problem| format!("{command:?} does not run: {problem}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
