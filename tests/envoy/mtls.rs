//! The example in `envoy/examples/mtls`, as it is shipped: a target over TLS with certificates on both sides, and a token.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use serde_json::{json, Value};
use tempfile::TempDir;

use crate::letter::Letter;
use crate::shop::{assert_without, contains, shipped};
use crate::stage::one_after_another;
use crate::support::admin;
use crate::support::client::{full, Client};
use crate::support::envoy::Envoy;
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::setup::Setup;
use crate::support::stats::Stats;
use crate::support::tls::{Authority, Door, Identity};
use crate::support::upstream::Upstream;

const TOKEN: &str = "token-of-the-filter";
const NAME: &str = "audit.example";
const ENVOY: &str = "envoy.example";

/// The stage of one claim, in an Envoy that may have others.
struct Scene {
    /// The Envoy. First, so that it ends before the others do.
    envoy: Arc<Envoy>,
    /// What is added to the names in the shipped bootstrap.
    suffix: String,
    primary: Upstream,
    audit: Upstream,
    door: Arc<Door>,
    dead_letters: Upstream,
    /// Where Envoy has its certificates from.
    directory: TempDir,
}

/// Envoy trusts this authority and shows this identity, if any; the target has this door.
struct Certificates<'a> {
    trusted: &'a Authority,
    client: Option<&'a Identity>,
    door: Arc<Door>,
}

