//! The example in `envoy/examples/mtls`, as it is shipped: a target over TLS with certificates on both sides, and a token.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use tempfile::TempDir;

use crate::letter::Letter;
use crate::shop::{assert_without, contains, shipped};
use crate::support::admin;
use crate::support::client::{full, Client};
use crate::support::envoy::Envoy;
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::setup::Setup;
use crate::support::tls::{Authority, Door, Identity};
use crate::support::upstream::Upstream;

const TOKEN: &str = "token-of-the-filter";
const NAME: &str = "audit.example";
const ENVOY: &str = "envoy.example";

/// The stage.
struct Scene {
    /// The Envoy. First, so that it ends before the others do.
    envoy: Envoy,
    primary: Upstream,
    audit: Upstream,
    door: Arc<Door>,
    dead_letters: Upstream,
    /// Where Envoy has its certificates from.
    directory: TempDir,
}

impl Scene {
    /// Envoy trusts this authority and shows this identity, if any; the target has this door.
    async fn set(trusted: &Authority, client: Option<&Identity>, door: Arc<Door>) -> Self {
        let (primary, dead_letters) = (Upstream::start().await, Upstream::start().await);
        let audit = Upstream::secured(Arc::clone(&door)).await;
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("authority.pem"), &trusted.pem).unwrap();
        if let Some(client) = client {
            install(directory.path(), client);
        }
        let services = [("primary", primary.address()), ("audit", audit.address()), ("dead-letters", dead_letters.address())];
        let mut bootstrap = shipped("envoy/examples/mtls/envoy.yaml", &services);
        let context = "/static_resources/clusters/1/transport_socket/typed_config/common_tls_context";
        let context = bootstrap.pointer_mut(context).unwrap();
        for (secret, file) in
            [("/tls_certificate_sds_secret_configs/0", "client.yaml"), ("/validation_context_sds_secret_config", "trust.yaml")]
        {
            let path = context.pointer_mut(&format!("{secret}/sds_config/path_config_source/path")).unwrap();
            assert_eq!(*path, json!(format!("envoy/examples/mtls/{file}")));
            *path = json!(moved(file, directory.path()));
        }
        let envoy = Setup::whole(bootstrap).variable("AUDIT_TOKEN", TOKEN).start().await;
        Self { envoy, primary, audit, door, dead_letters, directory }
    }

    async fn send(&self, number: u32) {
        let client = Client::http1(self.envoy.address("ingress"));
        let request = client.request("POST", "/orders").header("authorization", "Bearer of-the-user");
        let answer = client.send(request.body(full(format!("order {number}"))).unwrap()).await;
        assert_eq!(answer.status, 200);
        assert_eq!(self.primary.take_one().await.only("authorization"), "Bearer of-the-user");
    }

    /// That nothing but TLS came to the target, and that the token is nowhere but in what is encrypted.
    async fn assert_secret(&self) {
        let arrived = self.door.arrived();
        assert!(!arrived.is_empty());
        for bytes in &arrived {
            assert_only_tls(bytes);
        }
        let mut shown = arrived.concat();
        shown.extend(self.envoy.log().into_bytes());
        for page in ["/stats", "/config_dump?include_eds", "/certs", "/clusters"] {
            shown.extend(admin::page(self.envoy.admin, page).await.unwrap().into_bytes());
        }
        assert!(!shown.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes()));
        assert_without(&self.dead_letters.received(), &[TOKEN, "of-the-user"]);
    }
}

/// A file of the example with the certificates in this directory.
fn moved(file: &str, directory: &Path) -> String {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy/examples/mtls").join(file);
    let text = fs::read_to_string(shipped).unwrap();
    assert!(text.contains("target/mtls"));
    let copy = directory.join(file);
    fs::write(&copy, text.replace("target/mtls", directory.to_str().unwrap())).unwrap();
    copy.to_str().unwrap().to_owned()
}

/// Puts a certificate and its key where Envoy looks for them, as Kubernetes does with a Secret's volume: the files are links through a link to a
/// directory, and that one link is replaced.
fn install(directory: &Path, identity: &Identity) {
    let fresh = tempfile::Builder::new().prefix("..").disable_cleanup(true).tempdir_in(directory).unwrap();
    for (name, text) in [("client.key", &identity.key), ("client.pem", &identity.pem)] {
        fs::write(fresh.path().join(name), text).unwrap();
        let file = directory.join(name);
        if file.symlink_metadata().is_err() {
            symlink(Path::new("..data").join(name), file).unwrap();
        }
    }
    symlink(fresh.path(), directory.join("..new")).unwrap();
    fs::rename(directory.join("..new"), directory.join("..data")).unwrap();
}

/// Every byte belongs to a record of TLS (RFC 8446, 5.1), the first being a handshake. The last may be cut off.
fn assert_only_tls(bytes: &[u8]) {
    let mut rest = bytes;
    let mut first = true;
    while let [kind, 3, _, high, low, ..] = rest {
        assert!(if first { *kind == 22 } else { (20..=23).contains(kind) }, "{}", rest.escape_ascii());
        let length = 5 + usize::from(*high) * 256 + usize::from(*low);
        rest = &rest[length.min(rest.len())..];
        first = false;
    }
    assert!(rest.len() < 5 && !first, "no TLS: {}", rest.escape_ascii());
}

