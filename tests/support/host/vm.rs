//! The state of one VM: its contexts, which of them a host call speaks for, and what the filter may see just now.

use super::{
    abi::{deserialize, serialize, MapKind, Pairs, Status},
    calls::{Answer, Recorded},
    process::Shared,
    shared::{StatIds, Statistics},
    state::StreamState,
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

/// Where a root context is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It is the current configuration, or was never accepted.
    Serving,
    /// A newer configuration took over; its own streams still run.
    Replaced,
    /// It answered `false` to `on_done`, so it stays until it calls `proxy_done`.
    Draining,
}

/// A root context: one configuration in one VM.
pub(crate) struct Root {
    pub(super) configuration: Vec<u8>,
    pub(super) configuration_is_readable: bool,
    pub(super) phase: Phase,
    pub(super) tick_period_ms: u32,
    /// When the timer was last started, on the monotonic clock.
    pub(super) tick_started_ns: u64,
    pub(super) answer: Option<Answer>,
}

pub(crate) enum Context {
    Root(Root),
    Stream(StreamState),
}

/// What a worker's host calls see and change.
pub(crate) struct Vm {
    pub(crate) shared: Rc<RefCell<Shared>>,
    pub(super) contexts: BTreeMap<u32, Context>,
    /// The context of the callback that runs, and the one that the filter put in its place.
    pub(super) current: u32,
    pub(super) effective: Option<u32>,
    /// While set, the host calls that the filter may make.
    pub(crate) allowed: Option<&'static [&'static str]>,
    pub(super) stats: StatIds,
    /// Tokens without a response yet, with the roots that the responses go to.
    pub(super) outstanding: BTreeMap<u32, u32>,
    /// Call-outs that the test has not looked at yet.
    pub(super) recorded: VecDeque<Recorded>,
    /// Roots that are to be deleted once the filter returns.
    pub(super) finished: Vec<u32>,
    last_context: u32,
    last_token: u32,
}

/// Envoy's call-out tokens are multiples of four: the lowest bits tell HTTP from gRPC.
const TOKEN_STEP: u32 = 4;

impl Vm {
    pub(super) fn new(shared: Rc<RefCell<Shared>>) -> Self {
        Self {
            shared,
            contexts: BTreeMap::new(),
            current: 0,
            effective: None,
            allowed: None,
            stats: StatIds::default(),
            outstanding: BTreeMap::new(),
            recorded: VecDeque::new(),
            finished: Vec::new(),
            last_context: 0,
            last_token: 0,
        }
    }

    pub(super) fn add(&mut self, context: Context) -> u32 {
        self.last_context += 1;
        self.contexts.insert(self.last_context, context);
        self.last_context
    }

    pub(super) fn root(&mut self, id: u32) -> Option<&mut Root> {
        match self.contexts.get_mut(&id)? {
            Context::Root(root) => Some(root),
            Context::Stream(_) => None,
        }
    }

    pub(super) fn stream(&mut self, id: u32) -> &mut StreamState {
        match self.contexts.get_mut(&id) {
            Some(Context::Stream(stream)) => stream,
            _ => panic!("stream {id} is over"),
        }
    }

    /// Whether streams of this root are still open.
    pub(super) fn has_streams(&self, root: u32) -> bool {
        let mut all = self.contexts.values();
        all.any(|context| matches!(context, Context::Stream(stream) if stream.root == root))
    }

    /// Removes a root; Envoy cancels what it still waits for.
    pub(super) fn remove_root(&mut self, id: u32) {
        self.contexts.remove(&id);
        self.outstanding.retain(|_, root| *root != id);
    }

    fn speaker(&self) -> u32 {
        self.effective.unwrap_or(self.current)
    }

    fn speakers_root(&self) -> Option<u32> {
        let speaker = self.speaker();
        Some(match self.contexts.get(&speaker)? {
            Context::Root(_) => speaker,
            Context::Stream(stream) => stream.root,
        })
    }

    pub(crate) fn set_effective(&mut self, id: u32) -> Result<(), Status> {
        if !self.contexts.contains_key(&id) {
            return Err(Status::BAD_ARGUMENT);
        }
        self.effective = Some(id);
        Ok(())
    }

    pub(crate) fn set_tick_period(&mut self, milliseconds: u32) -> Result<(), Status> {
        let now = self.shared.borrow().monotonic_ns;
        let root = self.speakers_root().and_then(|id| self.root(id)).ok_or(Status::BAD_ARGUMENT)?;
        (root.tick_period_ms, root.tick_started_ns) = (milliseconds, now);
        Ok(())
    }

