//! The stage of the tests that ask a Prometheus: one Prometheus, one Envoy and a load, shared by all that run at the time.

use std::convert::Infallible;
use std::panic::resume_unwind;
use std::sync::{mpsc, Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::prometheus::{is_installed, yaml, Api, Prometheus};
use crate::support::eventually::{eventually, PATIENCE};
use crate::traffic::Traffic;

/// A stage that is up. It ends when the last test that holds it does.
pub(crate) struct Stage {
    prometheus: Api,
    stop: Option<oneshot::Sender<()>>,
    // A thread of its own: each test has a runtime that ends with it.
    thread: Option<JoinHandle<()>>,
}

static CURRENT: Mutex<Weak<Stage>> = Mutex::new(Weak::new());

impl Stage {
    /// The stage that is up, or a new one. None where there is no Prometheus.
    pub(crate) fn shared() -> Option<Arc<Self>> {
        if !is_installed() {
            return None;
        }
        let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
        let stage = current.upgrade().unwrap_or_else(|| Arc::new(Self::start()));
        *current = Arc::downgrade(&stage);
        Some(stage)
    }

    fn start() -> Self {
        let (ready, started) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = Runtime::new().unwrap();
            runtime.block_on(run(ready, stopped));
        });
        let Ok(prometheus) = started.recv() else {
            resume_unwind(thread.join().unwrap_err());
        };
        Self { prometheus, stop: Some(stop), thread: Some(thread) }
    }

    /// How its Prometheus is asked.
    pub(crate) fn prometheus(&self) -> Api {
        self.prometheus
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
        let ended = self.thread.take().map_or(Ok(()), JoinHandle::join);
        if let (Err(cause), false) = (ended, std::thread::panicking()) {
            resume_unwind(cause);
        }
    }
}

async fn run(ready: mpsc::Sender<Api>, stopped: oneshot::Receiver<()>) {
    // Only with these has what Prometheus sees its labels.
    let stats = yaml("envoy/envoy.yaml")["stats_config"].clone();
    let traffic = Traffic::start(stats).await;
    let prometheus = Prometheus::scraping(traffic.envoy.admin).await;
    ready.send(prometheus.api()).unwrap();
    tokio::select! {
        never = load(&traffic, prometheus.api()) => match never {},
        _ = stopped => {}
    }
}

async fn load(traffic: &Traffic, prometheus: Api) -> Infallible {
    // What goes up before the first look at it is no increase.
    scraped(prometheus, "sidecast_dead_lettered{target=\"kept\"}").await;
    traffic.round().await;
    scraped(prometheus, "sidecast_dead_lettered{target=\"kept\"} > 0").await;
    traffic.lose_letters();
    traffic.update_badly();
    loop {
        traffic.round().await;
        // A pace, so that the load is a small one.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn scraped(prometheus: Api, expression: &str) {
    eventually(PATIENCE, expression, async || match prometheus.query(expression).await?.is_empty() {
        false => Ok(()),
        true => Err("nothing".to_owned()),
    })
    .await;
}
