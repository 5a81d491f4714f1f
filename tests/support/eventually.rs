//! Waiting for something to become true, with a deadline.

use std::time::{Duration, Instant};

/// Long enough for anything that should happen at all, on a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Asks `probe` again and again until it responds `Ok`, and returns that. Panics when `deadline` has passed, naming `what` was awaited and
/// what the last probe saw instead.
pub(crate) async fn eventually<T>(deadline: Duration, what: &str, mut probe: impl AsyncFnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    let mut pause = Duration::from_millis(2);
    loop {
        match probe().await {
            Ok(value) => return value,
            Err(seen) if started.elapsed() > deadline => {
                panic!("waited {deadline:?} for {what}; last seen: {seen}")
            }
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
