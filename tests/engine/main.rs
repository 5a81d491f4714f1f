//! What the engine decides, natively, in a model of Envoy.

#[path = "../support/configurations.rs"]
mod configurations;
#[allow(dead_code, unused_imports)] // Each binary uses a part of it.
#[path = "../support/host/mod.rs"]
mod host;
#[path = "../support/host/native.rs"]
mod native;

use native::start;

/// Statuses of the ABI and beyond, and WASI's error numbers among them.
const FAULTS: &[i32] = &[1, 2, 8, 10, 28, 99, -1, i32::MAX];
/// Those that the engine tells apart.
const LASTING_FAULTS: &[i32] = &[1, 2, 10];

mod after_response;
mod answered_early;
mod answers;
mod batches;
mod batches_given_up;
mod body_rules;
mod breaker;
mod breaker_shared_by_workers;
mod breaker_waits;
mod chains;
mod chains_in_any_order;
mod compare;
mod compare_holds_no_more;
mod configuration_whole_or_refused;
mod copies;
mod drain;
mod faults_do_no_harm;
mod given_up_and_handed_over;
mod grpc;
mod host_calls_left_out;
mod identity;
mod lifecycle;
mod limits;
mod logging;
mod one_end_for_each_request;
mod one_end_in_any_order;
mod one_end_whatever_follows_what;
mod one_end_whatever_is_made_of_it;
mod order_by_key;
mod order_by_key_in_any_order;
mod outcomes;
mod retries;
mod room_is_made_first;
mod selection;
mod shaping_costs;
mod statistics_are_defined_once;
