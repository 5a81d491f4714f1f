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
    let mut needs = |is_there: bool, call: &'static str, without: &'static str| {
        if !is_there {
            missing.push(CannotRun::refused(call, without));
        }
    };
    let may_be_called = |response: Result<Vec<u8>, HostError>| response != Err(HostError(REFUSED));
    needs(
        host.monotonic().is_ok(),
        "clock_time_get",
        "nothing that waits is ever due: no retry, no batch, no timeout of a drain",
    );
    needs(host.wall_clock().is_ok(), "proxy_get_current_time_nanoseconds", "there are no dates, and no more than ten log lines");
    needs(
        host.set_tick_period(None).is_ok(),
        "proxy_set_tick_period_milliseconds",
        "nothing that waits is ever sent: no retry, no batch, no end of a drain",
    );
    needs(may_be_called(host.header_pairs(Headers::Request)), "proxy_get_header_map_pairs", "no request can be read");
    needs(
        may_be_called(host.header(Headers::CallResponse, ":status")),
        "proxy_get_header_map_value",
        "no response of a target can be read",
    );
    needs(
        may_be_called(host.property(&["plugin_name"])),
        "proxy_get_property",
        "nobody knows how the primary responded, or whether a client left",
    );
    needs(
        host.http_call("", &[0; 4], &[], SHORTEST).map_err(|(refusal, _)| refusal) != Err(Cause::NoHealthyUpstream),
        "proxy_http_call",
        "no copy can be sent",
    );
    needs(info.can_be_moved(), "proxy_increment_metric", "nothing is counted");
    needs(worker.can_record_unexpected(), "proxy_record_metric", "no latency is measured, and no state of a breaker is shown");
    missing
}
