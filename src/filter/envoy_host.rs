//! Every host call, with its status as a return value. No call fails in any other way than by an error or a default value.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::ptr::{null, null_mut};
use std::time::Duration;

use super::abi::{self, Status};
use crate::delivery::cause::Cause;
use crate::engine::host::{Buffer, Headers, Host, HostError};
use crate::engine::unexpected::Unexpected;
use crate::observe::metrics::Kind;

/// An empty header map, serialized.
const NO_TRAILERS: [u8; 4] = [0; 4];
const CRITICAL: u32 = 5;
/// WASI's number of the monotonic clock.
const MONOTONIC: u32 = 1;

thread_local! {
    /// Memory that the host may fill in place of newly allocated memory, and its size. It saves an allocation for data that every request reads.
    static LOAN: Cell<Option<(*mut u8, usize)>> = const { Cell::new(None) };
}

/// Returns the lent memory if it is large enough. The memory is lent once.
pub(super) fn lent(size: usize) -> Option<*mut u8> {
    let (data, room) = LOAN.take()?;
    (size <= room).then_some(data)
}

/// Sends log records to Envoy's log. If the module ever panics, the hook logs the panic before the trap.
pub(super) fn set_up_log() {
    if log::set_logger(&EnvoyLog).is_ok() {
        log::set_max_level(log::LevelFilter::Trace);
    }
    std::panic::set_hook(Box::new(|panic| {
        write_log(CRITICAL, &panic.to_string());
    }));
}

fn write_log(level: u32, line: &str) -> Status {
    // SAFETY: the host only reads the line, during the call.
    unsafe { abi::proxy_log(level, line.as_ptr(), line.len()) }
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

/// Converts a status to a result.
fn ok(status: Status) -> Result<(), HostError> {
    match status {
        Status::OK => Ok(()),
        status => Err(HostError(status.0)),
    }
}

/// The Envoy that runs the module.
pub(super) struct Envoy;

/// Envoy's log, as a logger of the `log` crate.
struct EnvoyLog;

impl EnvoyLog {
    /// The ABI's number of a level: 1 for `Debug`, 4 for `Error`.
    fn number(level: log::Level) -> u32 {
        5_u32.saturating_sub(level as u32)
    }
}

impl log::Log for EnvoyLog {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        let mut least = 0;
        // SAFETY: the host writes one number during the call.
        let status = unsafe { abi::proxy_get_log_level(&mut least) };
        status != Status::OK || Self::number(metadata.level()) >= least
    }

    fn log(&self, record: &log::Record<'_>) {
        // Envoy drops records below its log level.
        let status = write_log(Self::number(record.level()), &record.args().to_string());
        if status != Status::OK {
            super::note(Unexpected::HostCall("proxy_log", status.0));
        }
    }

    fn flush(&self) {}
}

impl Host for Envoy {
    fn monotonic(&self) -> Result<Duration, HostError> {
        let mut nanoseconds = 0;
        // SAFETY: the host writes one number during the call.
        match unsafe { abi::clock_time_get(MONOTONIC, 1, &mut nanoseconds) } {
            0 => Ok(Duration::from_nanos(nanoseconds)),
            error => Err(HostError(error)),
        }
    }

    fn wall_clock(&self) -> Result<Duration, HostError> {
        let mut nanoseconds = 0;
        // SAFETY: the host writes one number during the call.
        ok(unsafe { abi::proxy_get_current_time_nanoseconds(&mut nanoseconds) }).map(|()| Duration::from_nanos(nanoseconds))
    }

    fn random(&self, block: &mut [u8]) -> bool {
        // SAFETY: the host writes into the block, during the call.
        unsafe { abi::random_get(block.as_mut_ptr(), block.len()) == 0 }
    }

