//! Claims that share an Envoy, because each start of one with the filter takes a second and a half of a processor.
//!
//! Each claim asks for a [`Part`]: a listener with a configuration of its own, and a primary and targets of its own. When all have asked, Envoy is
//! started once, and the claims go on one after the other. Statistics and breakers go by the name of the target, so no two claims of a stage
//! have a target or a cluster of the same name.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::sync::watch;

use crate::support::bootstrap::Filter;
use crate::support::client::Client;
use crate::support::envoy::Envoy;
use crate::support::eventually::PATIENCE;
use crate::support::setup::Setup;
use crate::support::stats::Stats;
use crate::support::upstream::Upstream;

/// An Envoy that is started when all claims have asked for their part.
pub(crate) struct Stage {
    claims: usize,
    /// What was asked for so far, and by how many.
    asked: Mutex<(Setup, usize)>,
    envoy: watch::Sender<Option<Arc<Envoy>>>,
    /// Whose turn it is, by the number of the part.
    turn: watch::Sender<usize>,
}

/// What one of the claims has to itself. It is its turn until this is dropped.
pub(crate) struct Part<const N: usize> {
    /// The Envoy of all.
    pub(crate) envoy: Arc<Envoy>,
    /// What clients really talk to.
    pub(crate) primary: Upstream,
    /// What the copies go to.
    pub(crate) targets: [Upstream; N],
    /// The name of the listener, and the beginning of its statistics.
    pub(crate) listener: String,
    /// The cluster of the primary.
    pub(crate) cluster: String,
    _turn: Turn,
}

/// The next part has its turn when this is dropped.
struct Turn(watch::Sender<usize>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.send_modify(|turn| *turn += 1);
    }
}

impl Stage {
    /// For so many claims, in an Envoy like this.
    pub(crate) fn of(claims: usize, setup: Setup) -> Self {
        Self { claims, asked: Mutex::new((setup, 0)), envoy: watch::Sender::new(None), turn: watch::Sender::new(0) }
    }

    /// A listener with this configuration; `names` are the clusters of its targets.
    pub(crate) async fn part<const N: usize>(&self, names: [&str; N], configuration: Value) -> Part<N> {
        self.filtered(names, &[], Filter::json(&configuration)).await
    }

    /// The same with the filter's configuration as it stands, and clusters at these addresses besides.
    pub(crate) async fn filtered<const N: usize>(
        &self,
        names: [&str; N],
        more: &[(&str, SocketAddr)],
        filter: Filter,
    ) -> Part<N> {
        let primary = Upstream::start().await;
        let mut targets = Vec::new();
        for _ in names {
            targets.push(Upstream::start().await);
        }
        let addresses: Vec<SocketAddr> = targets.iter().map(Upstream::address).collect();
        let clusters = names.into_iter().zip(addresses).chain(more.iter().copied());
        let (number, complete) = self.add(primary.address(), clusters, filter);
        if let Some(setup) = complete {
            self.envoy.send_replace(Some(Arc::new(setup.start().await)));
        }
        let mut envoy = self.envoy.subscribe();
        let ready = tokio::time::timeout(2 * PATIENCE, envoy.wait_for(Option::is_some)).await;
        let ready = ready.unwrap_or_else(|_| panic!("not all of the {} claims have asked for a part", self.claims));
        let envoy = ready.unwrap().clone().unwrap();
        self.turn.subscribe().wait_for(|turn| *turn == number).await.unwrap();
        Part {
            envoy,
            primary,
            targets: targets.try_into().unwrap_or_else(|_| unreachable!("one upstream for each name")),
            listener: format!("part-{number}"),
            cluster: format!("primary-{number}"),
            _turn: Turn(self.turn.clone()),
        }
    }

    /// The number of the part, and the whole setup if it was the last.
    fn add<'a>(
        &self,
        primary: SocketAddr,
        clusters: impl Iterator<Item = (&'a str, SocketAddr)>,
        filter: Filter,
    ) -> (usize, Option<Setup>) {
        let mut asked = self.asked.lock().unwrap();
        let number = asked.1;
        assert!(number < self.claims, "a claim has asked twice");
        let mut setup = std::mem::replace(&mut asked.0, Setup::new());
        for (name, address) in clusters {
            setup = setup.cluster(name, address);
        }
        let (listener, cluster) = (format!("part-{number}"), format!("primary-{number}"));
        let place = format!("/static_resources/listeners/{number}");
        let routes = format!("{place}/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes");
        setup = setup.cluster(&cluster, primary).listener(&listener, filter).with(place, "stat_prefix", listener.into());
        for route in [0, 1] {
            setup = setup.with(format!("{routes}/{route}/route"), "cluster", cluster.clone().into());
        }
        asked.1 += 1;
        if asked.1 == self.claims {
            return (number, Some(setup));
        }
        asked.0 = setup;
        (number, None)
    }
}

impl<const N: usize> Part<N> {
    /// Where the listener listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.envoy.address(&self.listener)
    }

    /// A client of the listener that speaks HTTP/1.1.
    pub(crate) fn client(&self) -> Client {
        Client::http1(self.address())
    }

    /// A client of the listener that speaks HTTP/2.
    pub(crate) fn http2_client(&self) -> Client {
        Client::http2(self.address())
    }
}

impl Part<1> {
    /// The only target.
    pub(crate) fn target(&self) -> &Upstream {
        &self.targets[0]
    }
}

/// The statistics of an Envoy that has served other claims before.
pub(crate) struct Since(Stats);

impl Since {
    /// From now on.
    pub(crate) async fn now(envoy: &Envoy) -> Self {
        Self(envoy.stats().await)
    }

    /// What was added.
    pub(crate) async fn stats(&self, envoy: &Envoy) -> Stats {
        envoy.stats().await.since(&self.0)
    }

    /// Waits until `matched` requests more were counted for a target and the accounts are settled.
    pub(crate) async fn settled_at(&self, envoy: &Envoy, target: &str, matched: u64) -> Stats {
        envoy.settled_at(target, self.0.of(target, "matched") + matched).await.since(&self.0)
    }
}

/// Runs a claim; if it fails, its name stands beside the failure.
pub(crate) async fn named<T>(name: &'static str, claim: impl Future<Output = T>) -> T {
    let mut claim = pin!(claim);
    std::future::poll_fn(|context| {
        // It lives as long as the claim itself is running: others are dropped later.
        let _name = Name(name);
        claim.as_mut().poll(context)
    })
    .await
}

struct Name(&'static str);

impl Drop for Name {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The compiler breaks lines where it sees fit.
            let name: Vec<&str> = self.0.split_whitespace().collect();
            eprintln!("---- the claim that failed: {}", name.join(" "));
        }
    }
}

/// Proves claims in one Envoy: functions of the stage, and of a case where there are several.
macro_rules! in_one_envoy {
    ($setup:expr => $($claim:ident $(($($case:expr),+))?),+ $(,)?) => {{
        let stage = $crate::stage::Stage::of([$(stringify!($claim)),+].len(), $setup);
        tokio::join!($($crate::stage::named(stringify!($claim $(($($case),+))?), $claim(&stage $($(, $case)+)?))),+)
    }};
}
pub(crate) use in_one_envoy;

/// Proves claims in a scene that is there, one after the other.
macro_rules! one_after_another {
    ($scene:expr => $($claim:ident $(($($case:expr),+))?),+ $(,)?) => {
        $($crate::stage::named(stringify!($claim $(($($case),+))?), $claim($scene $($(, $case)+)?)).await;)+
    };
}
pub(crate) use one_after_another;
