//! An upstream of gRPC, on tonic, that records what it receives. Its service `test.Notes` has three methods, all of which take and give a
//! [`Note`]; it is written by hand, so that nobody needs protoc.

use std::convert::Infallible;
use std::fmt::{self, Debug, Formatter};
use std::future::{ready, Future, Ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tokio_stream::{Stream, StreamExt};
use tonic::body::Body;
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::support::eventually::{eventually, PATIENCE};
use crate::support::recorded::{list, values, Headers};

/// Unary.
pub(crate) const SEND: &str = "/test.Notes/Send";
/// Many notes in, one out, after the last.
pub(crate) const COLLECT: &str = "/test.Notes/Collect";
/// Many notes in, each sent back at once.
pub(crate) const CHAT: &str = "/test.Notes/Chat";

/// The message of all methods.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Note {
    /// What it says.
    #[prost(string, tag = "1")]
    pub(crate) text: String,
}

impl From<&str> for Note {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned() }
    }
}

/// A unary request as it arrived.
#[derive(Clone)]
pub(crate) struct Call {
    /// All headers but those that begin with a colon.
    pub(crate) metadata: Headers,
    /// The message.
    pub(crate) note: Note,
}

impl Debug for Call {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}, headers:", self.note.text)?;
        for (name, value) in &self.metadata {
            write!(formatter, " {name}: {};", value.escape_ascii())?;
        }
        Ok(())
    }
}

impl Call {
    /// All values of a header.
    pub(crate) fn values(&self, name: &str) -> Vec<String> {
        values(&self.metadata, name)
    }
}

/// What an upstream answers to a unary request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A message, and that all is well.
    Note(Note),
    /// A status in the headers, which are then all of the response.
    TrailersOnly(Code),
    /// Headers, then a status in the trailers.
    Status(Code),
    /// A message, and after it a status in the trailers.
    NoteThenStatus(Note, Code),
}

struct Shared {
    reply: Mutex<Reply>,
    calls: Mutex<Vec<Call>>,
    streams: Mutex<Streams>,
}

/// How far streaming requests have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Streams {
    /// Streams that began.
    pub(crate) begun: usize,
    /// Notes that arrived on them.
    pub(crate) notes: usize,
    /// Streams that the client ended as it should.
    pub(crate) ended: usize,
}

/// A running upstream. It takes no more connections when it is dropped.
pub(crate) struct GrpcUpstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Drop for GrpcUpstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl GrpcUpstream {
    /// Starts an upstream that answers each unary request with the note `noted`.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            reply: Mutex::new(Reply::Note("noted".into())),
            calls: Mutex::default(),
            streams: Mutex::default(),
        });
        let notes = Notes(Arc::clone(&shared));
        let server = tokio::spawn(Server::builder().serve_with_incoming(notes, TcpListenerStream::new(listener)));
        Self { address, shared, server }
    }

    /// Where it listens; it speaks HTTP/2 only.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what it responds to unary requests from now on.
    pub(crate) fn reply(&self, reply: Reply) {
        *self.shared.reply.lock().unwrap() = reply;
    }

    /// The unary requests so far, in the order of arrival.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap().clone()
    }

    /// Waits until `count` unary requests have arrived, and takes all that have.
    pub(crate) async fn take(&self, count: usize) -> Vec<Call> {
        eventually(PATIENCE, "gRPC requests at the upstream", async || match self.calls().len() {
            seen if seen >= count => Ok(()),
            seen => Err(format!("{seen} of {count}")),
        })
        .await;
        std::mem::take(&mut *self.shared.calls.lock().unwrap())
    }

    /// Waits for the one unary request that should arrive, and takes it.
    pub(crate) async fn take_one(&self) -> Call {
        let mut all = self.take(1).await;
        assert_eq!(all.len(), 1, "one request should have arrived: {all:?}");
        all.remove(0)
    }

    /// How far streaming requests, of both methods together, have come.
    pub(crate) fn streams(&self) -> Streams {
        *self.shared.streams.lock().unwrap()
    }
}

type Answer = hyper::Response<Body>;
type Later<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;
type Notepad = Pin<Box<dyn Stream<Item = Result<Note, Status>> + Send>>;

/// The service: finds the method.
#[derive(Clone)]
struct Notes(Arc<Shared>);

impl tower_service::Service<hyper::Request<Body>> for Notes {
    type Response = Answer;
    type Error = Infallible;
    type Future = Later<Answer, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: hyper::Request<Body>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<Note, Note>::default());
            Ok(match request.uri().path() {
                SEND => grpc.server_streaming(OnSend(shared), request).await,
                COLLECT => grpc.client_streaming(OnCollect(shared), request).await,
                CHAT => grpc.streaming(OnChat(shared), request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

struct OnSend(Arc<Shared>);

/// A unary method in all but the type: on the wire they are the same, but only so can a status follow a message.
impl tonic::server::ServerStreamingService<Note> for OnSend {
    type Response = Note;
    type ResponseStream = tokio_stream::Iter<std::vec::IntoIter<Result<Note, Status>>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Note>) -> Self::Future {
        let metadata = list(&request.metadata().clone().into_headers());
        self.0.calls.lock().unwrap().push(Call { metadata, note: request.into_inner() });
        let failed = |code| Status::new(code, "as asked");
        let items = match self.0.reply.lock().unwrap().clone() {
            Reply::Note(note) => vec![Ok(note)],
            Reply::TrailersOnly(code) => return ready(Err(failed(code))),
            Reply::Status(code) => vec![Err(failed(code))],
            Reply::NoteThenStatus(note, code) => vec![Ok(note), Err(failed(code))],
        };
        ready(Ok(Response::new(tokio_stream::iter(items))))
    }
}

struct OnCollect(Arc<Shared>);

impl tonic::server::ClientStreamingService<Note> for OnCollect {
    type Response = Note;
    type Future = Later<Response<Note>, Status>;

    fn call(&mut self, request: Request<Streaming<Note>>) -> Self::Future {
        let mut notes = counted(&self.0, request.into_inner());
        Box::pin(async move {
            let mut texts = Vec::new();
            while let Some(note) = notes.next().await {
                texts.push(note?.text);
            }
            Ok(Response::new(Note { text: texts.join(" ") }))
        })
    }
}

struct OnChat(Arc<Shared>);

impl tonic::server::StreamingService<Note> for OnChat {
    type Response = Note;
    type ResponseStream = Notepad;
    type Future = Ready<Result<Response<Notepad>, Status>>;

    fn call(&mut self, request: Request<Streaming<Note>>) -> Self::Future {
        ready(Ok(Response::new(counted(&self.0, request.into_inner()))))
    }
}

/// The notes of a stream, which is counted as it goes.
fn counted(shared: &Arc<Shared>, mut notes: Streaming<Note>) -> Notepad {
    shared.streams.lock().unwrap().begun += 1;
    let shared = Arc::clone(shared);
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(note) = notes.next().await {
            shared.streams.lock().unwrap().notes += usize::from(note.is_ok());
            let is_broken = note.is_err();
            let _ = sender.send(note);
            if is_broken {
                return;
            }
        }
        shared.streams.lock().unwrap().ended += 1;
    });
    Box::pin(UnboundedReceiverStream::new(receiver))
}
