//! HTTP in the form in which Envoy hands it over: serialized header maps, content codings, gRPC framing, trace context, and the loop mark. Also
//! counts the work that one request causes.
//!
//! Uses no other room. Begin with [`headers`].

pub mod body_buffer;
pub mod content_coding;
pub mod grpc;
pub mod header_names;
pub mod headers;
pub mod invalid;
pub mod loop_mark;
pub mod names;
pub mod query;
pub mod request_head;
pub mod status;
pub mod text;
pub mod trace_context;
pub mod unavailable;
pub mod work_limit;
