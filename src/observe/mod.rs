//! What operators see: the names of metrics, and log events.
//!
//! Uses `delivery` and `compare`. Begin with [`metrics`].

pub mod log_event;
pub mod metrics;
