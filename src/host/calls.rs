//! Every host call, with its status read as a value: none of them can fail other than by an error or a default.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::ptr::{null, null_mut};
use std::time::Duration;

use super::abi::{self, Status};
use super::unexpected::{self, Unexpected};
use crate::delivery::outcome::Refusal;
use crate::http::headers::HeaderMap;
use crate::observe::log_event::Level;
use crate::observe::metrics::Kind;

/// A host call answered with a status that is no success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HostError(pub(super) u32);

/// Another worker has replaced the version of shared data that was to be replaced.
pub(super) const CAS_MISMATCH: HostError = HostError(Status::CAS_MISMATCH.0);

/// The buffers that we read.
#[derive(Clone, Copy)]
pub(super) enum Buffer {
    RequestBody = 0,
    AnswerBody = 1,
    CallBody = 4,
    PluginConfiguration = 7,
}

const REQUEST_HEADERS: u32 = 0;
const ANSWER_HEADERS: u32 = 2;
const ANSWER_TRAILERS: u32 = 3;
const CALL_HEADERS: u32 = 6;
const CALL_TRAILERS: u32 = 7;
/// An empty header map, serialized.
const NO_TRAILERS: [u8; 4] = [0; 4];
const CRITICAL: u32 = 5;
/// WASI's number of the clock.
const MONOTONIC: u32 = 1;

thread_local! {
    /// Memory that the host may fill in place of memory of its own, and its size: what is read in every request need not be allocated.
    static LOAN: Cell<Option<(*mut u8, usize)>> = const { Cell::new(None) };
}

/// The memory that was lent, if it is there and large enough. It is lent once.
pub(super) fn lent(size: usize) -> Option<*mut u8> {
    let (data, room) = LOAN.take()?;
    (size <= room).then_some(data)
}

/// Makes a panic that should not be leave a line in Envoy's log before it traps.
pub(super) fn report_panics() {
    std::panic::set_hook(Box::new(|panic| write_log(CRITICAL, &panic.to_string())));
}

/// Writes a line to Envoy's log.
pub(super) fn log(level: Level, line: &str) {
    write_log(level as u32, line);
}

fn write_log(level: u32, line: &str) {
    // SAFETY: the host only reads the line, during the call.
    let status = unsafe { abi::proxy_log(level, line.as_ptr(), line.len()) };
    expect_ok("proxy_log", status);
}

/// True when Envoy would write lines of that level.
pub(super) fn is_logged(level: Level) -> bool {
    let mut least = 0;
    // SAFETY: the host writes one number during the call.
    let status = unsafe { abi::proxy_get_log_level(&mut least) };
    status != Status::OK || level as u32 >= least
}

/// A clock that is never set, from some start.
pub(super) fn monotonic() -> Duration {
    try_monotonic().unwrap_or_else(|error| {
        unexpected::note(Unexpected::HostCall("clock_time_get", error.0));
        Duration::ZERO
    })
}

/// The same, or the host's error.
pub(super) fn try_monotonic() -> Result<Duration, HostError> {
    let mut nanoseconds = 0;
    // SAFETY: the host writes one number during the call.
    match unsafe { abi::clock_time_get(MONOTONIC, 1, &mut nanoseconds) } {
        0 => Ok(Duration::from_nanos(nanoseconds)),
        error => Err(HostError(error)),
    }
}

/// The wall clock, from 1970.
pub(super) fn wall_clock() -> Duration {
    try_wall_clock().unwrap_or_else(|error| {
        unexpected::note(Unexpected::HostCall("proxy_get_current_time_nanoseconds", error.0));
        Duration::ZERO
    })
}

/// The same, or the host's error.
pub(super) fn try_wall_clock() -> Result<Duration, HostError> {
    let mut nanoseconds = 0;
    // SAFETY: the host writes one number during the call.
    match unsafe { abi::proxy_get_current_time_nanoseconds(&mut nanoseconds) } {
        Status::OK => Ok(Duration::from_nanos(nanoseconds)),
        status => Err(HostError(status.0)),
    }
}

