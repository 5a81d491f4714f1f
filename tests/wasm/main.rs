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
mod breaker;
mod breaker_record;
mod configuration;
mod copies;
mod cost;
mod drain;
mod faults;
mod identity;
mod letters;
mod lifecycle;
mod limits;
mod logging;
mod outcomes;
mod probe;
mod retries;
mod scene;
mod selection;
mod the_host;
