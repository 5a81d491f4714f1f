//! The proof that what was measured was done: everything that was sent arrived, everywhere, as it should.

use std::time::Duration;

use serde_json::Value;

use crate::case::{Arrival, Case};
use crate::slice::Side;
use crate::upstreams::{Received, Sample};
use crate::Result;

impl Side<'_> {
    /// Whether the primary got all that was sent since the start, and each target what it should: to be asked when nothing is under way.
    pub(crate) fn verify(&self) -> Result<()> {
        let received = self.upstreams.received();
        let (primary, targets) = (received[0], &received[1..]);
        if primary.requests != self.sent {
            return Err(format!("{} requests were answered, but the primary got {}", self.sent, primary.requests).into());
        }
        whole(self.case, primary)?;
        for (index, &got) in targets.iter().enumerate() {
            let sample = || self.upstreams.last(index).ok_or("no request was kept");
            match self.case.arrival(self.variant) {
                Arrival::Nothing => exactly(got.requests, 0),
                Arrival::AsSent => exactly(got.requests, self.sent).and_then(|()| whole(self.case, got)),
                Arrival::Shaped { path, body } => {
                    exactly(got.requests, self.sent).and_then(|()| shaped(got, &sample()?, path, body))
                }
                Arrival::Batches { path, items, .. } => exactly(got.items, self.sent)
                    .and_then(|()| batches(self.case, got, &sample()?, path, *items, self.started.elapsed())),
            }
            .map_err(|problem| format!("target {index}: {problem}"))?;
        }
        Ok(())
    }
}

fn exactly(got: u64, wanted: u64) -> Result<()> {
    if got != wanted {
        return Err(format!("should have got {wanted} copies and got {got}").into());
    }
    Ok(())
}

/// Every request had the whole body.
fn whole(case: &Case, got: Received) -> Result<()> {
    if got.bytes != got.requests * case.body.len() as u64 {
        return Err(format!("{} requests carried {} bytes of body", got.requests, got.bytes).into());
    }
    Ok(())
}

/// One request is as it should be, and all had as many bytes.
fn shaped(got: Received, sample: &Sample, path: &str, body: &Value) -> Result<()> {
    addressed(sample, path)?;
    let seen: Value = serde_json::from_slice(&sample.body)?;
    if seen != *body {
        return Err(format!("got {seen} and should have got {body}").into());
    }
    if got.bytes != got.requests * sample.body.len() as u64 {
        return Err(format!("{} requests like {seen} carried {} bytes of body", got.requests, got.bytes).into());
    }
    Ok(())
}

/// One batch holds the bodies as they were sent, all were JSON arrays with as many bytes an item, and none went before it was full, but for one a
/// second, whose delay may have been over.
fn batches(case: &Case, got: Received, sample: &Sample, path: &str, items: u64, within: Duration) -> Result<()> {
    addressed(sample, path)?;
    let order: Value = serde_json::from_slice(&case.body)?;
    let seen: Vec<Value> = serde_json::from_slice(&sample.body)?;
    if let Some(other) = seen.iter().find(|item| **item != order) {
        return Err(format!("got {other} and should have got {order}").into());
    }
    let calls = got.items.div_ceil(items)..=got.items / items + within.as_secs() + 2;
    if !calls.contains(&got.requests) || got.broken > 0 {
        return Err(format!("{} items came in {} calls, {} of them broken", got.items, got.requests, got.broken).into());
    }
    // A comma or the opening bracket before each item, the closing one behind the last.
    if got.bytes != got.items * (case.body.len() as u64 + 1) + got.requests {
        return Err(format!("{} calls with {} items carried {} bytes of body", got.requests, got.items, got.bytes).into());
    }
    Ok(())
}

fn addressed(sample: &Sample, path: &str) -> Result<()> {
    if sample.path != path {
        return Err(format!("got {} and should have got {path}", sample.path).into());
    }
    Ok(())
}
