//! The engine itself, without the ABI, in the model of Envoy.

use crate::host::{Filter, Level, LogLine, MapKind, Recorded, Status, Vm, CALLBACKS};
use sidecast::{
    delivery::cause::Cause,
    engine::{
        contexts::Engine,
        host::{Buffer, Headers, Host, HostError},
        unexpected::Unexpected,
        worker::Worker,
    },
    observe::{log_event::TARGET, metrics::Kind},
};
use std::{cell::RefCell, rc::Rc, sync::Once, time::Duration};

type Shared = Rc<RefCell<Vm>>;

/// The engine of a new worker.
pub(crate) fn start(vm: &Shared) -> Box<dyn Filter> {
    static LOG: Once = Once::new();
    LOG.call_once(|| {
        log::set_logger(&Log).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
    let host = NativeHost(Rc::clone(vm));
    let worker = Rc::new(Worker::new(host.clone()));
    Box::new(Native { engine: Engine::new(Rc::clone(&worker)), at_work: AtWork { host, worker } })
}

/// The engine of one worker.
struct Native {
    engine: Engine<NativeHost>,
    at_work: AtWork,
}

impl Filter for Native {
    fn enter(&mut self, callback: &str, arguments: &[u32]) -> Option<i32> {
        if !CALLBACKS.contains(&callback) {
            return None;
        }
        AT_WORK.set(Some(self.at_work.clone()));
        let result = self.call(callback, arguments);
        AT_WORK.set(None);
        Some(result)
    }
}

impl Native {
    fn call(&mut self, callback: &str, arguments: &[u32]) -> i32 {
        let engine = &mut self.engine;
        match (callback, arguments) {
            ("proxy_on_context_create", &[context, parent]) => engine.create(context, parent),
            ("proxy_on_configure", &[root, size]) => return engine.configure(root, size as usize).into(),
            ("proxy_on_request_headers", &[context, _, end]) => engine.request_headers(context, end != 0),
            ("proxy_on_request_body", &[context, size, end]) => engine.request_body(context, size as usize, end != 0),
            ("proxy_on_request_trailers", &[context, _]) => engine.request_trailers(context),
            ("proxy_on_response_headers", &[context, _, end]) => engine.response_headers(context, end != 0),
            ("proxy_on_response_body", &[context, size, end]) => engine.response_body(context, size as usize, end != 0),
            ("proxy_on_response_trailers", &[context, _]) => engine.response_trailers(context),
            ("proxy_on_http_call_response", &[root, token, headers, body_size, _]) => {
                engine.call_ended(root, token, headers, body_size as usize);
            }
            ("proxy_on_tick", &[root]) => engine.tick(root),
            ("proxy_on_done", &[context]) => return engine.done(context).into(),
            _ => panic!("{callback} does not take {arguments:?}"),
        }
        0
    }
}

thread_local! {
    /// The worker whose engine runs: its are the lines that are logged.
    static AT_WORK: RefCell<Option<AtWork>> = const { RefCell::new(None) };
}

#[derive(Clone)]
struct AtWork {
    host: NativeHost,
    worker: Rc<Worker<NativeHost>>,
}

impl AtWork {
    fn now() -> Option<Self> {
        AT_WORK.with_borrow(Clone::clone)
    }
}

/// The VM of a worker, as its engine reaches it.
#[derive(Clone)]
struct NativeHost(Shared);

impl NativeHost {
    /// Makes a host call: counted under its name in the ABI, and with an injected fault in place of what it does.
    fn call<T>(&self, name: &'static str, run: impl FnOnce(&mut Vm) -> Result<T, Status>) -> Result<T, HostError> {
        let injected = self.0.borrow().shared.borrow_mut().count_and_fault(name);
        let result = injected.map_or_else(|| run(&mut self.0.borrow_mut()), Err);
        result.map_err(|status| HostError(status.0 as u32))
    }
}

/// Nothing, where the host finds nothing.
fn or_nothing<T: Default>(result: Result<T, HostError>) -> Result<T, HostError> {
    match result {
        Err(error) if error == HostError(Status::NOT_FOUND.0 as u32) => Ok(T::default()),
        result => result,
    }
}

/// What is handed over takes no more memory than its size, as in the module: the engine charges for all that it takes.
fn handed_over(result: Result<Vec<u8>, HostError>) -> Result<Vec<u8>, HostError> {
    result.map(|bytes| bytes.into_boxed_slice().into_vec())
}

/// As many as the host takes; less than one would mean something else to it.
fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis().clamp(1, 0x7fff_ffff)).unwrap()
}

impl Host for NativeHost {
    fn monotonic(&self) -> Result<Duration, HostError> {
        self.call("clock_time_get", |vm| Ok(Duration::from_nanos(vm.shared.borrow().monotonic_ns)))
    }

    fn wall_clock(&self) -> Result<Duration, HostError> {
        self.call("proxy_get_current_time_nanoseconds", |vm| Ok(Duration::from_nanos(vm.shared.borrow().wall_ns)))
    }

    fn random(&self, block: &mut [u8]) -> bool {
        let bytes = self.call("random_get", |vm| Ok(vm.shared.borrow_mut().random_bytes(block.len())));
        bytes.is_ok_and(|bytes| {
            block.copy_from_slice(&bytes);
            true
        })
    }

