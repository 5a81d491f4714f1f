//! The interface between the engine and its host.

use std::time::Duration;

use crate::delivery::cause::Cause;
use crate::observe::metrics::Kind;

/// The status of a host call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostError(pub u32);

/// The status of a compare-and-swap that failed: another worker has replaced that version of the shared data.
pub const CAS_MISMATCH: HostError = HostError(8);

/// Buffers. The numbers are those of the proxy-wasm ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffer {
    /// The current chunk of the request body.
    RequestBody = 0,
    /// The current chunk of the body of the primary's response.
    ResponseBody = 1,
    /// The body of the response to the call-out that just ended.
    CallResponseBody = 4,
    /// The plugin configuration.
    PluginConfiguration = 7,
}

/// Header maps. The numbers are those of the proxy-wasm ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Headers {
    /// The headers of the current request.
    Request = 0,
    /// The headers of the primary's current response.
    Response = 2,
    /// The trailers of the primary's current response.
    ResponseTrailers = 3,
    /// The headers of the response to the call-out that just ended.
    CallResponse = 6,
    /// The trailers of the response to the call-out that just ended.
    CallResponseTrailers = 7,
}

/// The host calls that the engine needs: clocks, random bytes, call-outs, metrics, shared data, the timer, and the current stream.
///
/// Log lines do not go through this trait. They go to the logger of the `log` crate, as records of the target
/// [`TARGET`](crate::observe::log_event::TARGET).
///
/// A host calls the engine from one thread, and never from inside one of these methods.
pub trait Host {
    /// The monotonic clock, counted from an arbitrary start. All workers of a process share it, and nobody can set it.
    ///
    /// # Errors
    /// Returns an error if the host has no such clock.
    fn monotonic(&self) -> Result<Duration, HostError>;

    /// The wall clock, as the time since 1970.
    ///
    /// # Errors
    /// Returns an error if the host has no such clock.
    fn wall_clock(&self) -> Result<Duration, HostError>;

    /// Fills the block with random bytes. Returns false if the host has none.
    fn random(&self, block: &mut [u8]) -> bool;

    /// The value of an environment variable, or `None` if it is not set or is not valid text.
    fn environment_variable(&self, name: &str) -> Option<String>;

    /// True if the host lets no environment variable be read.
    fn refuses_environment(&self) -> bool;

    /// Reads up to `max_size` bytes from the start of a buffer.
    ///
    /// # Errors
    /// Returns an error if the buffer does not exist at this point of the stream.
    fn buffer(&self, kind: Buffer, max_size: usize) -> Result<Vec<u8>, HostError>;

    /// All headers of a map in their serialized form.
    ///
    /// # Errors
    /// Returns an error if the map does not exist at this point of the stream.
    fn header_pairs(&self, map: Headers) -> Result<Vec<u8>, HostError>;

    /// The value of a header. Empty if the map has no such header.
    ///
    /// # Errors
    /// Returns an error if the map does not exist at this point of the stream.
    fn header(&self, map: Headers, name: &str) -> Result<Vec<u8>, HostError>;

    /// The value of the property at a path.
    ///
    /// # Errors
    /// Returns an error if there is no such property.
    fn property(&self, path: &[&str]) -> Result<Vec<u8>, HostError>;

    /// Reads a value of the data that all workers share into `room`. Returns the value and the number of its version. The value is empty if there
    /// is none, or if it is longer than `room`.
    ///
    /// # Errors
    /// Returns an error if shared data does not work.
    fn shared_data<'room>(&self, key: &str, room: &'room mut [u8]) -> Result<(&'room [u8], u32), HostError>;

    /// Replaces the given version of a shared value. Version 0 replaces any version.
    ///
    /// # Errors
    /// Returns [`CAS_MISMATCH`] if the given version is not the current one, and another error if shared data does not work.
    fn set_shared_data(&self, key: &str, value: &[u8], version: u32) -> Result<(), HostError>;

    /// Starts a call-out to a cluster and returns its token. The headers are in their serialized form. The timeout is at least 1 ms.
    ///
    /// # Errors
    /// Returns the cause and the status if the host does not start the call-out.
    fn http_call(&self, cluster: &str, headers: &[u8], body: &[u8], timeout: Duration) -> Result<u32, (Cause, HostError)>;

    /// Defines a metric and returns its number.
    ///
    /// # Errors
    /// Returns an error if the host does not define the metric.
    fn define_metric(&self, kind: Kind, name: &str) -> Result<u32, HostError>;

    /// Changes a counter or gauge by an offset. Returns false if that fails.
    fn increment_metric(&self, id: u32, offset: i64) -> bool;

    /// Adds a value to a histogram, or sets a gauge. Returns false if that fails.
    fn record_metric(&self, id: u32, value: u64) -> bool;

    /// Sets the tick period, which is at least 1 ms. `None` stops the ticks.
    ///
    /// # Errors
    /// Returns an error if the host refuses the call.
    fn set_tick_period(&self, period: Option<Duration>) -> Result<(), HostError>;

    /// Tells the host that a root is done now, after it said that it was not.
    ///
    /// # Errors
    /// Returns an error if the host refuses the call.
    fn done(&self) -> Result<(), HostError>;
}
