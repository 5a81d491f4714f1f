//! The proxy-wasm ABI 0.2.1: the functions that Envoy provides (imports) and calls (exports).
//!
//! Source: <https://github.com/proxy-wasm/spec/blob/main/abi-versions/v0.2.1/README.md>.
//!
//! Sidecast does not use the Rust SDK for four reasons. The SDK hands a call-out's response to the context that was active at dispatch, and
//! silently drops it if that stream is gone. It takes header values as `str`. Several of its calls panic on a status that they do not expect. And
//! it exports every callback, so that Envoy calls all of them. Envoy only calls the exports of this module: `proxy_on_delete`, for example, would
//! be one more call for each request, and adds nothing to `proxy_on_done`.

#![allow(unsafe_code)]

use super::with;

/// The status that a host call returns.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status(pub(super) u32);

impl Status {
    pub(super) const OK: Self = Self(0);
    pub(super) const NOT_FOUND: Self = Self(1);
    pub(super) const BAD_ARGUMENT: Self = Self(2);
    pub(super) const INTERNAL_FAILURE: Self = Self(10);
}

#[link(wasm_import_module = "env")]
extern "C" {
    pub(super) fn proxy_log(level: u32, message: *const u8, size: usize) -> Status;
    pub(super) fn proxy_get_log_level(level: *mut u32) -> Status;
    pub(super) fn proxy_get_current_time_nanoseconds(time: *mut u64) -> Status;
    pub(super) fn proxy_get_buffer_bytes(
        kind: u32,
        start: usize,
        max_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> Status;
    pub(super) fn proxy_get_header_map_pairs(kind: u32, data: *mut *mut u8, size: *mut usize) -> Status;
    pub(super) fn proxy_get_header_map_value(
        kind: u32,
        name: *const u8,
        name_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> Status;
    pub(super) fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> Status;
    pub(super) fn proxy_http_call(
        cluster: *const u8,
        cluster_size: usize,
        headers: *const u8,
        headers_size: usize,
        body: *const u8,
        body_size: usize,
        trailers: *const u8,
        trailers_size: usize,
        timeout_ms: u32,
        token: *mut u32,
    ) -> Status;
    pub(super) fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> Status;
    pub(super) fn proxy_increment_metric(id: u32, offset: i64) -> Status;
    pub(super) fn proxy_record_metric(id: u32, value: u64) -> Status;
    pub(super) fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        version: *mut u32,
    ) -> Status;
    pub(super) fn proxy_set_shared_data(key: *const u8, key_size: usize, data: *const u8, size: usize, version: u32) -> Status;
    pub(super) fn proxy_set_tick_period_milliseconds(period: u32) -> Status;
    pub(super) fn proxy_done() -> Status;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
extern "C" {
    pub(super) fn random_get(buffer: *mut u8, size: usize) -> u32;
    pub(super) fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
    pub(super) fn environ_sizes_get(count: *mut usize, size: *mut usize) -> u32;
    pub(super) fn environ_get(entries: *mut *mut u8, text: *mut u8) -> u32;
}

extern "C" {
    /// Provided by the linker. Sets up the C library.
    fn __wasm_call_ctors();
}

/// Lets the primary's headers, body and trailers continue.
const CONTINUE: u32 = 0;

#[no_mangle]
extern "C" fn proxy_abi_version_0_2_1() {}

#[no_mangle]
extern "C" fn _initialize() {
    // SAFETY: Envoy calls this once, before anything else.
    unsafe { __wasm_call_ctors() };
    super::envoy_host::set_up_log();
}

/// Memory for data from the host. [`super::envoy_host`] takes it back as a `Vec` of exactly this size, or has lent its own memory for it.
#[no_mangle]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    // Not zeroed, because the host fills all of it.
    super::envoy_host::lent(size).unwrap_or_else(|| Box::into_raw(Box::<[u8]>::new_uninit_slice(size)).cast())
}

#[no_mangle]
extern "C" fn proxy_on_context_create(context: u32, parent: u32) {
    with(|vm| vm.create(context, parent));
}

#[no_mangle]
extern "C" fn proxy_on_configure(root: u32, size: usize) -> u32 {
    u32::from(with(|vm| vm.configure(root, size)).unwrap_or(false))
}

#[no_mangle]
extern "C" fn proxy_on_request_headers(context: u32, _count: u32, end_of_stream: u32) -> u32 {
    with(|vm| vm.request_headers(context, end_of_stream != 0));
    CONTINUE
}

#[no_mangle]
extern "C" fn proxy_on_request_body(context: u32, size: usize, end_of_stream: u32) -> u32 {
    with(|vm| vm.request_body(context, size, end_of_stream != 0));
    CONTINUE
}

#[no_mangle]
extern "C" fn proxy_on_request_trailers(context: u32, _count: u32) -> u32 {
    with(|vm| vm.request_trailers(context));
    CONTINUE
}

#[no_mangle]
extern "C" fn proxy_on_response_headers(context: u32, _count: u32, end_of_stream: u32) -> u32 {
    with(|vm| vm.response_headers(context, end_of_stream != 0));
    CONTINUE
}

#[no_mangle]
extern "C" fn proxy_on_response_body(context: u32, size: usize, end_of_stream: u32) -> u32 {
    with(|vm| vm.response_body(context, size, end_of_stream != 0));
    CONTINUE
}

#[no_mangle]
extern "C" fn proxy_on_response_trailers(context: u32, _count: u32) -> u32 {
    with(|vm| vm.response_trailers(context));
    CONTINUE
}

#[no_mangle]
extern "C" fn proxy_on_http_call_response(root: u32, token: u32, headers: u32, body_size: usize, _trailers: u32) {
    with(|vm| vm.call_ended(root, token, headers, body_size));
}

#[no_mangle]
extern "C" fn proxy_on_tick(root: u32) {
    with(|vm| vm.tick(root));
}

#[no_mangle]
extern "C" fn proxy_on_done(context: u32) -> u32 {
    u32::from(with(|vm| vm.done(context)).unwrap_or(true))
}
