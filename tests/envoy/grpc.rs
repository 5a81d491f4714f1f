//! What tests with gRPC rely on, shown without the filter: real clients and upstreams get through Envoy to each other.

use tonic::metadata::MetadataMap;
use tonic::Code;

use crate::support::bootstrap::Filter;
use crate::support::envoy::Envoy;
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::grpc::{GrpcUpstream, Note, Reply, Streams};
use crate::support::grpc_client::GrpcClient;
use crate::support::setup::Setup;

async fn plain(upstream: &GrpcUpstream) -> (Envoy, GrpcClient) {
    let envoy = Setup::new().http2_cluster("primary", upstream.address()).listener("main", Filter::None).start().await;
    let client = GrpcClient::connect(envoy.address("main")).await;
    (envoy, client)
}

#[tokio::test]
async fn a_unary_call_arrives_with_its_message_and_metadata() {
    let upstream = GrpcUpstream::start().await;
    let (_envoy, client) = plain(&upstream).await;
    let mut metadata = MetadataMap::new();
    metadata.insert("x-tenant", "7".parse().unwrap());
    assert_eq!(client.send_with("first", metadata).await.unwrap(), Note::from("noted"));
    let call = upstream.take_one().await;
    assert_eq!(call.note, Note::from("first"));
    assert_eq!(call.values("x-tenant"), ["7"]);
    assert_eq!(call.values("te"), ["trailers"]);
    assert_eq!(call.values("content-type"), ["application/grpc"]);
}

#[tokio::test]
async fn a_status_comes_back_from_wherever_it_stands() {
    let upstream = GrpcUpstream::start().await;
    let (_envoy, client) = plain(&upstream).await;
    let replies = [
        (Reply::TrailersOnly(Code::PermissionDenied), Code::PermissionDenied),
        (Reply::Status(Code::Unavailable), Code::Unavailable),
        (Reply::NoteThenStatus("half".into(), Code::DataLoss), Code::DataLoss),
    ];
    for (reply, code) in replies {
        upstream.reply(reply);
        let status = client.send("note").await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, "as asked"));
    }
    upstream.reply(Reply::Note("again".into()));
    assert_eq!(client.send("note").await.unwrap(), Note::from("again"));
    assert_eq!(upstream.calls().len(), 4);
}

#[tokio::test]
async fn a_stream_of_a_client_is_collected() {
    let upstream = GrpcUpstream::start().await;
    let (_envoy, client) = plain(&upstream).await;
    assert_eq!(client.collect(&["one", "two", "three"]).await.unwrap(), Note::from("one two three"));
    assert_eq!(upstream.streams(), Streams { begun: 1, notes: 3, ended: 1 });
    assert!(upstream.calls().is_empty());
}

#[tokio::test]
async fn a_chat_goes_both_ways_while_it_is_open() {
    let upstream = GrpcUpstream::start().await;
    let (_envoy, client) = plain(&upstream).await;
    let (sender, mut notes) = client.chat().await.unwrap();
    for (count, text) in [(1, "hello"), (2, "goodbye")] {
        sender.send(text.into()).unwrap();
        assert_eq!(notes.message().await.unwrap(), Some(Note::from(text)));
        assert_eq!(upstream.streams(), Streams { begun: 1, notes: count, ended: 0 });
    }
    drop(sender);
    assert_eq!(notes.message().await.unwrap(), None);
    eventually(PATIENCE, "the stream to end", async || match upstream.streams() {
        Streams { begun: 1, notes: 2, ended: 1 } => Ok(()),
        seen => Err(format!("{seen:?}")),
    })
    .await;
}
