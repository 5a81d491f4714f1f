//! The proof that what a round cost was done: everything that was sent arrived, everywhere, as it should.

use serde_json::Value;

use crate::case::{Arrival, Case, Variant};
use crate::load::Load;
use crate::round::Bench;
use crate::upstreams::{Received, Sample};
use crate::Result;

impl Bench<'_> {
    /// Whether the primary got what was sent and each target what it should. `wrk` hangs up in the middle of a request on
    /// each of its connections when the time is over: so much may be missing or too many.
    pub(crate) fn verify(&self, variant: Variant, seconds: u64, load: &Load, received: &[Received]) -> Result<()> {
        let (sent, errors, slack) = (load.requests, load.errors, self.options.connections);
        if sent == 0 || errors > 0 {
            return Err(format!("{errors} errors in {sent} requests").into());
        }
        let (primary, targets) = (received[0], &received[1..]);
        if primary.requests.abs_diff(sent) > slack {
            return Err(format!("{sent} requests were answered, but the primary got {}", primary.requests).into());
        }
        whole(self.case, primary)?;
        for (index, &got) in targets.iter().enumerate() {
            let arrival = if index < self.case.targets { self.case.arrival(variant) } else { &Arrival::Nothing };
            let sample = || self.upstreams.last(index).ok_or("no request was kept");
            let problem = |problem| format!("target {index}: {problem}");
            match arrival {
                Arrival::Nothing => near(got.requests, 0, 0),
                Arrival::AsSent => near(got.requests, primary.requests, slack).and_then(|()| whole(self.case, got)),
                Arrival::Shaped { path, body } => {
                    near(got.requests, primary.requests, slack).and_then(|()| shaped(got, &sample()?, path, body))
                }
                Arrival::Batches { path, items, .. } => near(got.items, primary.requests, slack)
                    .and_then(|()| batches(self.case, got, &sample()?, path, *items, seconds)),
            }
            .map_err(problem)?;
        }
        Ok(())
    }
}

fn near(got: u64, wanted: u64, slack: u64) -> Result<()> {
    if got.abs_diff(wanted) > slack {
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
fn batches(case: &Case, got: Received, sample: &Sample, path: &str, items: u64, seconds: u64) -> Result<()> {
    addressed(sample, path)?;
    let order: Value = serde_json::from_slice(&case.body)?;
    let seen: Vec<Value> = serde_json::from_slice(&sample.body)?;
    if let Some(other) = seen.iter().find(|item| **item != order) {
        return Err(format!("got {other} and should have got {order}").into());
    }
    let calls = got.items.div_ceil(items)..=got.items / items + seconds + 2;
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