    // The C library's own function ends the VM if the host refuses these calls. Envoy does that if a `capability_restriction_config` leaves them
    // out.
    fn environment_variable(&self, name: &str) -> Option<String> {
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

    fn refuses_environment(&self) -> bool {
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

    fn buffer(&self, kind: Buffer, max_size: usize) -> Result<Vec<u8>, HostError> {
        // SAFETY: the host fills in a block that it had from `proxy_on_memory_allocate`.
        handed_over(|data, size| unsafe { abi::proxy_get_buffer_bytes(kind as u32, 0, max_size, data, size) })
    }

    fn header_pairs(&self, map: Headers) -> Result<Vec<u8>, HostError> {
        // SAFETY: as in `buffer`.
        handed_over(|data, size| unsafe { abi::proxy_get_header_map_pairs(map as u32, data, size) })
    }

    fn header(&self, map: Headers, name: &str) -> Result<Vec<u8>, HostError> {
        // SAFETY: the name is read during the call; the rest as in `buffer`.
        handed_over(|data, size| unsafe { abi::proxy_get_header_map_value(map as u32, name.as_ptr(), name.len(), data, size) })
    }

    fn property(&self, path: &[&str]) -> Result<Vec<u8>, HostError> {
        let path = path.join("\0");
        let mut data = null_mut();
        let mut size = 0;
        // SAFETY: the path is read during the call; the rest as in `handed_over`.
        match unsafe { abi::proxy_get_property(path.as_ptr(), path.len(), &mut data, &mut size) } {
            Status::OK if data.is_null() => Ok(Vec::new()),
            // SAFETY: as in `handed_over`.
            Status::OK => Ok(unsafe { Vec::from_raw_parts(data, size, size) }),
            status => Err(HostError(status.0)),
        }
    }

    fn shared_data<'room>(&self, key: &str, room: &'room mut [u8]) -> Result<(&'room [u8], u32), HostError> {
        let (lent, length) = (room.as_mut_ptr(), room.len());
        let mut version = 0;
        let mut data = null_mut();
        let mut size = 0;
        LOAN.set(Some((lent, length)));
        // SAFETY: the key is read, and three numbers are written, during the call. The host fills in the lent memory, to which it holds no other
        // pointer, or a block from `proxy_on_memory_allocate`.
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
            status => Err(HostError(status.0)),
        }
    }

    fn set_shared_data(&self, key: &str, value: &[u8], version: u32) -> Result<(), HostError> {
        // SAFETY: key and value are read during the call.
        ok(unsafe { abi::proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), version) })
    }

    fn http_call(&self, cluster: &str, headers: &[u8], body: &[u8], timeout: Duration) -> Result<u32, (Cause, HostError)> {
        // To Envoy, less than a millisecond means no timeout.
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
        let refusal = match status {
            Status::OK => return Ok(token),
            // Envoy returns this status also for a request without method, path or authority, which a complete request always has, and for more
            // headers than Envoy accepts, which `rewrite` detects first.
            Status::BAD_ARGUMENT => Cause::UnknownCluster,
            Status::INTERNAL_FAILURE => Cause::NoHealthyUpstream,
            _ => Cause::HostError,
        };
        Err((refusal, HostError(status.0)))
    }

    fn define_metric(&self, kind: Kind, name: &str) -> Result<u32, HostError> {
        let mut id = 0;
        // SAFETY: the name is read, and one number written, during the call.
        ok(unsafe { abi::proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &mut id) }).map(|()| id)
    }

    fn increment_metric(&self, id: u32, offset: i64) -> bool {
        // SAFETY: plain numbers.
        unsafe { abi::proxy_increment_metric(id, offset) == Status::OK }
    }

    fn record_metric(&self, id: u32, value: u64) -> bool {
        // SAFETY: plain numbers.
        unsafe { abi::proxy_record_metric(id, value) == Status::OK }
    }

    fn set_tick_period(&self, period: Option<Duration>) -> Result<(), HostError> {
        // To Envoy, less than a millisecond means no ticks.
        let millis = period.map_or(0, |period| period.as_millis().clamp(1, 0x7fff_ffff));
        // SAFETY: a plain number.
        ok(unsafe { abi::proxy_set_tick_period_milliseconds(u32::try_from(millis).unwrap_or(u32::MAX)) })
    }

    fn done(&self) -> Result<(), HostError> {
        // SAFETY: no arguments.
        ok(unsafe { abi::proxy_done() })
    }
}
