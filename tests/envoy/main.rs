//! The compiled filter in a real Envoy: what the primary sees, what each target receives, and what the statistics say.
#[path = "../support/mod.rs"]
mod support;

mod accounting;
mod after_response;
mod answered_early;
mod batches;
mod breaker;
mod capabilities;
mod claims;
mod compare;
mod configuration;
#[cfg(feature = "cli")]
mod convert;
mod dead_letters;
mod drain;
#[cfg(feature = "cli")]
mod explain;
mod growth;
mod grpc;
mod grpc_mirroring;
mod harness;
mod headers;
mod hold;
mod isolation;
mod letter;
mod limits;
mod loop_guard;
mod mirroring;
mod mtls;
mod neighbour;
mod odd;
mod order;
mod orders;
mod orders_at_random;
mod outcomes;
mod paths;
mod primary_again;
mod rabbitmq;
mod reload;
mod retries;
mod rules;
mod sampling;
mod scene;
mod shaping;
mod shop;
mod signatures;
#[cfg(feature = "cli")]
mod skip;
mod smoke;
mod stage;
mod streaming;
mod tracing;
mod tunnels;