    /// The root whose timer runs out next, and when.
    pub(super) fn next_tick(&self) -> Option<(u32, u64)> {
        let timers = self.contexts.iter().filter_map(|(id, context)| match context {
            Context::Root(root) if root.tick_period_ms > 0 => {
                Some((*id, root.tick_started_ns + u64::from(root.tick_period_ms) * 1_000_000))
            }
            _ => None,
        });
        timers.min_by_key(|(_, due)| *due)
    }

    /// `proxy_done`: only a root whose `on_done` has already returned `false` can be done.
    pub(crate) fn done(&mut self) -> Result<(), Status> {
        let id = self.speakers_root().ok_or(Status::NOT_FOUND)?;
        let draining = self.root(id).is_some_and(|root| root.phase == Phase::Draining);
        if !draining || self.finished.contains(&id) {
            return Err(Status::NOT_FOUND);
        }
        self.finished.push(id);
        Ok(())
    }

    /// Runs something on this VM's numbers and the process's statistics.
    pub(crate) fn with_statistics<T>(&mut self, run: impl FnOnce(&mut StatIds, &mut Statistics) -> T) -> T {
        run(&mut self.stats, &mut self.shared.borrow_mut().statistics)
    }

    /// A buffer by the ABI's number. Those of the bodies are there outside their callbacks too, but empty.
    fn buffer(&self, kind: i32) -> Result<Vec<u8>, Status> {
        let speaker = self.speaker();
        match (kind, self.contexts.get(&speaker)) {
            (0, Some(Context::Stream(stream))) => Ok(stream.readable.request_chunk.clone()),
            (1, Some(Context::Stream(stream))) => Ok(stream.readable.response_chunk.clone()),
            (0 | 1 | 2 | 3 | 6 | 8, _) => Ok(Vec::new()),
            (4, _) => self.answer().map(|answer| answer.body.clone()),
            (7, Some(Context::Root(root))) if root.configuration_is_readable => Ok(root.configuration.clone()),
            (5 | 7, _) => Err(Status::NOT_FOUND),
            _ => Err(Status::BAD_ARGUMENT),
        }
    }

    /// A part of a buffer; what lies behind its end is left out.
    pub(crate) fn part_of_buffer(&self, kind: i32, start: u32, length: u32) -> Result<Vec<u8>, Status> {
        let buffer = self.buffer(kind)?;
        let end = start.checked_add(length).ok_or(Status::BAD_ARGUMENT)?;
        let end = (end as usize).min(buffer.len());
        Ok(buffer.get(start as usize..end).unwrap_or_default().to_vec())
    }

    /// All of a map as it travels, or the garbage that takes its place.
    pub(crate) fn serialized_map(&self, kind: MapKind) -> Vec<u8> {
        let garbage = self.shared.borrow().garbage_map.clone();
        garbage.unwrap_or_else(|| serialize(&self.map(kind).unwrap_or_default()))
    }

    /// The first value of a name in a map.
    pub(crate) fn map_value(&self, kind: MapKind, name: &[u8]) -> Result<Vec<u8>, Status> {
        let name = name.to_ascii_lowercase();
        let map = self.map(kind).ok_or_else(|| self.no_map())?;
        let found = map.into_iter().find(|(given, _)| *given == name);
        found.map(|(_, value)| value).ok_or(Status::NOT_FOUND)
    }

    /// A map, or nothing if the speaker has none now.
    fn map(&self, kind: MapKind) -> Option<Pairs> {
        let speaker = self.speaker();
        match (kind, self.contexts.get(&speaker)) {
            (MapKind::CallResponseHeaders, _) => Some(self.answer().ok()?.headers.clone()),
            (MapKind::CallResponseTrailers, _) => self.answer().ok()?.trailers.clone(),
            (kind, Some(Context::Stream(stream))) => stream.readable.map(kind).cloned(),
            _ => None,
        }
    }

    /// Why one value of a map that is not there cannot be had: in the access log a map may well be missing.
    fn no_map(&self) -> Status {
        match self.contexts.get(&self.speaker()) {
            Some(Context::Stream(stream)) if stream.readable.is_log => Status::NOT_FOUND,
            _ => Status::BAD_ARGUMENT,
        }
    }

