//! What the engine asks of whoever runs it.

use std::time::Duration;

use crate::delivery::cause::Cause;
use crate::observe::metrics::Kind;

/// The host returned with this status, which is no success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostError(pub u32);

/// Another worker has replaced the version of shared data that was to be replaced.
pub const CAS_MISMATCH: HostError = HostError(8);

/// Buffers; the numbers are those of the proxy-wasm ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffer {
    /// The chunk of the request's body at hand.
    RequestBody = 0,
    /// The chunk of the primary's response at hand.
    ResponseBody = 1,
    /// The body of the response to the call-out that has just ended.
    CallResponseBody = 4,
    /// The configuration.
    PluginConfiguration = 7,
}

/// Header maps; the numbers are those of the proxy-wasm ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Headers {
    /// Of the request at hand.
    Request = 0,
    /// Of the primary's response at hand.
    Response = 2,
    /// The trailers of the primary's response at hand.
    ResponseTrailers = 3,
    /// Of the response to the call-out that has just ended.
    CallResponse = 6,
    /// The trailers of the response to the call-out that has just ended.
    CallResponseTrailers = 7,
}

/// The clock, random bytes, call-outs, statistics, shared data, timer, and what is at hand of the stream. Log lines go to the logger of the
/// crate `log`, as records of [`TARGET`](crate::observe::log_event::TARGET).
///
/// A host calls the engine from one thread, and never from inside one of these methods.
pub trait Host {
    /// A clock that is never set, from some start. All workers of a process share it.
    ///
    /// # Errors
    /// There is none.
    fn monotonic(&self) -> Result<Duration, HostError>;

    /// The wall clock, from 1970.
    ///
    /// # Errors
    /// There is none.
    fn wall_clock(&self) -> Result<Duration, HostError>;

    /// Fills the block with random bytes; false when there are none.
    fn random(&self, block: &mut [u8]) -> bool;

    /// The value of an environment variable, if it is there and is text.
    fn environment_variable(&self, name: &str) -> Option<String>;

    /// True when no environment variable can be read.
    fn refuses_environment(&self) -> bool;

    /// Up to `max_size` bytes of a buffer, from its start.
    ///
    /// # Errors
    /// There is no such buffer at hand.
    fn buffer(&self, kind: Buffer, max_size: usize) -> Result<Vec<u8>, HostError>;

    /// All headers of a map in their serialized form.
    ///
    /// # Errors
    /// There is no such map at hand.
    fn header_pairs(&self, map: Headers) -> Result<Vec<u8>, HostError>;

    /// The value of a header; empty when there is none.
    ///
    /// # Errors
    /// There is no such map at hand.
    fn header(&self, map: Headers, name: &str) -> Result<Vec<u8>, HostError>;

    /// A property by its path.
    ///
    /// # Errors
    /// There is none.
    fn property(&self, path: &[&str]) -> Result<Vec<u8>, HostError>;

    /// Reads a value of the data that all workers share into `room`, and gives it with the number of its version; empty when there is none, or when it
    /// is longer than the room.
    ///
    /// # Errors
    /// Shared data does not work.
    fn shared_data<'room>(&self, key: &str, room: &'room mut [u8]) -> Result<(&'room [u8], u32), HostError>;

    /// Replaces that version of a value, or any, if it is 0.
    ///
    /// # Errors
    /// [`CAS_MISMATCH`]: it is not the present version. Others: shared data does not work.
    fn set_shared_data(&self, key: &str, value: &[u8], version: u32) -> Result<(), HostError>;

    /// Starts a call-out to a cluster, and gives its token. The headers are in their serialized form; the timeout is at least 1 ms.
    ///
    /// # Errors
    /// Why it was not taken, and the status.
    fn http_call(&self, cluster: &str, headers: &[u8], body: &[u8], timeout: Duration) -> Result<u32, (Cause, HostError)>;

    /// Defines a metric, and gives its number.
    ///
    /// # Errors
    /// It cannot be defined.
    fn define_metric(&self, kind: Kind, name: &str) -> Result<u32, HostError>;

    /// Moves a counter or a gauge; false when that failed.
    fn increment_metric(&self, id: u32, offset: i64) -> bool;

    /// Adds a value to a histogram, or sets a gauge; false when that failed.
    fn record_metric(&self, id: u32, value: u64) -> bool;

    /// Ticks so often from now on; never, if there is no period. At least 1 ms.
    ///
    /// # Errors
    /// It cannot.
    fn set_tick_period(&self, period: Option<Duration>) -> Result<(), HostError>;

    /// A root that was not done when it was asked is done now.
    ///
    /// # Errors
    /// The host does not take it.
    fn done(&self) -> Result<(), HostError>;
}
