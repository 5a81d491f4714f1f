//! A module that does nothing but look: in each callback it asks the host for everything that it might know, and puts what it got into
//! shared data.

use crate::host::{serialize, Host, Pairs, Status, Worker};
use std::fmt::Write;

/// Callbacks of a stream with the number of their arguments, in the order in which a stream can have them.
const OF_STREAM: [(&str, usize); 10] = [
    ("proxy_on_context_create", 2),
    ("proxy_on_request_headers", 3),
    ("proxy_on_request_body", 3),
    ("proxy_on_request_trailers", 2),
    ("proxy_on_response_headers", 3),
    ("proxy_on_response_body", 3),
    ("proxy_on_response_trailers", 2),
    ("proxy_on_log", 1),
    ("proxy_on_done", 1),
    ("proxy_on_delete", 1),
];

/// Callbacks of the root.
const OF_ROOT: [(&str, usize); 2] = [("proxy_on_configure", 2), ("proxy_on_http_call_response", 5)];

/// Those that answer with a number, and the number with which everything goes on.
fn result(export: &str) -> Option<i32> {
    match export {
        "proxy_on_configure" | "proxy_on_done" => Some(1),
        _ if export.contains("_request_") || export.contains("proxy_on_response_") => Some(0),
        _ => None,
    }
}

/// The properties that it asks for, with dots between their segments.
const PROPERTIES: [&str; 14] = [
    "request.path",
    "request.url_path",
    "request.query",
    "request.method",
    "request.headers.x-map",
    "response.code",
    "response.code_details",
    "response.flags",
    "response.grpc_status",
    "response.headers.x-map",
    "response.trailers.x-map",
    "xds.route_name",
    "connection.mtls",
    "plugin_name",
];

/// The probe at work.
pub(crate) struct Probe {
    host: Host,
    pub(crate) worker: Worker,
}

impl Probe {
    /// Looks from all callbacks.
    pub(crate) fn new() -> (Host, Self) {
        Self::without(&[])
    }

    /// Does not export these callbacks.
    pub(crate) fn without(missing: &[&str]) -> (Host, Self) {
        let host = Host::new();
        host.set_property(&["plugin_name"], "probe");
        let worker = host.worker_running(text(missing), "");
        (host.clone(), Self { host, worker })
    }

    /// The callbacks so far, in order.
    pub(crate) fn callbacks(&self) -> Vec<String> {
        self.host.log().into_iter().map(|line| line.text).collect()
    }

    /// The arguments of the last call of a callback, without the context.
    pub(crate) fn arguments(&self, export: &str) -> Vec<u32> {
        let numbers = self.note(&format!("{export} arguments"));
        numbers.chunks(4).skip(1).map(|four| u32::from_le_bytes(four.try_into().unwrap())).collect()
    }

    /// The pairs of a map as the last call of a callback got them, still serialized.
    pub(crate) fn pairs(&self, export: &str, kind: u32) -> Result<Vec<u8>, Status> {
        self.given(&format!("{export} pairs {kind}"))
    }

    /// The value of `x-map` in a map.
    pub(crate) fn value(&self, export: &str, kind: u32) -> Result<Vec<u8>, Status> {
        self.given(&format!("{export} value {kind}"))
    }

    pub(crate) fn buffer(&self, export: &str, kind: u32) -> Result<Vec<u8>, Status> {
        self.given(&format!("{export} buffer {kind}"))
    }

    pub(crate) fn property(&self, export: &str, name: &str) -> Result<Vec<u8>, Status> {
        self.given(&format!("{export} property {name}"))
    }

    fn given(&self, key: &str) -> Result<Vec<u8>, Status> {
        let mut note = self.note(key);
        let given = note.split_off(4);
        match Status(i32::from_le_bytes(note.try_into().unwrap())) {
            Status::OK => Ok(given),
            status => Err(status),
        }
    }

    fn note(&self, key: &str) -> Vec<u8> {
        let notes = self.host.shared_data();
        notes.get(key.as_bytes()).unwrap_or_else(|| panic!("no {key:?} among {:?}", self.callbacks())).clone()
    }
}

/// Constants of the module, which lie one after the other behind the two words that host calls answer into.
#[derive(Default)]
struct Constants(Vec<u8>);

