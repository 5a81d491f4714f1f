//! Probes the host calls that every configuration needs, before the configuration is in force. Envoy refuses calls that a
//! `capability_restriction_config` leaves out. Without the probe, copies would be lost later for no visible reason.

use super::host::{Headers, Host, HostError};
use super::metric_ids::BuildInfo;
use super::rejection::CannotRun;
use super::worker::{Worker, REFUSED, SHORTEST};
use crate::delivery::cause::Cause;

/// Returns an error for each host call that every configuration needs and that Envoy refuses.
pub(super) fn missing<H: Host>(worker: &Worker<H>, info: &BuildInfo<H>) -> Vec<CannotRun> {
    worker.quietly(|| ask(worker, info))
}

fn ask<H: Host>(worker: &Worker<H>, info: &BuildInfo<H>) -> Vec<CannotRun> {
    let host = &worker.host;
    let mut missing = Vec::new();
    let mut needs = |is_there: bool, call: &'static str, need: &'static str| {
        if !is_there {
            missing.push(CannotRun::refused(call, need));
        }
    };
    let may_be_called = |response: Result<Vec<u8>, HostError>| response != Err(HostError(REFUSED));
    needs(host.monotonic().is_ok(), "clock_time_get", "retries, batches and drains");
    needs(host.wall_clock().is_ok(), "proxy_get_current_time_nanoseconds", "dates and log lines");
    needs(host.set_tick_period(None).is_ok(), "proxy_set_tick_period_milliseconds", "retries, batches and drains");
    needs(may_be_called(host.header_pairs(Headers::Request)), "proxy_get_header_map_pairs", "reading requests");
    needs(
        may_be_called(host.header(Headers::CallResponse, ":status")),
        "proxy_get_header_map_value",
        "reading the responses of targets",
    );
    needs(
        may_be_called(host.property(&["plugin_name"])),
        "proxy_get_property",
        "seeing how the primary responded and whether the client left",
    );
    needs(
        host.http_call("", &[0; 4], &[], SHORTEST).map_err(|(refusal, _)| refusal) != Err(Cause::NoHealthyUpstream),
        "proxy_http_call",
        "sending copies",
    );
    needs(info.can_be_moved(), "proxy_increment_metric", "counters");
    needs(worker.can_record_unexpected(), "proxy_record_metric", "latencies and the state of circuit breakers");
    missing
}
