//! A host for tests: its clock goes when the test says so, its calls end as the test says, and it fails when told to.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::contexts::Engine;
use super::host::{Buffer, Headers, Host, HostError, CAS_MISMATCH};
use super::worker::Worker;
use crate::delivery::cause::Cause;
use crate::http::headers::Pairs;
use crate::observe::metrics::Kind;

const NOT_FOUND: HostError = HostError(1);

/// What a fake host has been told, and what it tells.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) now: Cell<Duration>,
    pub(crate) tick_period: Cell<Option<Duration>>,
    /// Calls that have not ended: token, cluster and body.
    pub(crate) calls: RefCell<Vec<(u32, String, Vec<u8>)>>,
    /// Calls to this cluster are not taken.
    pub(crate) refused: RefCell<Option<String>>,
    pub(crate) is_done: Cell<bool>,
    statistics: RefCell<BTreeMap<String, i64>>,
    names: RefCell<Vec<String>>,
    shared: RefCell<BTreeMap<String, (Vec<u8>, u32)>>,
    /// What is at hand of a stream or call.
    headers: RefCell<BTreeMap<u32, Pairs>>,
    buffer: RefCell<Vec<u8>>,
    properties: RefCell<BTreeMap<String, u64>>,
    random: Cell<u64>,
    tokens: Cell<u32>,
}

impl State {
    pub(crate) fn stat(&self, name: &str) -> i64 {
        self.statistics.borrow().get(name).copied().unwrap_or_default()
    }

    /// The sum of all statistics whose names begin like this.
    pub(crate) fn sum(&self, prefix: &str) -> i64 {
        self.statistics.borrow().iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, value)| value).sum()
    }
}

#[derive(Clone, Default)]
pub(crate) struct Fake(pub(crate) Rc<State>);

impl Fake {
    fn pairs(&self, map: Headers) -> Result<Pairs, HostError> {
        self.0.headers.borrow().get(&(map as u32)).cloned().ok_or(NOT_FOUND)
    }
}

impl Host for Fake {
    fn monotonic(&self) -> Result<Duration, HostError> {
        Ok(self.0.now.get())
    }

    fn wall_clock(&self) -> Result<Duration, HostError> {
        Ok(Duration::from_secs(1_700_000_000) + self.0.now.get())
    }

    fn random(&self, block: &mut [u8]) -> bool {
        for byte in block {
            let next = self.0.random.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            self.0.random.set(next);
            *byte = (next >> 33) as u8;
        }
        true
    }

    fn environment_variable(&self, _name: &str) -> Option<String> {
        None
    }

    fn refuses_environment(&self) -> bool {
        false
    }

    fn buffer(&self, _kind: Buffer, max_size: usize) -> Result<Vec<u8>, HostError> {
        let buffer = self.0.buffer.borrow();
        Ok(buffer[..buffer.len().min(max_size)].to_vec())
    }

    fn header_pairs(&self, map: Headers) -> Result<Vec<u8>, HostError> {
        self.pairs(map).map(|pairs| pairs.serialize_with(&Pairs::default()))
    }

    fn header(&self, map: Headers, name: &str) -> Result<Vec<u8>, HostError> {
        let pairs = self.pairs(map)?;
        let headers = crate::http::headers::HeaderMap::from(&pairs);
        let value = headers.get_all(name.as_bytes()).next().unwrap_or_default().to_vec();
        Ok(value)
    }

    fn property(&self, path: &[&str]) -> Result<Vec<u8>, HostError> {
        let value = self.0.properties.borrow().get(&path.join(".")).copied();
        value.map(|value| value.to_le_bytes().to_vec()).ok_or(NOT_FOUND)
    }

