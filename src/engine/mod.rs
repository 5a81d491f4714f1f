//! The way of requests, attempts, batches, letters, comparisons and drains, for whoever is a [`Host`](host::Host). Native, and without the ABI.
//!
//! Uses all rooms below. Begin with [`contexts`], which a host calls, and `stream`.

mod comparison;
pub mod contexts;
mod delivery;
#[cfg(test)]
mod fake;
mod guard;
pub mod host;
pub mod ids;
mod journal;
mod metrics;
mod mirror;
mod primary;
mod probe;
mod rejection;
mod root;
mod stream;
#[cfg(test)]
mod tests;
pub mod unexpected;
pub mod worker;
