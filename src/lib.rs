//! Sidecast.
