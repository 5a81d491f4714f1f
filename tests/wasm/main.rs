//! The compiled filter under wasmtime, in a model of Envoy: the ABI, traps, memory, and what things cost. What the engine decides, `tests/engine` shows;
//! some of its files run here too, so that the module is held to the same claims.

#[path = "../support/host/compiled/mod.rs"]
mod compiled;
#[path = "../support/configurations.rs"]
mod configurations;
#[path = "../support/gzip.rs"]
mod gzip;
#[allow(dead_code, unused_imports)] // Each binary uses a part of it.
#[path = "../support/host/mod.rs"]
mod host;

use compiled::start;

/// The status of a host call that Envoy refuses; `tests/engine` tries the others.
const FAULTS: &[i32] = &[10];
const LASTING_FAULTS: &[i32] = &[10];

mod abi;
mod costs_of_requests;
mod memory_is_charged;
mod probe;
mod reentry_is_counted;
mod size;
mod the_model;
mod the_sdk_runs_in_the_model;
mod work_is_bounded;

#[path = "../engine/copies.rs"]
mod copies;
#[path = "../engine/faults_do_no_harm.rs"]
mod faults_do_no_harm;
#[path = "../engine/host_calls_left_out.rs"]
mod host_calls_left_out;
#[path = "../engine/outcomes.rs"]
mod outcomes;
