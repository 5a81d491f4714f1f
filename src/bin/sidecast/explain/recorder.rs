//! A host that runs the engine once, for one request, and records calls and counters. Calls never end, and time does not pass.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use sidecast::config::Config;
use sidecast::delivery::cause::Cause;
use sidecast::engine::contexts::Engine;
use sidecast::engine::host::{Buffer, Headers, Host, HostError};
use sidecast::engine::worker::Worker;
use sidecast::http::headers::{HeaderMap, Pairs};
use sidecast::observe::metrics::Kind;

use super::chain::Unchained;
use super::made;
use super::request::Asked;

const ROOT: u32 = 1;
const STREAM: u32 = 2;

/// The header in which a copy names its target. Dead letters do not have it.
const TARGET: &[u8] = b"x-sidecast-target";

const NOT_FOUND: HostError = HostError(1);

/// A copy as the engine sends it.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Sent {
    pub(super) fn header<'a>(&'a self, name: &'a [u8]) -> &'a [u8] {
        self.headers.get_all(name).next().unwrap_or_default()
    }
}

pub(super) struct Recorder<'a> {
    source: &'a Unchained,
    pub(super) config: &'a Config,
    pub(super) asked: &'a Asked<'a>,
    /// The number of random words handed out.
    pub(super) words: Cell<u64>,
    /// The environment variables that were read: the value of each, and what is displayed in its place.
    pub(super) variables: RefCell<BTreeMap<String, String>>,
    /// The names of the metrics by number, and the names of those that grew.
    metrics: RefCell<Vec<String>>,
    moved: RefCell<Vec<String>>,
    sent: RefCell<Vec<Sent>>,
}

impl<'a> Recorder<'a> {
    /// Runs the engine with a configuration. `source` is its source.
    pub(super) fn run(source: &'a Unchained, config: &'a Config, asked: &'a Asked<'a>) -> Self {
        let (words, variables) = Default::default();
        let (metrics, moved, sent) = Default::default();
        let recorder = Self { source, config, asked, words, variables, metrics, moved, sent };
        let mut engine = Engine::new(Rc::new(Worker::new(&recorder)));
        engine.create(ROOT, 0);
        engine.configure(ROOT, source.text.len());
        engine.create(STREAM, ROOT);
        // A request that asks for an upgrade does not end with its headers.
        engine.request_headers(STREAM, false);
        engine.request_body(STREAM, asked.body.len(), true);
        if asked.answered.is_some() {
            let body = recorder.answer_body();
            engine.response_headers(STREAM, body.is_empty());
            if !body.is_empty() {
                engine.response_body(STREAM, body.len(), true);
            }
            engine.done(STREAM);
        }
        // Sends the batches. Expensive steps wait for a tick: completing a batch, and its call.
        engine.done(ROOT);
        for _ in 0..config.targets.len().saturating_mul(2) {
            engine.tick(ROOT);
        }
        drop(engine);
        recorder
    }

    /// The names of a target's metrics that grew.
    pub(super) fn moved(&self, target: &str) -> Vec<String> {
        let prefix = format!("sidecast.{target}.");
        self.moved.borrow().iter().filter_map(|name| name.strip_prefix(&prefix)).map(str::to_owned).collect()
    }

    /// The copy that a target gets.
    pub(super) fn sent(&self, target: &str) -> Option<Sent> {
        self.sent.borrow().iter().find(|sent| sent.header(TARGET) == target.as_bytes()).cloned()
    }

    fn answer_body(&self) -> &[u8] {
        self.asked.answered.as_ref().and_then(|answered| answered.body.as_deref().ok()).unwrap_or_default()
    }

    fn map(&self, map: Headers) -> Result<&HeaderMap, HostError> {
        match (map, &self.asked.answered) {
            (Headers::Request, _) => Ok(&self.asked.headers),
            (Headers::Response, Some(answered)) => Ok(&answered.headers),
            _ => Err(NOT_FOUND),
        }
    }
}