impl Constants {
    /// Puts the bytes into memory; gives the two instructions that push where they are.
    fn push(&mut self, bytes: impl AsRef<[u8]>) -> String {
        let bytes = bytes.as_ref();
        let at = 16 + self.0.len();
        self.0.extend(bytes);
        format!("(i32.const {at}) (i32.const {})", bytes.len())
    }
}

fn text(missing: &[&str]) -> String {
    let mut constants = Constants::default();
    let mut callbacks = String::new();
    for (export, arguments) in OF_STREAM.into_iter().chain(OF_ROOT).filter(|(export, _)| !missing.contains(export)) {
        let parameters = "(param i32) ".repeat(arguments);
        let code = body(export, arguments, &mut constants);
        let (kind, value) = match result(export) {
            Some(number) => ("(result i32)", format!("(i32.const {number})")),
            None => ("", String::new()),
        };
        write!(callbacks, "(func (export {export:?}) {parameters} {kind} {code} {value})").unwrap();
    }
    let escaped: String = constants.0.iter().map(|byte| format!("\\{byte:02x}")).collect();
    format!("(module {FRAME} {callbacks} (data (i32.const 16) \"{escaped}\"))")
}

fn body(export: &str, arguments: usize, constants: &mut Constants) -> String {
    let mut code = format!("(drop (call $log (i32.const 2) {}))", constants.push(export));
    let mut looks = Vec::new();
    for kind in [0, 1, 2, 3, 6, 7] {
        looks.push((format!("pairs {kind}"), format!("$pairs (i32.const {kind})")));
        looks.push((format!("value {kind}"), format!("$value (i32.const {kind}) {}", constants.push("x-map"))));
    }
    for kind in [0, 1, 4] {
        looks.push((format!("buffer {kind}"), format!("$buffer (i32.const {kind}) (i32.const 0) (i32.const 65536)")));
    }
    for name in PROPERTIES {
        looks.push((format!("property {name}"), format!("$property {}", constants.push(name.replace('.', "\0")))));
    }
    for (what, call) in looks {
        let key = constants.push(format!("{export} {what}"));
        write!(code, "(call $before) (call $after (call {call} (i32.const 0) (i32.const 4)) {key})").unwrap();
    }
    for argument in 0..arguments {
        write!(code, "(i32.store (call $allocate (i32.const 4)) (local.get {argument}))").unwrap();
    }
    let key = constants.push(format!("{export} arguments"));
    let size = 4 * arguments;
    let start = format!("(i32.sub (global.get $free) (i32.const {size}))");
    write!(code, "(drop (call $set {key} {start} (i32.const {size}) (i32.const 0)))").unwrap();
    if export == "proxy_on_request_headers" {
        let headers: Pairs = [":method", ":path", ":authority"].map(|name| (name.into(), b"/".to_vec())).into();
        let (cluster, headers) = (constants.push("audit"), constants.push(serialize(&headers)));
        let nothing = "(i32.const 0) (i32.const 0)";
        write!(code, "(drop (call $call {cluster} {headers} {nothing} {nothing} (i32.const 1000) (i32.const 8)))").unwrap();
    }
    code
}

/// Imports and memory. `$before` leaves room for a status in front of what the next host call is going to allocate, `$after` fills it in
/// and stores both under a key.
const FRAME: &str = r#"
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_value" (func $value (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_buffer_bytes" (func $buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_shared_data" (func $set (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_http_call"
    (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 16)
  (global $free (mut i32) (i32.const 65536))
  (func $allocate (export "proxy_on_memory_allocate") (param $size i32) (result i32)
    (global.get $free)
    (global.set $free (i32.add (global.get $free) (local.get $size))))
  (func $before
    (i64.store (i32.const 0) (i64.const 0))
    (drop (call $allocate (i32.const 4))))
  (func $after (param $status i32) (param $key i32) (param $key_size i32)
    (local $size i32) (local $start i32)
    (local.set $size (i32.add (i32.load (i32.const 4)) (i32.const 4)))
    (local.set $start (i32.sub (global.get $free) (local.get $size)))
    (i32.store (local.get $start) (local.get $status))
    (drop (call $set (local.get $key) (local.get $key_size) (local.get $start) (local.get $size) (i32.const 0))))
"#;
