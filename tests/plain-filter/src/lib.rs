//! A mirror as people write it with the proxy-wasm SDK: each request is sent on from its own context, and what comes back is counted there.
//! It is compared with Sidecast, and is no part of it.

use std::cell::OnceCell;
use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel, MetricType, Status};

/// How often the end of a call-out was seen.
const OUTCOMES: &str = "plain_filter.outcomes";
/// Where the copies go; the plugin's configuration, `[CLUSTER [KEY]]`, may name another.
const CLUSTER: &str = "mirror";
/// The number of a request, in its copy: with a KEY, under which shared data has how many there were on all workers.
const NUMBER: &str = "x-plain-number";
const TIMEOUT: Duration = Duration::from_secs(15);

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::<Root>::default());
}}

thread_local! {
    /// Envoy keeps each definition, so there is one for a VM.
    static COUNTER: OnceCell<Option<u32>> = const { OnceCell::new() };
}

fn counter() -> Option<u32> {
    COUNTER.with(|counter| *counter.get_or_init(|| hostcalls::define_metric(MetricType::Counter, OUTCOMES).ok()))
}

/// Adds to a count that all workers share, and gives the sum.
fn add(key: &str, by: u64) -> Option<u64> {
    loop {
        let (value, version) = hostcalls::get_shared_data(key).ok()?;
        let sum = value.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes) + by;
        match hostcalls::set_shared_data(key, Some(&sum.to_le_bytes()), version) {
            // Another worker was faster.
            Err(Status::CasMismatch) => {}
            result => return result.ok().map(|()| sum),
        }
    }
}

#[derive(Default)]
struct Root {
    cluster: String,
    key: Option<String>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let text = String::from_utf8(self.get_plugin_configuration().unwrap_or_default()).unwrap_or_default();
        let mut words = text.split_whitespace();
        self.cluster = words.next().unwrap_or(CLUSTER).to_owned();
        self.key = words.next().map(str::to_owned);
        // Envoy takes any version for the first value, so that is written here: the main thread comes before all workers.
        let is_counted = self.key.as_ref().is_none_or(|key| add(key, 0).is_some());
        counter().is_some() && is_counted
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Copy { cluster: self.cluster.clone(), key: self.key.clone(), headers: Vec::new(), body: Vec::new() }))
    }
}

/// A request, and then its copy.
struct Copy {
    cluster: String,
    key: Option<String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Copy {
    fn dispatch(&self) {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if let Err(status) = self.dispatch_http_call(&self.cluster, headers, Some(&self.body), Vec::new(), TIMEOUT) {
            log::warn!("no call to {}: {status:?}", self.cluster);
        }
    }
}

impl Context for Copy {
    fn on_http_call_response(&mut self, _token: u32, _headers: usize, _body_size: usize, _trailers: usize) {
        if let Some(counter) = counter() {
            // It was defined as a counter, and rises.
            let _ = hostcalls::increment_metric(counter, 1);
        }
    }
}

impl HttpContext for Copy {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        self.headers = self.get_http_request_headers();
        if let Some(number) = self.key.as_ref().and_then(|key| add(key, 1)) {
            self.headers.push((NUMBER.to_owned(), number.to_string()));
        }
        if end_of_stream {
            self.dispatch();
        }
        Action::Continue
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.body.extend(self.get_http_request_body(0, size).unwrap_or_default());
        if end_of_stream {
            self.dispatch();
        }
        Action::Continue
    }
}
