//! An Envoy as a process: its memory, and its end by a signal.

use std::fs;
use std::process::ExitStatus;

use rustix::process::{kill_process, Pid, Signal};
use serde_json::Value;

use crate::support::admin;
use crate::support::envoy::Envoy;
use crate::support::eventually::{eventually, PATIENCE};

/// An Envoy's memory, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Resident, by the kernel.
    pub(crate) resident: u64,
    /// The most that ever was resident.
    pub(crate) peak: u64,
    /// What Envoy's own allocator has given out; the memory of a wasm module is no part of it.
    pub(crate) allocated: u64,
}

impl Envoy {
    /// Its memory now.
    pub(crate) async fn memory(&self) -> Memory {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
        };
        let page = admin::page(self.admin, "/memory").await.unwrap();
        let page: Value = serde_json::from_str(&page).unwrap();
        let allocated = page["allocated"].as_str().unwrap().parse().unwrap();
        Memory { resident: field("VmRSS:"), peak: field("VmHWM:"), allocated }
    }

    /// Sends it SIGTERM and waits for its end.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        eventually(PATIENCE, "Envoy to end", async || self.child.try_wait().unwrap().ok_or_else(|| "it runs".to_owned())).await
    }
}
