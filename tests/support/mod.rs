//! What the tests in a real Envoy stand on: an Envoy process and its configuration, upstreams that record, and clients.

pub(crate) mod admin;
pub(crate) mod answer;
pub(crate) mod bootstrap;
pub(crate) mod client;
pub(crate) mod envoy;
pub(crate) mod eventually;
#[allow(dead_code)] // Not in every test binary.
pub(crate) mod frames;
pub(crate) mod grpc;
pub(crate) mod grpc_client;
pub(crate) mod gzip;
pub(crate) mod known;
pub(crate) mod load;
pub(crate) mod log;
pub(crate) mod process;
#[allow(dead_code)] // Not in every test binary.
pub(crate) mod quick;
pub(crate) mod rabbitmq;
pub(crate) mod raw;
pub(crate) mod recorded;
pub(crate) mod setup;
pub(crate) mod stats;
pub(crate) mod tls;
pub(crate) mod upstream;
