//! The compiled filter in a real Envoy under steady load while something breaks: the primary must not notice, nothing may vanish,
//! and memory stays bounded. The storms take turns. Only that of the orders, whose load is light,
//! runs beside the others.
#[path = "../envoy/scene.rs"]
#[allow(dead_code)] // Shared with other tests; storms use a part.
mod scene;
#[path = "../support/mod.rs"]
#[allow(dead_code)]
mod support;

mod hang;
mod orders;
mod outage;
mod shutdown;
mod updates;

use tokio::sync::{Mutex, MutexGuard};

/// Waits until no other storm is under way.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}