/// Counts a status other than success of a call that cannot fail.
fn expect_ok(call: &'static str, status: Status) {
    if status != Status::OK {
        unexpected::note(Unexpected::HostCall(call, status.0));
    }
}

/// Fills the block with random bytes; false when the host has none.
pub(super) fn random(block: &mut [u8]) -> bool {
    // SAFETY: the host writes into the block, during the call.
    unsafe { abi::random_get(block.as_mut_ptr(), block.len()) == 0 }
}

/// The value of one of the VM's environment variables, if it is there and is text. The C library's own way ends the VM when the
/// host refuses, as Envoy does where a `capability_restriction_config` leaves these calls out.
pub(super) fn environment_variable(name: &str) -> Option<String> {
    let (mut count, mut size) = (0, 0);
    // SAFETY: the host writes two numbers during the call.
    if unsafe { abi::environ_sizes_get(&mut count, &mut size) } != 0 {
        return None;
    }
    let mut entries = vec![null_mut(); count];
    let mut text = vec![0_u8; size];
    // SAFETY: the host fills both blocks, which are as large as it asked for, during the call.
    if unsafe { abi::environ_get(entries.as_mut_ptr(), text.as_mut_ptr()) } != 0 {
        return None;
    }
    text.split(|byte| *byte == 0).find_map(|entry| {
        let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        String::from_utf8(value.to_vec()).ok()
    })
}

/// True when the host refuses to hand over the VM's environment variables.
pub(super) fn refuses_environment() -> bool {
    let (mut count, mut size) = (0, 0);
    // SAFETY: the host writes two numbers during the call.
    if unsafe { abi::environ_sizes_get(&mut count, &mut size) } != 0 {
        return true;
    }
    let mut entries = vec![null_mut(); count];
    let mut text = vec![0_u8; size];
    // SAFETY: as in `environment_variable`.
    unsafe { abi::environ_get(entries.as_mut_ptr(), text.as_mut_ptr()) != 0 }
}

/// Up to `max_size` bytes of a buffer, from its start.
pub(super) fn buffer(kind: Buffer, max_size: usize) -> Result<Vec<u8>, HostError> {
    // SAFETY: the host fills in a block that it had from `proxy_on_memory_allocate`.
    let bytes = handed_over(|data, size| unsafe { abi::proxy_get_buffer_bytes(kind as u32, 0, max_size, data, size) });
    bytes.inspect_err(|error| unexpected::note(Unexpected::HostCall("proxy_get_buffer_bytes", error.0)))
}

/// All headers of the request at hand.
pub(super) fn request_headers() -> Result<HeaderMap, HostError> {
    all_of(REQUEST_HEADERS).inspect_err(|error| unexpected::note(Unexpected::HostCall("proxy_get_header_map_pairs", error.0)))
}

/// The request's headers as the host hands them over.
pub(super) fn header_pairs() -> Result<Vec<u8>, HostError> {
    // SAFETY: as in `buffer`.
    handed_over(|data, size| unsafe { abi::proxy_get_header_map_pairs(REQUEST_HEADERS, data, size) })
}

/// All headers of the primary's answer at hand.
pub(super) fn answer_headers() -> Result<HeaderMap, HostError> {
    all_of(ANSWER_HEADERS)
}

fn all_of(map: u32) -> Result<HeaderMap, HostError> {
    // SAFETY: as in `buffer`.
    handed_over(|data, size| unsafe { abi::proxy_get_header_map_pairs(map, data, size) }).map(HeaderMap::new)
}

/// A header of the primary's answer at hand; empty when there is none.
pub(super) fn answer_header(name: &str) -> Result<Vec<u8>, HostError> {
    value_of(ANSWER_HEADERS, name)
}

/// A trailer of the primary's answer at hand; empty when there is none.
pub(super) fn answer_trailer(name: &str) -> Result<Vec<u8>, HostError> {
    value_of(ANSWER_TRAILERS, name)
}

