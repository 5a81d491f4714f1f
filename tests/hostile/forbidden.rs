//! Answers over HTTP/2 that end Envoy when a target's cluster speaks HTTP/2 by itself, by both of its codecs, and what makes them harmless.
//!
//! nghttp2, which Envoy 1.37 and later take unless told otherwise, does not stand that a call begins while another one's stream is reset. And Envoy
//! does not stand a body of a call's response before its headers, which oghttp2, which 1.36 takes, lets through always and nghttp2 if it is empty.
//! A target over HTTP/1.1, or over HTTP/2 behind a listener of the same Envoy, does no harm.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{json, Value};

use crate::support::bootstrap::{self, Filter, Protocol};
use crate::support::envoy::Envoy;
use crate::support::eventually::eventually;
use crate::support::frames::{data, headers, trailers, Ending, Http2Target, Reaction, END_STREAM};
use crate::support::quick::Clients;
use crate::support::setup::{binaries, default_binary, Setup};

/// Longer than it takes in any run that was seen, on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A response that HTTP/2 forbids.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Forbidden {
    /// A body with 204.
    NoContent,
    /// A body with 304.
    NotModified,
    /// A body to HEAD.
    Head,
    /// More of a body than `content-length` says.
    TooLong,
    /// Trailers larger than Envoy takes.
    Trailers,
    /// A body before the headers.
    BodyFirst,
    /// A body and nothing else.
    BodyAlone,
    /// An empty body after an interim answer.
    EmptyEarly,
}

/// The targets, which are all the same one.
const TARGETS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// Those that nghttp2 responds with a reset.
const RESET: [Forbidden; 5] =
    [Forbidden::NoContent, Forbidden::NotModified, Forbidden::Head, Forbidden::TooLong, Forbidden::Trailers];

/// Those that oghttp2 lets through.
const PASSED: [Forbidden; 2] = [Forbidden::BodyFirst, Forbidden::BodyAlone];

impl Forbidden {
    fn method(self) -> &'static str {
        if self == Self::Head {
            "HEAD"
        } else {
            "GET"
        }
    }

    fn answer(self, stream: u32) -> Vec<u8> {
        match self {
            Self::BodyFirst => return [data(stream, b"early", 0), headers(stream, 200, &[], END_STREAM)].concat(),
            Self::BodyAlone => return data(stream, b"", END_STREAM),
            Self::EmptyEarly => return [headers(stream, 103, &[], 0), data(stream, b"", 0)].concat(),
            _ => {}
        }
        let long = "a".repeat(9000);
        let status = match self {
            Self::NoContent => 204,
            Self::NotModified => 304,
            _ => 200,
        };
        let fields: &[_] = if self == Self::TooLong { &[("content-length", "1")] } else { &[] };
        let end: &[_] = if self == Self::Trailers { &[("x-long", long.as_str()); 9] } else { &[("grpc-status", "0")] };
        let mut bytes = headers(stream, status, fields, 0);
        bytes.extend(data(stream, b"too long", 0));
        bytes.extend(trailers(stream, end));
        bytes
    }
}

/// How the target's cluster is set.
#[derive(Clone, Copy, Debug)]
enum Terms {
    /// As Envoy takes it by itself.
    Unset,
    Nghttp2,
    Oghttp2,
    /// nghttp2, and a connection for each call.
    OneCall,
    /// As the documents ask for it: behind a listener.
    Hop,
}

/// Requests to one target that responds as HTTP/2 forbids.
struct Scene {
    envoy: Envoy,
    target: Http2Target,
    clients: Clients,
    _directory: tempfile::TempDir,
}