impl Scene {
    /// A scene for each of these, in one Envoy: the listener and the clusters of the shipped bootstrap as often as it takes, under other names.
    async fn set<const N: usize>(all: [Certificates<'_>; N]) -> [Self; N] {
        let mut whole = Value::Null;
        let mut parts = Vec::new();
        for (number, certificates) in all.into_iter().enumerate() {
            let (primary, dead_letters) = (Upstream::start().await, Upstream::start().await);
            let audit = Upstream::secured(Arc::clone(&certificates.door)).await;
            let directory = tempfile::tempdir().unwrap();
            let services = [("primary", primary.address()), ("audit", audit.address()), ("dead-letters", dead_letters.address())];
            let mut bootstrap = with_certificates(&services, &certificates, directory.path());
            let suffix = if number == 0 { String::new() } else { format!("-{number}") };
            rename(&mut bootstrap, &suffix);
            if number == 0 {
                whole = bootstrap;
            } else {
                for list in ["listeners", "clusters"] {
                    let more = bootstrap["static_resources"][list].as_array_mut().unwrap();
                    whole["static_resources"][list].as_array_mut().unwrap().append(more);
                }
            }
            parts.push((suffix, primary, audit, certificates.door, dead_letters, directory));
        }
        let envoy = Arc::new(Setup::whole(whole).variable("AUDIT_TOKEN", TOKEN).start().await);
        let scene = |(suffix, primary, audit, door, dead_letters, directory)| {
            let envoy = Arc::clone(&envoy);
            Self { envoy, suffix, primary, audit, door, dead_letters, directory }
        };
        let scenes: Vec<Self> = parts.into_iter().map(scene).collect();
        scenes.try_into().unwrap_or_else(|_| unreachable!("one scene for each"))
    }

    /// A name of the shipped bootstrap in this scene.
    fn name(&self, name: &str) -> String {
        format!("{name}{}", self.suffix)
    }

    /// Waits until this number of requests was counted for the target and all have ended.
    async fn settled_at(&self, matched: u64) -> Stats {
        self.envoy.settled_at(&self.name("audit"), matched).await
    }

    async fn send(&self, number: u32) {
        let client = Client::http1(self.envoy.address(&self.name("ingress")));
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

/// The shipped bootstrap with certificates from this directory.
fn with_certificates(services: &[(&str, SocketAddr)], certificates: &Certificates<'_>, directory: &Path) -> Value {
    fs::write(directory.join("authority.pem"), &certificates.trusted.pem).unwrap();
    if let Some(client) = certificates.client {
        install(directory, client);
    }
    let mut bootstrap = shipped("envoy/examples/mtls/envoy.yaml", services);
    let context = "/static_resources/clusters/1/transport_socket/typed_config/common_tls_context";
    let context = bootstrap.pointer_mut(context).unwrap();
    for (secret, file) in
        [("/tls_certificate_sds_secret_configs/0", "client.yaml"), ("/validation_context_sds_secret_config", "trust.yaml")]
    {
        let path = context.pointer_mut(&format!("{secret}/sds_config/path_config_source/path")).unwrap();
        assert_eq!(*path, json!(format!("envoy/examples/mtls/{file}")));
        *path = json!(moved(file, directory));
    }
    bootstrap
}

/// Adds this to the names of the listener, of the target and of the clusters.
fn rename(bootstrap: &mut Value, suffix: &str) {
    let listener = "/static_resources/listeners/0";
    let http = format!("{listener}/filter_chains/0/filters/0/typed_config");
    let target = format!("{http}/http_filters/0/typed_config/config/configuration/value/targets/0");
    let mut names = vec![
        format!("{listener}/name"),
        format!("{http}/route_config/virtual_hosts/0/routes/0/route/cluster"),
        format!("{target}/name"),
        format!("{target}/cluster"),
        format!("{target}/dead_letter/cluster"),
    ];
    for cluster in 0..3 {
        names.extend(["name", "load_assignment/cluster_name"].map(|name| format!("/static_resources/clusters/{cluster}/{name}")));
    }
    for pointer in names {
        let name = bootstrap.pointer_mut(&pointer).unwrap_or_else(|| panic!("no {pointer}"));
        *name = format!("{}{suffix}", name.as_str().unwrap()).into();
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
async fn the_token_is_shown_to_the_target_alone() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (client, strange_client) = (authority.issue(ENVOY), other.issue(ENVOY));
    let door = |identity| Door::new(&identity, &authority);
    let of = |client, door| Certificates { trusted: &authority, client: Some(client), door };
    let [good, renewed, other_authority, other_name, stranger] = Scene::set([
        of(&client, door(authority.issue(NAME))),
        of(&strange_client, door(authority.issue(NAME))),
        of(&client, door(other.issue(NAME))),
        of(&client, door(authority.issue("other.example"))),
        of(&strange_client, door(authority.issue(NAME))),
    ])
    .await;
    one_after_another!(&good => a_target_over_tls_sees_the_certificate_of_envoy_and_the_token(&client));
    one_after_another!(&renewed => a_renewed_certificate_is_shown_without_a_restart(&authority));
    one_after_another!(&other_authority => a_target_that_another_authority_vouches_for_gets_nothing);
    one_after_another!(&other_name => a_target_with_another_name_gets_nothing);
    one_after_another!(&stranger => a_target_refuses_a_client_certificate_of_another_authority_and_that_is_counted);
}

async fn a_target_over_tls_sees_the_certificate_of_envoy_and_the_token(scene: &Scene, client: &Identity) {
    scene.send(1).await;
    let stats = scene.settled_at(1).await;
    let audit = scene.name("audit");
    assert_eq!((stats.of(&audit, "delivered"), stats.of(&audit, "attempts")), (1, 1));
    let copy = scene.audit.take_one().await;
    assert_eq!(copy.only("authorization"), format!("Bearer {TOKEN}"));
    assert_eq!((copy.authority.as_str(), copy.body().as_ref()), (NAME, b"order 1".as_ref()));
    assert!(!contains(&copy, "of-the-user"));
    assert_eq!(scene.door.guests(), std::slice::from_ref(&client.der));
    scene.assert_secret().await;
}

async fn a_renewed_certificate_is_shown_without_a_restart(scene: &Scene, authority: &Authority) {
    let audit = scene.name("audit");
    scene.send(1).await;
    assert_eq!(scene.settled_at(1).await.of(&audit, "dead_lettered"), 1);
    let before = admin::page(scene.envoy.admin, "/certs").await.unwrap();
    let renewed = authority.issue(ENVOY);
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
    assert_eq!(scene.settled_at(2).await.of(&audit, "delivered"), 1);
    assert_eq!(scene.door.guests(), [renewed.der]);
    scene.assert_secret().await;
}

/// One order, which must come to nothing at the target, for a reason that Envoy counts under one of these names.
async fn assert_refused(scene: &Scene, counted: &[&str]) {
    scene.send(1).await;
    let stats = scene.settled_at(1).await;
    let audit = scene.name("audit");
    let seen = ["attempts", "attempt_failures", "delivered", "dead_lettered"].map(|name| stats.of(&audit, name));
    assert_eq!(seen, [2, 2, 0, 1], "{:?}", stats.target(&audit));
    assert_eq!(scene.audit.received().len(), 0);
    assert!(scene.door.guests().is_empty());
    let failures: Vec<_> = counted.iter().map(|name| stats.find(&format!("cluster.{audit}.{name}"))).collect();
    assert!(failures.iter().all(|count| count.is_some_and(|count| count > 0)), "{counted:?}: {failures:?}");

    let letter = Letter::parse(&scene.dead_letters.received()[0].body());
    assert_eq!(letter.summary(), (audit.as_str(), "retries_exhausted", 2));
    let value = |header: (String, Vec<u8>)| (header.0 == "authorization").then_some(header.1);
    assert_eq!(letter.headers().into_iter().filter_map(value).collect::<Vec<_>>(), [b"Bearer [redacted]"]);
    scene.assert_secret().await;
}

async fn a_target_that_another_authority_vouches_for_gets_nothing(scene: &Scene) {
    assert_refused(scene, &["ssl.fail_verify_error", "upstream_cx_connect_fail"]).await;
}

async fn a_target_with_another_name_gets_nothing(scene: &Scene) {
    assert_refused(scene, &["ssl.fail_verify_san", "upstream_cx_connect_fail"]).await;
}

async fn a_target_refuses_a_client_certificate_of_another_authority_and_that_is_counted(scene: &Scene) {
    assert_refused(scene, &["ssl.connection_error"]).await;
}

#[tokio::test]
async fn without_a_certificate_nothing_is_sent_at_all() {
    let authority = Authority::new();
    let door = Door::new(&authority.issue(NAME), &authority);
    let [scene] = Scene::set([Certificates { trusted: &authority, client: None, door }]).await;
    scene.send(1).await;
    let stats = scene.settled_at(1).await;
    assert_eq!((stats.of("audit", "delivered"), stats.of("audit", "dead_lettered")), (0, 1));
    assert_eq!(scene.door.arrived().concat(), b"");
}

#[test]
#[should_panic(expected = "no TLS: POST / HTTP/1.1")]
fn plain_text_is_told_from_tls() {
    assert_only_tls(&[&[22, 3, 1, 0, 2, 1, 1][..], b"POST / HTTP/1.1\r\n\r\n"].concat());
}
