//! A worker thread: one VM with the filter, entered as Envoy enters it.

use super::{
    calls::{Answer, CallOut},
    filter::Filter,
    process::Host,
    request::Request,
    response::Response,
    stream::Stream,
    vm::Vm,
};
use std::{cell::RefCell, rc::Rc, time::Duration};

/// The VM, the filter in it, and the root context that new streams belong to.
pub(crate) struct Running {
    pub(super) vm: Rc<RefCell<Vm>>,
    filter: Box<dyn Filter>,
    pub(super) serving: Option<u32>,
}

impl Running {
    /// Calls a callback on behalf of a context, if the filter has it, and then does what the call left for later.
    pub(super) fn enter(&mut self, context: u32, callback: &str, arguments: &[u32]) -> Option<i32> {
        let before = {
            let mut vm = self.vm.borrow_mut();
            let before = (vm.current, vm.effective.take());
            vm.current = context;
            before
        };
        let result = self.filter.enter(callback, arguments);
        {
            let mut vm = self.vm.borrow_mut();
            (vm.current, vm.effective) = before;
            vm.shared.borrow_mut().tally.entries += u64::from(result.is_some());
        }
        self.delete_finished_roots();
        result
    }

    fn delete_finished_roots(&mut self) {
        loop {
            let finished = self.vm.borrow_mut().finished.pop();
            let Some(root) = finished else {
                return;
            };
            self.enter(root, "proxy_on_delete", &[root]);
            self.vm.borrow_mut().remove_root(root);
        }
    }
}

/// One worker. Clones are handles on the same one.
#[derive(Clone)]
pub(crate) struct Worker(pub(super) Rc<RefCell<Running>>);

impl Worker {
    /// A worker whose filter is made for the VM at hand.
    pub(crate) fn start(host: &Host, filter: impl FnOnce(&Rc<RefCell<Vm>>) -> Box<dyn Filter>) -> Self {
        let vm = Rc::new(RefCell::new(Vm::new(Rc::clone(&host.0))));
        let filter = filter(&vm);
        Self(Rc::new(RefCell::new(Running { vm, filter, serving: None })))
    }

    /// The most instructions that one callback took since this was asked last; the worker must be a counting one.
    pub(crate) fn longest(&self) -> u64 {
        self.0.borrow_mut().filter.longest()
    }

    /// The first part of a request: its headers, and as little as its end if nothing follows.
    pub(crate) fn begin(&self, request: &Request, end_of_stream: bool) -> Stream {
        let stream = Stream::open(self.clone(), request);
        stream.begin(end_of_stream);
        stream
    }

    /// A whole request, whose response is still to come.
    pub(crate) fn send(&self, request: &Request) -> Stream {
        request.run(self)
    }

    /// A whole request and its response, by default a 200 without a body: the stream is gone afterwards.
    pub(crate) fn exchange(&self, request: &Request) {
        let stream = self.send(request);
        stream.answer(&request.answer.clone().unwrap_or_else(|| Response::status(200)));
        stream.close();
    }

    /// A request that a filter before this one responses: this one learns of it only from the access log.
    pub(crate) fn answer_before_the_filter(&self, request: &Request, response: &Response) {
        let stream = Stream::open(self.clone(), request);
        stream.note_answer(response);
        stream.create();
        stream.end();
    }

    /// The next call-out that the test has not looked at.
    pub(crate) fn call_out(&self) -> CallOut {
        let recorded = self.0.borrow().vm.borrow_mut().recorded.pop_front();
        CallOut::new(self.clone(), recorded.expect("the filter made no call-out"))
    }

    /// All call-outs that the test has not looked at, in the order in which they were made.
    pub(crate) fn call_outs(&self) -> Vec<CallOut> {
        let recorded = std::mem::take(&mut self.0.borrow().vm.borrow_mut().recorded);
        let calls = recorded.into_iter();
        calls.map(|call| CallOut::new(self.clone(), call)).collect()
    }

    /// Gives this answer to every call-out that waits for one, also those that follow from a response, until there are none; says how many
    /// there were.
    pub(crate) fn answer_all(&self, answer: &Answer) -> usize {
        let mut answered = 0;
        loop {
            let calls = self.call_outs();
            if calls.is_empty() {
                return answered;
            }
            // The response to one may end its root, and with it the others.
            for call in calls.iter().filter(|call| !call.is_cancelled()) {
                answered += 1;
                call.answer(answer.clone());
            }
        }
    }

    pub(super) fn waits_for(&self, token: u32) -> bool {
        self.0.borrow().vm.borrow().outstanding.contains_key(&token)
    }

    /// Lets the root see a response, which it can read for as long as the callback runs.
    pub(super) fn deliver(&self, token: u32, answer: Answer) {
        let mut running = self.0.borrow_mut();
        let root = running.vm.borrow_mut().outstanding.remove(&token).unwrap();
        let sizes = [answer.headers.len(), answer.body.len(), answer.trailers.as_ref().map_or(0, Vec::len)];
        let [headers, body, trailers] = sizes.map(|size| u32::try_from(size).unwrap());
        // A reset has no response at all, not an empty one.
        let readable = (headers > 0).then_some(answer);
        running.vm.borrow_mut().root(root).unwrap().answer = readable;
        running.enter(root, "proxy_on_http_call_response", &[root, token, headers, body, trailers]);
        if let Some(root) = running.vm.borrow_mut().root(root) {
            root.answer = None;
        };
    }

    /// A response that the filter never asked for.
    pub(crate) fn deliver_stray_answer(&self, token: u32) {
        let mut running = self.0.borrow_mut();
        let root = running.serving.unwrap();
        running.enter(root, "proxy_on_http_call_response", &[root, token, 1, 0, 0]);
    }

    /// The timer that the current root asked for; `None` while it wants none.
    pub(crate) fn tick_period(&self) -> Option<Duration> {
        let running = self.0.borrow();
        let period = running.vm.borrow_mut().root(running.serving?)?.tick_period_ms;
        (period > 0).then(|| Duration::from_millis(period.into()))
    }

    /// Lets time pass, in which roots tick whenever the timers that they asked for run out. Gives the number of ticks.
    pub(crate) fn pass(&self, host: &Host, time: Duration) -> usize {
        let now = || host.0.borrow().monotonic_ns;
        let end = now() + u64::try_from(time.as_nanos()).unwrap();
        let mut ticks = 0;
        loop {
            let mut running = self.0.borrow_mut();
            let Some((root, due)) = running.vm.borrow().next_tick().filter(|(_, due)| *due <= end) else {
                break;
            };
            host.advance(Duration::from_nanos(due.saturating_sub(now())));
            running.vm.borrow_mut().root(root).unwrap().tick_started_ns = due;
            running.enter(root, "proxy_on_tick", &[root]);
            ticks += 1;
        }
        host.advance(Duration::from_nanos(end.saturating_sub(now())));
        ticks
    }

    /// The memory that the filter has, in bytes.
    pub(crate) fn memory_size(&self) -> usize {
        self.0.borrow_mut().filter.memory_size()
    }

    /// How many statistics this VM was told to define.
    pub(crate) fn definitions(&self) -> usize {
        self.0.borrow().vm.borrow().stats.len()
    }
}
