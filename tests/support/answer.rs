//! How an upstream behaves, and its responses.

use std::fmt::{self, Debug, Formatter};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::{Response, StatusCode};
use tokio::sync::Semaphore;

use crate::support::recorded::Recorded;

/// What an upstream does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Behaviour {
    /// Reads the whole request, waits, and responses.
    Answer(Answer),
    /// Reads the whole request, waits for the gate to open, and responses.
    Gated(Gate, Answer),
    /// Answers at once, without reading the body.
    AnswerEarly(Answer),
    /// Reads the whole request and responses with its body.
    Echo,
    /// Reads the whole request and never answers.
    Hang,
    /// Reads the whole request and closes without a response.
    CloseBeforeHeaders,
    /// Responses with headers and a part of the promised body, then closes.
    CloseInAnswer,
    /// Responses with headers and a part of the promised body, then falls silent.
    HangInAnswer,
    /// Reads the whole request and behaves as that asks for.
    Chosen(Choice),
}

impl Behaviour {
    /// Chooses another behaviour for each request.
    #[allow(dead_code)] // Not in every test binary.
    pub(crate) fn chosen(choose: impl Fn(&Recorded) -> Self + Send + Sync + 'static) -> Self {
        Self::Chosen(Choice(Arc::new(choose)))
    }

    /// The first for requests whose path begins like this, the second for all others.
    #[allow(dead_code)] // Not in every test binary.
    pub(crate) fn by_path(start: &'static str, first: Self, second: Self) -> Self {
        Self::chosen(move |request| if request.path.starts_with(start) { first.clone() } else { second.clone() })
    }
}

/// Chooses a behaviour for each request.
#[derive(Clone)]
pub(crate) struct Choice(Arc<dyn Fn(&Recorded) -> Behaviour + Send + Sync>);

impl Choice {
    /// What to do with this request, which is complete.
    pub(crate) fn of(&self, request: &Recorded) -> Behaviour {
        match (self.0)(request) {
            Behaviour::Chosen(next) => next.of(request),
            behaviour => behaviour,
        }
    }
}

impl Debug for Choice {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("Choice")
    }
}

/// Holds answers back until it is opened.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    /// A gate that is shut.
    pub(crate) fn shut() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Opens it for good.
    pub(crate) fn open(&self) {
        self.0.close();
    }

    /// Waits until it is open.
    pub(crate) async fn passed(&self) {
        // There never is a permit: the wait ends when the semaphore is closed.
        let _ = self.0.acquire().await;
    }
}

/// A response.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// How long to wait before it.
    pub(crate) delay: Duration,
    /// Its headers, besides the content length and a fixed date.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Its body.
    pub(crate) body: Bytes,
}

impl Answer {
    /// A response of this status at once, with a short body.
    pub(crate) fn status(status: u16) -> Self {
        Self { status, delay: Duration::ZERO, headers: Vec::new(), body: Bytes::from_static(b"answer of the upstream") }
    }

    /// The same, later.
    pub(crate) fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// The response for hyper: it counts its end, and is cut as asked.
    pub(crate) fn response(self, tally: &Arc<Tally>, cut: Cut) -> Response<AnswerBody> {
        let mut response = Response::builder()
            .status(StatusCode::from_u16(self.status).unwrap())
            // A fixed date makes answers comparable.
            .header("date", "Thu, 01 Jan 1970 00:00:00 GMT")
            .header("content-length", self.body.len());
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        let sent = match cut {
            Cut::Not => self.body,
            Cut::Close | Cut::Hang => self.body.slice(..self.body.len() / 2),
        };
        let body = AnswerBody { data: (!sent.is_empty()).then_some(sent), cut, yielded: false, tally: Arc::clone(tally) };
        response.body(body).unwrap()
    }
}

/// How often answers came to their end.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Answers handed over to the connection whole.
    pub(crate) answered: AtomicUsize,
    /// Requests and responses that the other side gave up before their end.
    pub(crate) abandoned: AtomicUsize,
}

/// What happens in the middle of a response.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cut {
    /// Nothing.
    Not,
    /// The connection is closed.
    Close,
    /// Nothing more is sent.
    Hang,
}

/// A body that knows whether it was taken to its end.
pub(crate) struct AnswerBody {
    data: Option<Bytes>,
    cut: Cut,
    yielded: bool,
    tally: Arc<Tally>,
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match self.cut {
            Cut::Not => Poll::Ready(None),
            Cut::Hang => Poll::Pending,
            // A turn for the data to be written before the connection goes.
            Cut::Close if !self.yielded => {
                self.yielded = true;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Cut::Close => Poll::Ready(Some(Err("closed as asked"))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.cut == Cut::Not && self.data.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.data, self.cut) {
            (Some(data), Cut::Not) => SizeHint::with_exact(data.len() as u64),
            (None, Cut::Not) => SizeHint::with_exact(0),
            (_, Cut::Close | Cut::Hang) => SizeHint::default(),
        }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        let counter = match (self.cut, &self.data) {
            (Cut::Not, None) => &self.tally.answered,
            _ => &self.tally.abandoned,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
