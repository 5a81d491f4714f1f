//! A client of the gRPC service `test.Notes`, on tonic.

use std::net::SocketAddr;

use hyper::http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::support::grpc::{Note, CHAT, COLLECT, SEND};

/// The sending end of a stream of notes; dropping it ends the stream.
pub(crate) type Notebook = mpsc::UnboundedSender<Note>;

/// A client of one address, on one connection of HTTP/2.
#[derive(Clone)]
pub(crate) struct GrpcClient(tonic::client::Grpc<Channel>);

impl GrpcClient {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        Self(tonic::client::Grpc::new(endpoint.connect().await.unwrap()))
    }

    /// Sends a note, and returns the note that comes back, or the status that is not OK.
    pub(crate) async fn send(&self, text: &str) -> Result<Note, Status> {
        self.send_with(text, MetadataMap::new()).await
    }

    /// The same with metadata.
    pub(crate) async fn send_with(&self, text: &str, metadata: MetadataMap) -> Result<Note, Status> {
        let request = Request::from_parts(metadata, Default::default(), Note::from(text));
        let mut grpc = self.ready().await?;
        let answer = grpc.unary(request, PathAndQuery::from_static(SEND), ProstCodec::default()).await?;
        Ok(answer.into_inner())
    }

    /// Sends these notes in one stream, and returns what the upstream made of them.
    pub(crate) async fn collect(&self, texts: &[&str]) -> Result<Note, Status> {
        let notes: Vec<Note> = texts.iter().copied().map(Note::from).collect();
        let request = Request::new(tokio_stream::iter(notes));
        let mut grpc = self.ready().await?;
        let answer = grpc.client_streaming(request, PathAndQuery::from_static(COLLECT), ProstCodec::default()).await?;
        Ok(answer.into_inner())
    }

    /// Begins a stream in both directions.
    pub(crate) async fn chat(&self) -> Result<(Notebook, Streaming<Note>), Status> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let request = Request::new(UnboundedReceiverStream::new(receiver));
        let mut grpc = self.ready().await?;
        let answer = grpc.streaming(request, PathAndQuery::from_static(CHAT), ProstCodec::default()).await?;
        Ok((sender, answer.into_inner()))
    }

    async fn ready(&self) -> Result<tonic::client::Grpc<Channel>, Status> {
        let mut grpc = self.0.clone();
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        Ok(grpc)
    }
}
