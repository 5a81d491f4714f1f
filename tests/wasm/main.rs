//! The compiled filter under wasmtime, in a host that behaves as Envoy does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unreachable
)]

#[path = "../support/wasm_host/mod.rs"]
mod wasm_host;

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
mod cost;
mod drain;
mod faults;
mod grpc;
mod identity;
mod letters;
mod lifecycle;
mod limits;
mod logging;
mod memory;
mod outcomes;
mod probe;
mod refused;
mod retries;
mod scene;
mod selection;
mod shaping;
mod the_host;
mod work;