/// A header of the answer to the call that has just ended; empty when there is none.
pub(super) fn call_header(name: &str) -> Result<Vec<u8>, HostError> {
    value_of(CALL_HEADERS, name)
}

/// A trailer of the answer to the call that has just ended; empty when there is none.
pub(super) fn call_trailer(name: &str) -> Result<Vec<u8>, HostError> {
    value_of(CALL_TRAILERS, name)
}

/// A number in a header; none when it is none.
pub(super) fn number<N: std::str::FromStr>(value: Result<Vec<u8>, HostError>) -> Option<N> {
    std::str::from_utf8(&value.ok()?).ok()?.parse().ok()
}

fn value_of(map: u32, name: &str) -> Result<Vec<u8>, HostError> {
    handed_over(|data, size| {
        // SAFETY: the name is read during the call; the rest as in `buffer`.
        let status = unsafe { abi::proxy_get_header_map_value(map, name.as_ptr(), name.len(), data, size) };
        expect_allowed("proxy_get_header_map_value", status);
        status
    })
}

/// Counts a call that the host refuses as such; that it finds nothing is no surprise.
fn expect_allowed(call: &'static str, status: Status) {
    if status == Status::INTERNAL_FAILURE {
        expect_ok(call, status);
    }
}

/// A property of Envoy by its path; an error when there is none.
pub(super) fn property<S: AsRef<str>>(path: &[S]) -> Result<Vec<u8>, HostError> {
    let path = path.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join("\0");
    let mut data = null_mut();
    let mut size = 0;
    // SAFETY: the path is read during the call; the rest as in `handed_over`.
    match unsafe { abi::proxy_get_property(path.as_ptr(), path.len(), &mut data, &mut size) } {
        Status::OK if data.is_null() => Ok(Vec::new()),
        // SAFETY: as in `handed_over`.
        Status::OK => Ok(unsafe { Vec::from_raw_parts(data, size, size) }),
        status => {
            expect_allowed("proxy_get_property", status);
            Err(HostError(status.0))
        }
    }
}

/// Runs a host call that hands over a block of memory.
fn handed_over(call: impl FnOnce(*mut *mut u8, *mut usize) -> Status) -> Result<Vec<u8>, HostError> {
    let mut data = null_mut();
    let mut size = 0;
    match call(&mut data, &mut size) {
        Status::OK | Status::NOT_FOUND if data.is_null() => Ok(Vec::new()),
        Status::OK => {
            // SAFETY: `data` is what `proxy_on_memory_allocate` gave for `size` bytes, and is ours from here on.
            Ok(unsafe { Vec::from_raw_parts(data, size, size) })
        }
        status => Err(HostError(status.0)),
    }
}

/// Reads a value of shared data into `room`, and gives it with the number of its version; empty when there is none. A value that is longer
/// than the room is read as empty too.
pub(super) fn shared_data<'room>(key: &str, room: &'room mut [u8]) -> Result<(&'room [u8], u32), HostError> {
    let (lent, length) = (room.as_mut_ptr(), room.len());
    let mut version = 0;
    let mut data = null_mut();
    let mut size = 0;
    LOAN.set(Some((lent, length)));
    // SAFETY: the key is read, and three numbers written, during the call; the host fills in what was lent, of which nothing else is
    // known to it, or a block that it had from `proxy_on_memory_allocate`.
    let status = unsafe { abi::proxy_get_shared_data(key.as_ptr(), key.len(), &mut data, &mut size, &mut version) };
    LOAN.set(None);
    match status {
        Status::OK if data == lent => Ok((room.get(..size).unwrap_or_default(), version)),
        Status::OK if data.is_null() => Ok((&[], version)),
        Status::OK => {
            // SAFETY: as in `handed_over`.
            drop(unsafe { Vec::from_raw_parts(data, size, size) });
            Ok((&[], version))
        }
        Status::NOT_FOUND => Ok((&[], 0)),
        status => {
            unexpected::note(Unexpected::HostCall("proxy_get_shared_data", status.0));
            Err(HostError(status.0))
        }
    }
}

