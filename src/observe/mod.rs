//! What operators see: the names of metrics, and log lines.
//!
//! Uses `delivery` and `compare`. Begin with [`metrics`].

pub mod log_event;
pub mod metrics;
