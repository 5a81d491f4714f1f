//! The compiled filter under wasmtime.