/// Replaces a version of a value of shared data, or any, if that is 0.
pub(super) fn set_shared_data(key: &str, value: &[u8], version: u32) -> Result<(), HostError> {
    // SAFETY: key and value are read during the call.
    match unsafe { abi::proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), version) } {
        Status::OK => Ok(()),
        // Another worker was first.
        status @ Status::CAS_MISMATCH => Err(HostError(status.0)),
        status => {
            unexpected::note(Unexpected::HostCall("proxy_set_shared_data", status.0));
            Err(HostError(status.0))
        }
    }
}

/// The shortest time that Envoy takes for a bound.
pub(super) const SHORTEST: Duration = Duration::from_millis(1);

/// Starts a call to a cluster. The headers are serialized; the timeout is at least 1 ms, because less means none to Envoy.
pub(super) fn http_call(cluster: &str, headers: &[u8], body: &[u8], timeout: Duration) -> Result<u32, Refusal> {
    let timeout_ms = timeout.as_millis().clamp(1, 0x7fff_ffff);
    let body_data = if body.is_empty() { null() } else { body.as_ptr() };
    let mut token = 0;
    // SAFETY: the host reads all blocks during the call, and writes one number.
    let status = unsafe {
        abi::proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            headers.as_ptr(),
            headers.len(),
            body_data,
            body.len(),
            NO_TRAILERS.as_ptr(),
            NO_TRAILERS.len(),
            u32::try_from(timeout_ms).unwrap_or(u32::MAX),
            &mut token,
        )
    };
    match status {
        Status::OK => Ok(token),
        // Also for a request without method, path or authority, which no complete request is, and for more headers than
        // Envoy takes, which `shape` finds first.
        Status::BAD_ARGUMENT => Err(Refusal::UnknownCluster),
        Status::INTERNAL_FAILURE => Err(Refusal::NoHealthyUpstream),
        status => {
            unexpected::note(Unexpected::HostCall("proxy_http_call", status.0));
            Err(Refusal::HostError)
        }
    }
}

/// Defines a metric, or finds it if it is there already.
pub(super) fn define_metric(kind: Kind, name: &str) -> Result<u32, HostError> {
    let mut id = 0;
    // SAFETY: the name is read, and one number written, during the call.
    match unsafe { abi::proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &mut id) } {
        Status::OK => Ok(id),
        status => Err(HostError(status.0)),
    }
}

/// Moves a counter or a gauge. True when the host did.
pub(super) fn increment_metric(id: u32, offset: i64) -> bool {
    // SAFETY: plain numbers.
    unsafe { abi::proxy_increment_metric(id, offset) == Status::OK }
}

/// Adds a value to a histogram, or sets a gauge. True when the host did.
pub(super) fn record_metric(id: u32, value: u64) -> bool {
    // SAFETY: plain numbers.
    unsafe { abi::proxy_record_metric(id, value) == Status::OK }
}

/// Lets the root tick so often; never, if there is no period. Less than a millisecond would mean never to Envoy.
pub(super) fn set_tick_period(period: Option<Duration>) {
    if let Err(error) = try_set_tick_period(period) {
        unexpected::note(Unexpected::HostCall("proxy_set_tick_period_milliseconds", error.0));
    }
}

/// The same, or the host's error.
pub(super) fn try_set_tick_period(period: Option<Duration>) -> Result<(), HostError> {
    let millis = period.map_or(0, |period| period.as_millis().clamp(1, 0x7fff_ffff));
    // SAFETY: a plain number.
    match unsafe { abi::proxy_set_tick_period_milliseconds(u32::try_from(millis).unwrap_or(u32::MAX)) } {
        Status::OK => Ok(()),
        status => Err(HostError(status.0)),
    }
}

/// Tells Envoy that a root that was not done is done now.
pub(super) fn done() {
    // SAFETY: no arguments.
    let status = unsafe { abi::proxy_done() };
    expect_ok("proxy_done", status);
}