impl Scene {
    async fn start(binary: PathBuf, terms: Terms, answers: &[Forbidden]) -> Self {
        let answers = answers.to_vec();
        let number = AtomicUsize::new(0);
        let methods = answers.clone();
        // Envoy answers the clients itself and the target is slow, so there is soon more under way than the connection takes: calls wait in Envoy
        // for the end of others, and begin while it resets those. That is what it takes.
        let answer = move |stream| {
            let answer = answers[number.fetch_add(1, Ordering::Relaxed) % answers.len()];
            Reaction { bytes: answer.answer(stream), ending: Ending::Stays }
        };
        let target = Http2Target::start(20, Arc::new(answer)).await;
        let directory = tempfile::tempdir().unwrap();
        let setup = Setup::new().binary(binary).wasm_level("error").concurrency(1);
        let mut cluster = bootstrap::cluster("audit", Some(target.address()), Protocol::Http2);
        let pointer = "/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        let options = cluster.pointer_mut(pointer).unwrap();
        let codec = &mut options["explicit_http_config"]["http2_protocol_options"];
        match terms {
            Terms::Unset | Terms::Hop => {}
            Terms::Nghttp2 | Terms::OneCall => *codec = json!({"use_oghttp2_codec": false}),
            Terms::Oghttp2 => *codec = json!({"use_oghttp2_codec": true}),
        }
        if matches!(terms, Terms::OneCall) {
            options["common_http_protocol_options"] = json!({"max_requests_per_connection": 1});
        }
        let setup = match terms {
            Terms::Hop => setup.http2_behind_a_hop("audit", target.address(), &directory.path().join("audit")),
            _ => setup.cluster_json(cluster),
        };
        let routes = json!([{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]);
        let host = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0";
        let setup = setup.listener("main", Filter::json(&many_copies())).with(host, "routes", routes);
        let envoy = setup.start().await;
        let request = move |number: u64| {
            let method = methods[usize::try_from(number).unwrap() % methods.len()].method();
            format!("{method} /orders HTTP/1.1\r\nhost: shop\r\n\r\n").into_bytes()
        };
        let clients = Clients::start(envoy.address("main"), 12, &(Arc::new(request) as _));
        Self { envoy, target, clients, _directory: directory }
    }

    /// Waits for Envoy's death; gives the number of responses until then. None if it lives through very many.
    async fn death(&mut self) -> Option<u64> {
        let status = eventually(DEADLINE, "Envoy's death, or many answers", async || match self.envoy.death() {
            None if self.target.answered() < 10_000 => Err(format!("{} answers", self.target.answered())),
            status => Ok(status),
        });
        let status = status.await?;
        assert!(status.signal().is_some(), "Envoy ended with {status}");
        Some(self.target.answered())
    }

    /// Waits for this number of responses, and for the accounts of what was sent until then.
    async fn survives(self, answers: u64) {
        eventually(DEADLINE, "the responses", async || match self.target.answered() {
            seen if seen >= answers => Ok(()),
            seen => Err(format!("{seen} answers, {} requests: {}", self.clients.done(), self.envoy.log())),
        })
        .await;
        drop(self.clients);
        let stats = self.envoy.settled(TARGETS).await;
        for name in TARGETS {
            assert!(stats.of(name, "attempt_failures") > 0, "{:?}", stats.target(name));
        }
    }
}

/// Every request goes many times to the same target.
fn many_copies() -> Value {
    let target = |name| json!({"name": name, "cluster": "audit", "timeout": "300ms", "circuit_breaker": {"mode": "disabled"}});
    let targets: Vec<Value> = TARGETS.map(target).into();
    json!({ "targets": targets })
}

fn is_before_1_37(binary: &Path) -> bool {
    let version = std::process::Command::new(binary).arg("--version").output().unwrap();
    String::from_utf8_lossy(&version.stdout).contains("/1.36.")
}

/// Envoy dies by memory that is used when it is free, so that one in some lives. Of five none did in any run that was seen.
async fn assert_death(binary: &Path, terms: Terms, answer: Forbidden) {
    for _ in 0..5 {
        if let Some(answers) = Scene::start(binary.to_owned(), terms, &[answer]).await.death().await {
            println!("{} with {terms:?}: died of {answer:?} after {answers} answers", binary.display());
            return;
        }
    }
    panic!("{} with {terms:?} lived through {answer:?}: is it mended, and the setting no longer needed?", binary.display());
}

#[tokio::test]
async fn with_nghttp2_each_answer_that_is_reset_ends_envoy() {
    for answer in RESET {
        assert_death(&default_binary(), Terms::Nghttp2, answer).await;
    }
}

#[tokio::test]
async fn with_oghttp2_each_body_without_headers_ends_envoy() {
    for answer in PASSED {
        assert_death(&default_binary(), Terms::Oghttp2, answer).await;
    }
}

#[tokio::test]
async fn a_connection_for_each_call_does_not_help() {
    assert_death(&default_binary(), Terms::OneCall, Forbidden::EmptyEarly).await;
}

#[tokio::test]
async fn with_what_it_takes_by_itself_a_target_over_http2_ends_every_envoy() {
    for binary in binaries() {
        assert_death(&binary, Terms::Unset, Forbidden::EmptyEarly).await;
        if !is_before_1_37(&binary) {
            assert_death(&binary, Terms::Unset, Forbidden::NoContent).await;
        }
    }
}

#[tokio::test]
async fn behind_a_listener_of_its_own_every_envoy_lives_through_20000_forbidden_answers() {
    for binary in binaries() {
        // Trailers are large, and those that do not end wait for the timeout, so that there are less of them.
        let [small @ .., large] = RESET;
        let small = small.iter().chain(&PASSED);
        let answers: Vec<Forbidden> = small.cycle().take(36).copied().chain([large, Forbidden::EmptyEarly]).collect();
        Scene::start(binary, Terms::Hop, &answers).await.survives(20_000).await;
    }
}
