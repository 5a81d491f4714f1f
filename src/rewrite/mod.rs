//! What each target receives: the head, the body and what redaction leaves of it.
//!
//! Uses `template`, `json` and `http`. Begin with [`shape`].

pub mod capture;
pub mod items;
pub mod reading;
pub mod redact;
pub mod shape;
