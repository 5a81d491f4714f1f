//! The compiled filter in a real Envoy.
