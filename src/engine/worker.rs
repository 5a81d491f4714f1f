//! State that all configurations of a worker share: the host, the log throttle, and the numbers of the metrics.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use rustc_hash::FxHashMap;

use super::host::{Buffer, Headers, Host, HostError, CAS_MISMATCH};
use super::journal;
use super::unexpected::Unexpected;
use crate::delivery::cause::Cause;
use crate::http::headers::HeaderMap;
use crate::observe::log_event::{Throttle, TARGET};
use crate::observe::metrics::{Kind, Metric, UNEXPECTED};

/// The status of a host call that Envoy refuses because of a `capability_restriction_config`.
pub(super) const REFUSED: u32 = 10;

/// The shortest duration that Envoy accepts for a timeout or period.
pub(super) const SHORTEST: Duration = Duration::from_millis(1);

/// How long a level that Envoy does not log is not asked for again.
const LEVEL_KNOWN_FOR: Duration = Duration::from_millis(100);

/// The numbers of one target's metrics, each at its [`Metric::index`]. `None` if it is not defined.
pub(super) type Ids = [Cell<Option<u32>>; Metric::ALL.len()];

/// A worker's side of the host. It counts and logs failures of host calls that should not fail.
pub struct Worker<H> {
    pub(super) host: H,
    /// Shared, so that a new configuration does not reset the throttle.
    pub(super) throttle: RefCell<Throttle>,
    /// The least verbose level that Envoy was found not to log, and when that is forgotten. Asking costs a host call for each line.
    silent_from: Cell<Option<log::Level>>,
    silent_until: Cell<Duration>,
    /// The numbers of all defined metrics, by target. Envoy keeps each definition as long as the VM, even a second one of the same name. Successive
    /// configurations must therefore share them.
    pub(super) defined: RefCell<FxHashMap<String, Rc<Ids>>>,
    /// The gauge of the version and the counter of unexpected events. They are shared for the same reason.
    pub(super) build_info: Cell<Option<u32>>,
    pub(super) unexpected: Cell<Option<u32>>,
    /// True while an event is logged. Events that the logging itself causes are only counted.
    pub(super) is_told: Cell<bool>,
    /// True while host calls are probed.
    pub(super) is_quiet: Cell<bool>,
}

impl<H: Host> Worker<H> {
    /// Creates a worker that has defined no metrics yet.
    pub fn new(host: H) -> Self {
        Self {
            host,
            throttle: RefCell::default(),
            silent_from: Cell::new(None),
            silent_until: Cell::new(Duration::ZERO),
            defined: RefCell::default(),
            build_info: Cell::new(None),
            unexpected: Cell::new(None),
            is_told: Cell::new(false),
            is_quiet: Cell::new(false),
        }
    }

    /// Defines the counter of unexpected events, so that it exists with value 0 before anything happens.
    pub(super) fn define_unexpected(&self) -> Result<(), HostError> {
        if self.unexpected.get().is_none() {
            self.unexpected.set(Some(self.host.define_metric(Kind::Counter, UNEXPECTED)?));
        }
        Ok(())
    }

    /// True if the host accepts a value for the counter.
    pub(super) fn can_record_unexpected(&self) -> bool {
        self.unexpected.get().is_some_and(|counter| self.host.record_metric(counter, 0))
    }

    /// Runs a probe of host calls. Refusals during the probe are not counted.
    pub(super) fn quietly<R>(&self, run: impl FnOnce() -> R) -> R {
        let before = self.is_quiet.replace(true);
        let result = run();
        self.is_quiet.set(before);
        result
    }

    /// Counts and logs an unexpected event.
    pub fn note(&self, event: Unexpected) {
        if self.is_quiet.get() {
            return;
        }
        if let Some(counter) = self.unexpected.get() {
            self.host.increment_metric(counter, 1);
        }
        if !self.is_told.replace(true) {
            journal::unexpected(self, event);
            self.is_told.set(false);
        }
    }

    pub(super) fn monotonic(&self) -> Duration {
        let now = self.host.monotonic().unwrap_or_else(|error| {
            self.note(Unexpected::HostCall("clock_time_get", error.0));
            Duration::ZERO
        });
        if now >= self.silent_until.get() {
            self.silent_from.set(None);
            self.silent_until.set(now.saturating_add(LEVEL_KNOWN_FOR));
        }
        now
    }

    /// True if Envoy logs lines of this level. A change of Envoy's log level is seen when the clock is next read after [`LEVEL_KNOWN_FOR`], which is
    /// in the next request or response.
    pub(super) fn logs(&self, level: log::Level) -> bool {
        if self.silent_from.get().is_some_and(|silent| level >= silent) {
            return false;
        }
        let is_logged = log::log_enabled!(target: TARGET, level);
        if !is_logged {
            self.silent_from.set(Some(level));
        }
        is_logged
    }

