//! What the engine decides, natively, in a model of Envoy.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unreachable
)]

#[path = "../support/configurations.rs"]
mod configurations;
#[allow(dead_code, unused_imports)] // Each binary uses a part of it.
#[path = "../support/host/mod.rs"]
mod host;
#[path = "../support/host/native.rs"]
mod native;

use native::start;

mod accounts;
mod accounts_of_features;
mod after_response;
mod answered_early;
mod batch_letters;
mod batches;
mod body_rules;
mod breaker;
mod breaker_record;
mod breaker_waits;
mod compare;
mod compare_bounds;
mod configuration;
mod copies;
mod drain;
mod grpc;
mod identity;
mod interleavings;
mod letters;
mod lifecycle;
mod limits;
mod logging;
mod outcomes;
mod refused;
mod retries;
mod selection;
mod shaping;
