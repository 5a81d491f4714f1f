//! The compiled filter in a real Envoy before targets that break every rule of HTTP: Envoy lives, and nothing vanishes.
#[path = "../support/mod.rs"]
#[allow(dead_code)] // Shared with other tests; these use a part.
mod support;

mod blocks;
mod dice;
mod forbidden;
mod lines;
mod random;
