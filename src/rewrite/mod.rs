//! The request that each target receives: its head, its body, redaction, and signatures.
//!
//! Uses `template`, `json` and `http`. Begin with [`shape`].

pub mod answers;
pub mod capture;
pub mod items;
pub mod order_key;
pub mod reading;
pub mod redact;
pub mod shape;
pub mod signing;