impl Host for &Recorder<'_> {
    fn monotonic(&self) -> Result<Duration, HostError> {
        Ok(Duration::ZERO)
    }

    fn wall_clock(&self) -> Result<Duration, HostError> {
        Ok(SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default())
    }

    fn random(&self, block: &mut [u8]) -> bool {
        for chunk in block.chunks_exact_mut(8) {
            chunk.copy_from_slice(&made::word(self.words.get()));
            self.words.set(self.words.get().saturating_add(1));
        }
        true
    }

    fn environment_variable(&self, name: &str) -> Option<String> {
        let value = self.source.variable(name)?;
        // What is known is displayed.
        if self.source.values.contains_key(name) {
            return Some(value);
        }
        self.variables.borrow_mut().insert(value.clone(), made::variable(name));
        Some(value)
    }

    fn refuses_environment(&self) -> bool {
        false
    }

    fn buffer(&self, kind: Buffer, max_size: usize) -> Result<Vec<u8>, HostError> {
        let bytes = match kind {
            Buffer::PluginConfiguration => self.source.text.as_bytes(),
            Buffer::RequestBody => self.asked.body,
            Buffer::ResponseBody => self.answer_body(),
            _ => return Err(NOT_FOUND),
        };
        Ok(bytes.iter().take(max_size).copied().collect())
    }

    fn header_pairs(&self, map: Headers) -> Result<Vec<u8>, HostError> {
        Ok(self.map(map)?.parts().followed_by(Pairs::default().parts()))
    }

    fn header(&self, map: Headers, name: &str) -> Result<Vec<u8>, HostError> {
        Ok(self.map(map)?.get_all(name.as_bytes()).next().unwrap_or_default().to_vec())
    }

    fn property(&self, path: &[&str]) -> Result<Vec<u8>, HostError> {
        match (path, &self.asked.answered) {
            (["response", "flags"], _) => Ok(0_u64.to_le_bytes().to_vec()),
            (["response", "code"], Some(answered)) => Ok(u64::from(answered.status.unwrap_or_default()).to_le_bytes().to_vec()),
            _ => {
                let place = self.config.properties.iter().position(|other| other == path);
                place.map(|place| made::property(place, path)).ok_or(NOT_FOUND)
            }
        }
    }

    fn shared_data<'room>(&self, _key: &str, _room: &'room mut [u8]) -> Result<(&'room [u8], u32), HostError> {
        Ok((&[], 0))
    }

    fn set_shared_data(&self, _key: &str, _value: &[u8], _version: u32) -> Result<(), HostError> {
        Ok(())
    }

    fn http_call(&self, _cluster: &str, headers: &[u8], body: &[u8], _timeout: Duration) -> Result<u32, (Cause, HostError)> {
        let sent = Sent { headers: HeaderMap::new(headers.to_vec()), body: body.to_vec() };
        // A dead letter fails, so that its reason is counted.
        if sent.header(TARGET).is_empty() {
            return Err((Cause::UnknownCluster, NOT_FOUND));
        }
        push(&self.sent, sent).map_err(|error| (Cause::HostError, error))
    }

    fn define_metric(&self, _kind: Kind, name: &str) -> Result<u32, HostError> {
        push(&self.metrics, name.to_owned())
    }

    fn increment_metric(&self, id: u32, offset: i64) -> bool {
        let metrics = self.metrics.borrow();
        let name = usize::try_from(id).ok().and_then(|id| metrics.get(id)).filter(|_| offset > 0);
        self.moved.borrow_mut().extend(name.cloned());
        true
    }

    fn record_metric(&self, _id: u32, _value: u64) -> bool {
        true
    }

    fn set_tick_period(&self, _period: Option<Duration>) -> Result<(), HostError> {
        Ok(())
    }

    fn done(&self) -> Result<(), HostError> {
        Ok(())
    }
}

/// Appends to a list. Returns the index.
fn push<T>(list: &RefCell<Vec<T>>, more: T) -> Result<u32, HostError> {
    let mut list = list.borrow_mut();
    list.push(more);
    u32::try_from(list.len().saturating_sub(1)).map_err(|_| NOT_FOUND)
}