    /// A property by its path. A root knows only what is the same for all streams.
    pub(crate) fn property(&self, path: &[u8]) -> Result<Vec<u8>, Status> {
        let of_stream = match self.contexts.get(&self.speaker()) {
            Some(Context::Stream(stream)) => stream.property(path),
            _ => None,
        };
        let of_process = || self.shared.borrow().properties.get(path).cloned();
        of_stream.or_else(of_process).ok_or(Status::NOT_FOUND)
    }

    fn answer(&self) -> Result<&Answer, Status> {
        match self.speakers_root().and_then(|id| self.contexts.get(&id)) {
            Some(Context::Root(Root { answer: Some(answer), .. })) => Ok(answer),
            _ => Err(Status::NOT_FOUND),
        }
    }

    /// Makes a call-out, on the speaker's root as Envoy does, and gives its token.
    pub(crate) fn call_out(&mut self, mut call: Recorded, headers: &[u8], trailers: &[u8]) -> Result<u32, Status> {
        call.headers = deserialize(headers);
        call.trailers = deserialize(trailers);
        let complete =
            [&b":method"[..], b":path", b":authority"].iter().all(|name| call.headers.iter().any(|(given, _)| given == name));
        let refused = self.shared.borrow().unreachable.get(&call.cluster).copied();
        let root = self.speakers_root().ok_or(Status::BAD_ARGUMENT)?;
        if call.timeout_ms < 0 || !complete {
            return Err(Status::BAD_ARGUMENT);
        }
        if let Some(status) = refused {
            return Err(status);
        }
        self.last_token += TOKEN_STEP;
        call.token = self.last_token;
        self.outstanding.insert(call.token, root);
        self.recorded.push_back(call);
        Ok(self.last_token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;

    const NO_ROOT: Root = Root {
        configuration: Vec::new(),
        configuration_is_readable: false,
        phase: Phase::Serving,
        tick_period_ms: 0,
        tick_started_ns: 0,
        answer: None,
    };

    #[test]
    fn what_is_not_there_now_is_not_found_or_empty_as_in_envoy() {
        let mut vm = Vm::new(Host::new().0);
        let root = vm.add(Context::Root(NO_ROOT));
        let stream = vm.add(Context::Stream(StreamState { root, ..StreamState::default() }));
        for speaker in [root, stream] {
            vm.current = speaker;
            assert_eq!(vm.buffer(0), Ok(Vec::new()));
            assert_eq!(vm.buffer(4), Err(Status::NOT_FOUND));
            assert_eq!(vm.buffer(7), Err(Status::NOT_FOUND));
            assert_eq!(vm.buffer(9), Err(Status::BAD_ARGUMENT));
            assert_eq!(vm.map(MapKind::RequestHeaders), None);
        }
        vm.root(root).unwrap().answer = Some(Answer::bare(200));
        assert_eq!(vm.buffer(4), Ok(Vec::new()));
        assert!(vm.map(MapKind::CallResponseHeaders).is_some());
    }

    #[test]
    fn only_a_root_that_drains_can_be_done_and_only_once() {
        let mut vm = Vm::new(Host::new().0);
        vm.current = vm.add(Context::Root(NO_ROOT));
        assert_eq!(vm.done(), Err(Status::NOT_FOUND));
        vm.root(1).unwrap().phase = Phase::Draining;
        assert_eq!(vm.done(), Ok(()));
        assert_eq!(vm.done(), Err(Status::NOT_FOUND));
    }

    #[test]
    fn a_call_out_needs_a_cluster_a_timeout_and_three_headers() {
        let mut vm = Vm::new(Host::new().0);
        vm.current = vm.add(Context::Root(NO_ROOT));
        let names = [":method", ":path", ":authority"];
        let all: Pairs = names.map(|name| (name.into(), b"/".to_vec())).into();
        let complete = serialize(&all);
        let try_with = |vm: &mut Vm, headers: &[u8], timeout_ms| {
            let call = Recorded { timeout_ms, ..Recorded::default() };
            vm.call_out(call, headers, &[])
        };
        assert_eq!(try_with(&mut vm, &complete, 1), Ok(4));
        assert_eq!(try_with(&mut vm, &complete, 1), Ok(8));
        assert_eq!(try_with(&mut vm, &complete, -1), Err(Status::BAD_ARGUMENT));
        for missing in 0..3 {
            let mut some = all.clone();
            some.remove(missing);
            let refused = try_with(&mut vm, &serialize(&some), 1);
            assert_eq!(refused, Err(Status::BAD_ARGUMENT));
        }
        vm.remove_root(1);
        assert!(vm.outstanding.is_empty());
    }
}