    fn shared_data<'room>(&self, key: &str, room: &'room mut [u8]) -> Result<(&'room [u8], u32), HostError> {
        let shared = self.0.shared.borrow();
        let Some((value, version)) = shared.get(key) else {
            return Ok((&[], 0));
        };
        room[..value.len()].copy_from_slice(value);
        Ok((&room[..value.len()], *version))
    }

    fn set_shared_data(&self, key: &str, value: &[u8], version: u32) -> Result<(), HostError> {
        let mut shared = self.0.shared.borrow_mut();
        let present = shared.get(key).map(|(_, version)| *version);
        if present.is_some_and(|present| version != 0 && version != present) {
            return Err(CAS_MISMATCH);
        }
        shared.insert(key.to_owned(), (value.to_vec(), present.unwrap_or_default() + 1));
        Ok(())
    }

    fn http_call(&self, cluster: &str, _headers: &[u8], body: &[u8], _timeout: Duration) -> Result<u32, (Cause, HostError)> {
        if cluster.is_empty() {
            return Err((Cause::UnknownCluster, HostError(2)));
        }
        if self.0.refused.borrow().as_deref() == Some(cluster) {
            return Err((Cause::NoHealthyUpstream, HostError(10)));
        }
        let token = self.0.tokens.get() + 1;
        self.0.tokens.set(token);
        self.0.calls.borrow_mut().push((token, cluster.to_owned(), body.to_vec()));
        Ok(token)
    }

    fn define_metric(&self, _kind: Kind, name: &str) -> Result<u32, HostError> {
        self.0.names.borrow_mut().push(name.to_owned());
        Ok(u32::try_from(self.0.names.borrow().len() - 1).unwrap())
    }

    fn increment_metric(&self, id: u32, offset: i64) -> bool {
        let name = self.0.names.borrow()[id as usize].clone();
        *self.0.statistics.borrow_mut().entry(name).or_default() += offset;
        true
    }

    fn record_metric(&self, id: u32, value: u64) -> bool {
        let name = self.0.names.borrow()[id as usize].clone();
        self.0.statistics.borrow_mut().insert(name, i64::try_from(value).unwrap());
        true
    }

    fn set_tick_period(&self, period: Option<Duration>) -> Result<(), HostError> {
        self.0.tick_period.set(period);
        Ok(())
    }

    fn done(&self) -> Result<(), HostError> {
        self.0.is_done.set(true);
        Ok(())
    }
}

/// An engine on a fake host, with one root.
pub(crate) struct Stage {
    pub(crate) host: Rc<State>,
    vm: Engine<Fake>,
    streams: u32,
}

const ROOT: u32 = 1;

impl Stage {
    pub(crate) fn new(configuration: &serde_json::Value) -> Self {
        let fake = Fake::default();
        // It is asked which of these calls it allows.
        let host = Rc::clone(&fake.0);
        let mut vm = Engine::new(Rc::new(Worker::new(fake)));
        vm.create(ROOT, 0);
        let text = configuration.to_string();
        *host.buffer.borrow_mut() = text.clone().into_bytes();
        assert!(vm.configure(ROOT, text.len()), "{text}");
        Self { host, vm, streams: ROOT }
    }

    /// A request begins; its stream.
    pub(crate) fn begin(&mut self, method: &str, is_complete: bool) -> u32 {
        self.streams += 1;
        self.vm.create(self.streams, ROOT);
        let line: [(&str, &[u8]); 3] = [(":method", method.as_bytes()), (":path", b"/"), (":authority", b"primary")];
        self.host.headers.borrow_mut().insert(Headers::Request as u32, Pairs::from_iter(line));
        self.vm.request_headers(self.streams, is_complete);
        self.streams
    }

    pub(crate) fn chunk(&mut self, stream: u32, chunk: &[u8], is_last: bool) {
        *self.host.buffer.borrow_mut() = chunk.to_vec();
        self.vm.request_body(stream, chunk.len(), is_last);
    }

    /// The primary responds with this status, or not at all, and the stream ends.
    pub(crate) fn end(&mut self, stream: u32, status: Option<u16>) {
        let code = status.map(|status| ("response.code".to_owned(), u64::from(status)));
        *self.host.properties.borrow_mut() = code.into_iter().chain([("response.flags".to_owned(), 0)]).collect();
        self.vm.done(stream);
    }

    /// One of the calls ends, with this status or without a response.
    pub(crate) fn response(&mut self, which: usize, status: Option<u16>) {
        let (token, ..) = {
            let mut calls = self.host.calls.borrow_mut();
            if calls.is_empty() {
                return;
            }
            let which = which % calls.len();
            calls.remove(which)
        };
        let status = status.map(|status| status.to_string());
        let headers = status.iter().flat_map(|status| [(":status", status.as_bytes()), ("x-envoy-upstream-service-time", b"1")]);
        self.host.headers.borrow_mut().insert(Headers::CallResponse as u32, Pairs::from_iter(headers));
        self.vm.call_ended(ROOT, token, if status.is_some() { 2 } else { 0 }, 0);
    }

    /// Time passes, with the ticks that were asked for.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.host.now.get() + time;
        let next = |host: &State| host.tick_period.get().map(|period| host.now.get() + period).filter(|next| *next <= end);
        // Once its only root is done, no tick comes.
        while let Some(next) = next(&self.host).filter(|_| !self.host.is_done.get()) {
            self.host.now.set(next);
            self.vm.tick(ROOT);
        }
        self.host.now.set(end);
    }

    /// The configuration is replaced; true when nothing was under way.
    pub(crate) fn drain(&mut self) -> bool {
        self.vm.done(ROOT)
    }
}
