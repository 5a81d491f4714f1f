//! The life of a copy once a target wants it: admission, batches, rate limit, circuit breaker, outcome, retries, dead letters. The types are small
//! and pure: time and randomness are arguments.
//!
//! Uses `rewrite`, `template`, `json` and `http`. Begin with [`outcome`].

pub mod admission;
pub mod arrivals;
pub mod backoff;
pub mod batch;
pub mod breaker;
pub mod cause;
pub mod dead_letter;
pub mod drop_reason;
pub mod outcome;
pub mod rate_limit;
pub mod retry;
pub mod retry_budget;
pub mod retry_condition;