#[tokio::test]
async fn a_target_over_tls_sees_the_certificate_of_envoy_and_the_token() {
    let authority = Authority::new();
    let client = authority.issue(ENVOY);
    let scene = Scene::set(&authority, Some(&client), Door::new(&authority.issue(NAME), &authority)).await;
    scene.send(1).await;
    let stats = scene.envoy.settled_at("audit", 1).await;
    assert_eq!((stats.of("audit", "delivered"), stats.of("audit", "attempts")), (1, 1));
    let copy = scene.audit.take_one().await;
    assert_eq!(copy.only("authorization"), format!("Bearer {TOKEN}"));
    assert_eq!((copy.authority.as_str(), copy.body().as_ref()), (NAME, b"order 1".as_ref()));
    assert!(!contains(&copy, "of-the-user"));
    assert_eq!(scene.door.guests(), [client.der]);
    scene.assert_secret().await;
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let (old, new) = (Authority::new(), Authority::new());
    let scene = Scene::set(&old, Some(&new.issue(ENVOY)), Door::new(&old.issue(NAME), &old)).await;
    scene.send(1).await;
    assert_eq!(scene.envoy.settled_at("audit", 1).await.of("audit", "dead_lettered"), 1);
    let before = admin::page(scene.envoy.admin, "/certs").await.unwrap();
    let renewed = old.issue(ENVOY);
    install(scene.directory.path(), &renewed);
    eventually(PATIENCE, "Envoy to take the renewed certificate", async || {
        let now = admin::page(scene.envoy.admin, "/certs").await?;
        if now == before {
            Err(now)
        } else {
            Ok(())
        }
    })
    .await;
    scene.send(2).await;
    assert_eq!(scene.envoy.settled_at("audit", 2).await.of("audit", "delivered"), 1);
    assert_eq!(scene.door.guests(), [renewed.der]);
    scene.assert_secret().await;
}

/// One order, which must come to nothing at the target, for a reason that Envoy counts under one of these names.
async fn assert_refused(scene: &Scene, counted: &[&str]) {
    scene.send(1).await;
    let stats = scene.envoy.settled_at("audit", 1).await;
    let seen = ["attempts", "attempt_failures", "delivered", "dead_lettered"].map(|name| stats.of("audit", name));
    assert_eq!(seen, [2, 2, 0, 1], "{:?}", stats.target("audit"));
    assert_eq!(scene.audit.received().len(), 0);
    assert!(scene.door.guests().is_empty());
    let failures: Vec<_> = counted.iter().map(|name| stats.find(&format!("cluster.audit.{name}"))).collect();
    assert!(failures.iter().all(|count| count.is_some_and(|count| count > 0)), "{counted:?}: {failures:?}");

    let letter = Letter::parse(&scene.dead_letters.received()[0].body());
    assert_eq!(letter.summary(), ("audit", "retries_exhausted", 2));
    let value = |header: (String, Vec<u8>)| (header.0 == "authorization").then_some(header.1);
    assert_eq!(letter.headers().into_iter().filter_map(value).collect::<Vec<_>>(), [b"Bearer [redacted]"]);
    scene.assert_secret().await;
}

#[tokio::test]
async fn a_target_that_another_authority_vouches_for_gets_nothing() {
    let (authority, other) = (Authority::new(), Authority::new());
    let client = authority.issue(ENVOY);
    let scene = Scene::set(&authority, Some(&client), Door::new(&other.issue(NAME), &authority)).await;
    assert_refused(&scene, &["ssl.fail_verify_error", "upstream_cx_connect_fail"]).await;
}

#[tokio::test]
async fn a_target_with_another_name_gets_nothing() {
    let authority = Authority::new();
    let client = authority.issue(ENVOY);
    let door = Door::new(&authority.issue("other.example"), &authority);
    let scene = Scene::set(&authority, Some(&client), door).await;
    assert_refused(&scene, &["ssl.fail_verify_san", "upstream_cx_connect_fail"]).await;
}

#[tokio::test]
async fn a_target_refuses_a_client_certificate_of_another_authority_and_that_is_counted() {
    let (authority, other) = (Authority::new(), Authority::new());
    let scene = Scene::set(&authority, Some(&other.issue(ENVOY)), Door::new(&authority.issue(NAME), &authority)).await;
    assert_refused(&scene, &["ssl.connection_error"]).await;
}

#[tokio::test]
async fn without_a_certificate_nothing_is_sent_at_all() {
    let authority = Authority::new();
    let scene = Scene::set(&authority, None, Door::new(&authority.issue(NAME), &authority)).await;
    scene.send(1).await;
    let stats = scene.envoy.settled_at("audit", 1).await;
    assert_eq!((stats.of("audit", "delivered"), stats.of("audit", "dead_lettered")), (0, 1));
    assert_eq!(scene.door.arrived().concat(), b"");
}

#[test]
#[should_panic(expected = "no TLS: POST / HTTP/1.1")]
fn plain_text_is_told_from_tls() {
    assert_only_tls(&[&[22, 3, 1, 0, 2, 1, 1][..], b"POST / HTTP/1.1\r\n\r\n"].concat());
}
