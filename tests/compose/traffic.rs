//! Clients that go on while things break.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{interval, MissedTickBehavior};

use crate::support::client::{full, Client};
use crate::support::eventually::PATIENCE;

/// 50 orders a second.
const PAUSE: Duration = Duration::from_millis(20);

/// Orders under way, one after another by the clock.
pub(crate) struct Traffic {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Report>,
}

/// What became of the orders.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// How many were sent.
    pub(crate) sent: u64,
    /// Each that was not responded with 200.
    pub(crate) failures: Vec<String>,
}

impl Traffic {
    /// Begins.
    pub(crate) fn start(address: SocketAddr) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { stop, task: tokio::spawn(send_until(stopped, address)) }
    }

    /// Ends, once each order is answered.
    pub(crate) async fn stop(self) -> Report {
        let _ = self.stop.send(());
        self.task.await.unwrap()
    }
}

async fn send_until(mut stopped: oneshot::Receiver<()>, address: SocketAddr) -> Report {
    let client = Client::http1(address);
    let (mut report, mut sending, mut clock) = (Report::default(), JoinSet::new(), interval(PAUSE));
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            _ = clock.tick() => {
                sending.spawn(order(client.clone(), report.sent));
                report.sent += 1;
            }
        }
    }
    report.failures = sending.join_all().await.into_iter().filter_map(Result::err).collect();
    report
}

/// Sends an order that is to be responded with 200.
pub(crate) async fn order(client: Client, number: u64) -> Result<(), String> {
    let request = client.request("POST", &format!("/orders/{number}")).header("content-type", "application/json");
    let request = request.body(full(format!("{{\"order\": {number}}}"))).unwrap();
    match tokio::time::timeout(PATIENCE, client.try_send(request)).await {
        Ok(Ok(answer)) if answer.status == 200 => Ok(()),
        Ok(other) => Err(format!("{number}: {other:?}")),
        Err(_) => Err(format!("{number}: no response in {PATIENCE:?}")),
    }
}