    fn environment_variable(&self, name: &str) -> Option<String> {
        self.call("environ_sizes_get", |_| Ok(())).ok()?;
        let variables = self.call("environ_get", |vm| Ok(vm.shared.borrow().environment.clone())).ok()?;
        variables.into_iter().find_map(|(given, value)| (given == name).then_some(value))
    }

    fn refuses_environment(&self) -> bool {
        self.call("environ_sizes_get", |_| Ok(())).and_then(|()| self.call("environ_get", |_| Ok(()))).is_err()
    }

    fn buffer(&self, kind: Buffer, max_size: usize) -> Result<Vec<u8>, HostError> {
        let max_size = u32::try_from(max_size).unwrap();
        handed_over(or_nothing(self.call("proxy_get_buffer_bytes", |vm| vm.part_of_buffer(kind as i32, 0, max_size))))
    }

    fn header_pairs(&self, map: Headers) -> Result<Vec<u8>, HostError> {
        let map = |vm: &mut Vm| Ok(vm.serialized_map(MapKind::from_number(map as i32)?));
        handed_over(or_nothing(self.call("proxy_get_header_map_pairs", map)))
    }

    fn header(&self, map: Headers, name: &str) -> Result<Vec<u8>, HostError> {
        let value = |vm: &mut Vm| vm.map_value(MapKind::from_number(map as i32)?, name.as_bytes());
        handed_over(or_nothing(self.call("proxy_get_header_map_value", value)))
    }

    fn property(&self, path: &[&str]) -> Result<Vec<u8>, HostError> {
        handed_over(self.call("proxy_get_property", |vm| vm.property(path.join("\0").as_bytes())))
    }

    fn shared_data<'room>(&self, key: &str, room: &'room mut [u8]) -> Result<(&'room [u8], u32), HostError> {
        let data = self.call("proxy_get_shared_data", |vm| vm.shared.borrow().data.get(key.as_bytes()));
        let (value, version) = or_nothing(data)?;
        match room.get_mut(..value.len()) {
            Some(room) => {
                room.copy_from_slice(&value);
                Ok((room, version))
            }
            None => Ok((&[], version)),
        }
    }

    fn set_shared_data(&self, key: &str, value: &[u8], version: u32) -> Result<(), HostError> {
        self.call("proxy_set_shared_data", |vm| vm.shared.borrow_mut().data.set(key.as_bytes(), value, version))
    }

    fn http_call(&self, cluster: &str, headers: &[u8], body: &[u8], timeout: Duration) -> Result<u32, (Cause, HostError)> {
        let timeout_ms = milliseconds(timeout) as i32;
        let call = Recorded { cluster: cluster.into(), body: body.to_vec(), timeout_ms, ..Recorded::default() };
        self.call("proxy_http_call", |vm| vm.call_out(call, headers, &[])).map_err(|error| {
            let cause = match Status(error.0 as i32) {
                Status::BAD_ARGUMENT => Cause::UnknownCluster,
                Status::INTERNAL_FAILURE => Cause::NoHealthyUpstream,
                _ => Cause::HostError,
            };
            (cause, error)
        })
    }

    fn define_metric(&self, kind: Kind, name: &str) -> Result<u32, HostError> {
        let define = |vm: &mut Vm| vm.with_statistics(|ids, all| ids.define(all, kind as u32, name.as_bytes()));
        self.call("proxy_define_metric", define)
    }

    fn increment_metric(&self, id: u32, offset: i64) -> bool {
        self.call("proxy_increment_metric", |vm| vm.with_statistics(|ids, all| ids.increment(all, id, offset))).is_ok()
    }

    fn record_metric(&self, id: u32, value: u64) -> bool {
        self.call("proxy_record_metric", |vm| vm.with_statistics(|ids, all| ids.record(all, id, value))).is_ok()
    }

    fn set_tick_period(&self, period: Option<Duration>) -> Result<(), HostError> {
        let period = period.map_or(0, milliseconds);
        self.call("proxy_set_tick_period_milliseconds", |vm| vm.set_tick_period(period))
    }

    fn done(&self) -> Result<(), HostError> {
        self.call("proxy_done", Vm::done)
    }
}

/// The log of whichever worker is at work on this thread.
struct Log;

impl Log {
    fn level(level: log::Level) -> Level {
        match level {
            log::Level::Error => Level::Error,
            log::Level::Warn => Level::Warn,
            log::Level::Info => Level::Info,
            log::Level::Debug => Level::Debug,
            log::Level::Trace => Level::Trace,
        }
    }
}

impl log::Log for Log {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        let Some(at_work) = AtWork::now().filter(|_| metadata.target() == TARGET) else {
            return false;
        };
        let least = at_work.host.call("proxy_get_log_level", |vm| Ok(vm.shared.borrow().log_level));
        least.map_or(true, |least| Self::level(metadata.level()) >= least)
    }

    fn log(&self, record: &log::Record<'_>) {
        let Some(at_work) = AtWork::now().filter(|_| record.target() == TARGET) else {
            return;
        };
        let line = LogLine { level: Self::level(record.level()), text: record.args().to_string() };
        let written = at_work.host.call("proxy_log", |vm| {
            vm.shared.borrow_mut().log.push(line);
            Ok(())
        });
        if let Err(error) = written {
            at_work.worker.note(Unexpected::HostCall("proxy_log", error.0));
        }
    }

    fn flush(&self) {}
}
