//! Clients of Envoy on hyper: HTTP/1.1 or HTTP/2, with bodies whole, in pieces, or with trailers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::http::{request, response};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::support::recorded::{list, Headers};

/// The body of a request.
pub(crate) type SendBody = BoxBody<Bytes, Infallible>;

/// No body.
pub(crate) fn empty() -> SendBody {
    Empty::new().boxed()
}

/// A body sent with its length.
pub(crate) fn full(bytes: impl Into<Bytes>) -> SendBody {
    Full::new(bytes.into()).boxed()
}

/// The sending end of a body that is written while it is sent; dropping it ends the body.
pub(crate) type Pieces = mpsc::UnboundedSender<Frame<Bytes>>;

/// A body of unknown length, fed through the other end.
pub(crate) fn pieces() -> (Pieces, SendBody) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Frames(receiver).boxed())
}

/// A body of these chunks and, if there are any, these trailers.
pub(crate) fn chunked(chunks: &[Bytes], trailers: Option<HeaderMap>) -> SendBody {
    let (sender, body) = pieces();
    for chunk in chunks {
        sender.send(Frame::data(chunk.clone())).unwrap();
    }
    if let Some(trailers) = trailers {
        sender.send(Frame::trailers(trailers)).unwrap();
    }
    body
}

struct Frames(mpsc::UnboundedReceiver<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|frame| frame.map(Ok))
    }
}

/// A response, whole.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answered {
    /// The status.
    pub(crate) status: StatusCode,
    /// The headers.
    pub(crate) headers: Headers,
    /// The body.
    pub(crate) body: Bytes,
    /// The trailers.
    pub(crate) trailers: Headers,
}

/// A client of one address; it keeps its connections.
#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    connections: Connections,
}

#[derive(Clone)]
enum Connections {
    Http1(Arc<Mutex<Vec<http1::SendRequest<SendBody>>>>),
    Http2(Arc<tokio::sync::OnceCell<http2::SendRequest<SendBody>>>),
}

impl Client {
    /// A client that speaks HTTP/1.1, with as many connections as it has requests at once.
    pub(crate) fn http1(address: SocketAddr) -> Self {
        Self { address, connections: Connections::Http1(Arc::default()) }
    }

    /// A client that speaks HTTP/2 by prior knowledge, on one connection.
    pub(crate) fn http2(address: SocketAddr) -> Self {
        Self { address, connections: Connections::Http2(Arc::default()) }
    }

    /// The beginning of a request. `target` is a path, or an address with an authority of its own: the connection goes to Envoy either way.
    pub(crate) fn request(&self, method: &str, target: &str) -> request::Builder {
        let uri = if target.starts_with('/') { format!("http://{}{target}", self.address) } else { target.to_owned() };
        Request::builder().method(method).uri(uri)
    }

    /// Sends a request and reads the response to its end.
    pub(crate) async fn send(&self, request: Request<SendBody>) -> Answered {
        self.try_send(request).await.unwrap()
    }

    /// The same, for requests that may break off.
    pub(crate) async fn try_send(&self, request: Request<SendBody>) -> Result<Answered, String> {
        let (head, body) = match &self.connections {
            Connections::Http2(_) => self.begin(request).await?.into_parts(),
            Connections::Http1(idle) => {
                let mut sender = self.http1_sender(idle).await?;
                let answer = sender.send_request(origin_form(request)).await;
                let (head, body) = answer.map_err(|error| format!("{error:?}"))?.into_parts();
                let answered = whole(head, body).await?;
                idle.lock().unwrap().push(sender);
                return Ok(answered);
            }
        };
        whole(head, body).await
    }

    /// Sends a request and returns with the head of the response. The connection is not used again.
    pub(crate) async fn begin(&self, request: Request<SendBody>) -> Result<Response<Incoming>, String> {
        let answer = match &self.connections {
            Connections::Http1(idle) => {
                let mut sender = self.http1_sender(idle).await?;
                sender.send_request(origin_form(request)).await
            }
            Connections::Http2(cell) => {
                let sender = cell.get_or_try_init(|| self.http2_sender()).await?;
                sender.clone().send_request(request).await
            }
        };
        answer.map_err(|error| format!("{error:?}"))
    }

    async fn connect(&self) -> Result<TokioIo<TcpStream>, String> {
        let stream = TcpStream::connect(self.address).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let _ = stream.set_nodelay(true);
        Ok(TokioIo::new(stream))
    }

    async fn http1_sender(
        &self,
        idle: &Mutex<Vec<http1::SendRequest<SendBody>>>,
    ) -> Result<http1::SendRequest<SendBody>, String> {
        loop {
            let Some(mut sender) = idle.lock().unwrap().pop() else {
                break;
            };
            // A connection that is closed, or still busy with a body that nobody wanted, is not used again.
            let ready = tokio::time::timeout(Duration::from_millis(200), sender.ready()).await;
            if matches!(ready, Ok(Ok(()))) {
                return Ok(sender);
            }
        }
        let (sender, connection) = http1::handshake(self.connect().await?).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection.with_upgrades());
        Ok(sender)
    }

    async fn http2_sender(&self) -> Result<http2::SendRequest<SendBody>, String> {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .max_header_list_size(1 << 20)
            .handshake(self.connect().await?)
            .await
            .map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// A GET without more.
    pub(crate) async fn get(&self, target: &str) -> Answered {
        self.send(self.request("GET", target).body(empty()).unwrap()).await
    }

    /// A POST with a body of known length.
    pub(crate) async fn post(&self, target: &str, body: impl Into<Bytes>) -> Answered {
        self.send(self.request("POST", target).body(full(body)).unwrap()).await
    }
}

async fn whole(head: response::Parts, body: Incoming) -> Result<Answered, String> {
    let body = body.collect().await.map_err(|error| format!("{error:?}"))?;
    Ok(Answered {
        status: head.status,
        headers: list(&head.headers),
        trailers: body.trailers().map(list).unwrap_or_default(),
        body: body.to_bytes(),
    })
}

/// HTTP/1.1 has the authority in `host`, only the path in the request line, and says so when a body comes in chunks (hyper sends the body of
/// a GET only then).
fn origin_form(mut request: Request<SendBody>) -> Request<SendBody> {
    let uri = request.uri().clone();
    let mut first = HeaderMap::new();
    if let Some(authority) = uri.authority() {
        first.insert("host", HeaderValue::from_str(authority.as_str()).unwrap());
        *request.uri_mut() = uri.path_and_query().unwrap().as_str().parse().unwrap();
    }
    if request.body().size_hint().exact().is_none() {
        first.insert("transfer-encoding", HeaderValue::from_static("chunked"));
    }
    let rest = std::mem::replace(request.headers_mut(), first);
    request.headers_mut().extend(rest);
    request
}