    pub(super) fn wall_clock(&self) -> Duration {
        self.host.wall_clock().unwrap_or_else(|error| {
            self.note(Unexpected::HostCall("proxy_get_current_time_nanoseconds", error.0));
            Duration::ZERO
        })
    }

    pub(super) fn random(&self, block: &mut [u8]) -> bool {
        self.host.random(block)
    }

    pub(super) fn buffer(&self, kind: Buffer, max_size: usize) -> Result<Vec<u8>, HostError> {
        let bytes = self.host.buffer(kind, max_size);
        bytes.inspect_err(|error| self.note(Unexpected::HostCall("proxy_get_buffer_bytes", error.0)))
    }

    pub(super) fn request_headers(&self) -> Result<HeaderMap, HostError> {
        let pairs = self.host.header_pairs(Headers::Request).map(HeaderMap::new);
        pairs.inspect_err(|error| self.note(Unexpected::HostCall("proxy_get_header_map_pairs", error.0)))
    }

    pub(super) fn request_header(&self, name: &str) -> Result<Vec<u8>, HostError> {
        self.header(Headers::Request, name)
    }

    pub(super) fn response_headers(&self) -> Result<HeaderMap, HostError> {
        self.host.header_pairs(Headers::Response).map(HeaderMap::new)
    }

    pub(super) fn response_header(&self, name: &str) -> Result<Vec<u8>, HostError> {
        self.header(Headers::Response, name)
    }

    pub(super) fn response_trailer(&self, name: &str) -> Result<Vec<u8>, HostError> {
        self.header(Headers::ResponseTrailers, name)
    }

    pub(super) fn call_headers(&self) -> Result<HeaderMap, HostError> {
        self.host.header_pairs(Headers::CallResponse).map(HeaderMap::new)
    }

    pub(super) fn call_header(&self, name: &str) -> Result<Vec<u8>, HostError> {
        self.header(Headers::CallResponse, name)
    }

    pub(super) fn call_trailer(&self, name: &str) -> Result<Vec<u8>, HostError> {
        self.header(Headers::CallResponseTrailers, name)
    }

    fn header(&self, map: Headers, name: &str) -> Result<Vec<u8>, HostError> {
        self.host.header(map, name).inspect_err(|error| self.note_refusal("proxy_get_header_map_value", *error))
    }

    /// Reads a property. Returns an error if there is none.
    pub(super) fn property(&self, path: &[&str]) -> Result<Vec<u8>, HostError> {
        self.host.property(path).inspect_err(|error| self.note_refusal("proxy_get_property", *error))
    }

    /// Notes a host call that Envoy refuses. That a call finds nothing is not unexpected.
    fn note_refusal(&self, call: &'static str, error: HostError) {
        if error.0 == REFUSED {
            self.note(Unexpected::HostCall(call, error.0));
        }
    }

    pub(super) fn shared_data<'room>(&self, key: &str, room: &'room mut [u8]) -> Result<(&'room [u8], u32), HostError> {
        let value = self.host.shared_data(key, room);
        value.inspect_err(|error| self.note(Unexpected::HostCall("proxy_get_shared_data", error.0)))
    }

    pub(super) fn set_shared_data(&self, key: &str, value: &[u8], version: u32) -> Result<(), HostError> {
        self.host.set_shared_data(key, value, version).inspect_err(|error| {
            // Another worker was first.
            if *error != CAS_MISMATCH {
                self.note(Unexpected::HostCall("proxy_set_shared_data", error.0));
            }
        })
    }

    pub(super) fn http_call(&self, cluster: &str, headers: &[u8], body: &[u8], timeout: Duration) -> Result<u32, Cause> {
        self.host.http_call(cluster, headers, body, timeout).map_err(|(refusal, error)| {
            if refusal == Cause::HostError {
                self.note(Unexpected::HostCall("proxy_http_call", error.0));
            }
            refusal
        })
    }

    pub(super) fn done(&self) {
        if let Err(error) = self.host.done() {
            self.note(Unexpected::HostCall("proxy_done", error.0));
        }
    }

    pub(super) fn set_tick_period(&self, period: Option<Duration>) {
        if let Err(error) = self.host.set_tick_period(period) {
            self.note(Unexpected::HostCall("proxy_set_tick_period_milliseconds", error.0));
        }
    }
}

/// Parses a number in a header. Returns `None` if the value is missing or is not a number.
pub(super) fn number<N: std::str::FromStr>(value: Result<Vec<u8>, HostError>) -> Option<N> {
    std::str::from_utf8(&value.ok()?).ok()?.parse().ok()
}
