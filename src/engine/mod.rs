//! The way of requests, attempts, batches, letters, comparisons and drains, for whoever is a [`Host`](host::Host). Native, and without the ABI.
//!
//! Uses all rooms below. Begin with [`contexts`], which a host calls, and `stream`.

mod guard;
pub mod host;
pub mod ids;
mod journal;
mod metrics;
mod mirror;
mod primary;
mod probe;
mod root;
mod stream;
pub mod unexpected;
pub mod contexts;
pub mod worker;
