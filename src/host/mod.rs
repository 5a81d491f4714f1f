//! The shell around the core: what Envoy calls, what is asked of Envoy, and the state of one VM. One VM runs in each worker
//! thread; they share nothing but metrics.

mod abi;
mod calls;
mod guard;
mod journal;
mod metrics;
mod mirror;
mod primary;
mod probe;
mod root;
mod stream;
mod unexpected;
mod vm;
