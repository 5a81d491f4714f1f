//! The usual stage: one primary, some targets, and an Envoy with the filter between.

use bytes::Bytes;
use serde_json::{json, Value};

use crate::support::answer::{Answer, Behaviour};
use crate::support::bootstrap::Filter;
use crate::support::client::Client;
use crate::support::envoy::Envoy;
use crate::support::eventually::{eventually, PATIENCE};
use crate::support::setup::Setup;
use crate::support::upstream::Upstream;

/// One primary, targets on clusters of the same names, and an Envoy with the filter in its listener `main`.
pub(crate) struct Scene<const N: usize> {
    /// The Envoy. First, so that it ends before its upstreams do.
    pub(crate) envoy: Envoy,
    /// What clients really talk to.
    pub(crate) primary: Upstream,
    /// What the copies go to.
    pub(crate) targets: [Upstream; N],
}

impl<const N: usize> Scene<N> {
    /// Every request is mirrored to each of these targets.
    pub(crate) async fn mirroring_to(names: [&str; N]) -> Self {
        Self::configured(names, everything_to(&names)).await
    }

    /// The filter has this configuration; `names` are the clusters that exist besides `primary`.
    pub(crate) async fn configured(names: [&str; N], configuration: Value) -> Self {
        Self::set_up(names, configuration, |setup| setup).await
    }

    /// The same, with listeners that can be replaced while Envoy runs.
    pub(crate) async fn updatable(names: [&str; N], configuration: Value) -> Self {
        Self::set_up(names, configuration, Setup::dynamic).await
    }

    /// The same, with a hand on Envoy's configuration.
    pub(crate) async fn set_up(names: [&str; N], configuration: Value, adapt: impl FnOnce(Setup) -> Setup) -> Self {
        Self::filtered(names, Filter::json(&configuration), adapt).await
    }

    /// The same, with the filter's configuration as it stands.
    pub(crate) async fn filtered(names: [&str; N], filter: Filter, adapt: impl FnOnce(Setup) -> Setup) -> Self {
        let primary = Upstream::start().await;
        let mut setup = Setup::new().cluster("primary", primary.address());
        let mut targets = Vec::new();
        for name in names {
            let target = Upstream::start().await;
            setup = setup.cluster(name, target.address());
            targets.push(target);
        }
        let setup = setup.listener("main", filter);
        Self {
            envoy: adapt(setup).start().await,
            primary,
            targets: targets.try_into().unwrap_or_else(|_| unreachable!("one upstream for each name")),
        }
    }

    /// Replaces the filter's configuration; the listener is the only one.
    pub(crate) fn update(&self, configuration: &Value) {
        self.envoy.replace_listeners(&[("main", Filter::json(configuration))]);
    }

    /// Makes it as it was at its start: nothing is under way or recorded, each upstream returns 200, and each counter is 0. The log stays.
    pub(crate) async fn anew(&self) {
        count_anew(&self.envoy).await;
        for upstream in self.targets.iter().chain([&self.primary]) {
            upstream.behave(Behaviour::Answer(Answer::status(200)));
            upstream.take(0).await;
        }
    }

    /// A client of the listener that speaks HTTP/1.1.
    pub(crate) fn client(&self) -> Client {
        Client::http1(self.envoy.address("main"))
    }

    /// A client of the listener that speaks HTTP/2.
    pub(crate) fn http2_client(&self) -> Client {
        Client::http2(self.envoy.address("main"))
    }
}

impl Scene<1> {
    /// The only target.
    pub(crate) fn target(&self) -> &Upstream {
        &self.targets[0]
    }
}

/// Waits until the accounts of all targets are settled, and sets each counter of this Envoy to 0.
pub(crate) async fn count_anew(envoy: &Envoy) {
    eventually(PATIENCE, "the accounts of every target to settle", async || {
        let stats = envoy.stats().await;
        let names = stats.beginning("wasmcustom.sidecast.");
        names.keys().filter_map(|name| name.strip_suffix(".matched")).try_for_each(|target| stats.settled(target))
    })
    .await;
    assert_eq!(Client::http1(envoy.admin).post("/reset_counters", "").await.status, 200);
}

/// A configuration that mirrors every request to each of these clusters.
pub(crate) fn everything_to(names: &[&str]) -> Value {
    let targets: Vec<Value> = names.iter().map(|name| target(name)).collect();
    json!({ "targets": targets })
}

/// A target named like its cluster. It waits longer for responses than any busy machine takes.
pub(crate) fn target(name: &str) -> Value {
    json!({"name": name, "cluster": name, "timeout": "15s", "circuit_breaker": {"mode": "disabled"}})
}

/// Bytes that look like nothing in particular and never repeat in step with any chunk; every call gives the same.
pub(crate) fn noise(length: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}
