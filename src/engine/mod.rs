//! The way of requests, attempts, batches, letters, comparisons and drains.
//!
//! Uses all rooms below. Begin with `stream`.

pub mod ids;
