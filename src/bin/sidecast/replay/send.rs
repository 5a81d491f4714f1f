//! The attempts to deliver a letter.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use hyper::header::{HeaderMap, RETRY_AFTER};
use sidecast::http::grpc;
use sidecast::http::status::StatusPattern;
use tokio::sync::watch;
use tokio::time::Instant;

use super::pace::{back_off, Pace};
use super::request::Prepared;
use crate::client::{Answer, Client, Failure};

/// The longest Retry-After that is waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Which statuses count as delivered.
#[derive(Clone, Debug)]
pub(super) struct Success(Vec<RangeInclusive<u16>>);

impl FromStr for Success {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = |item: &str| {
            let item = item.trim();
            let status = |text: &str| text.parse::<u16>().ok().filter(|status| (100..=599).contains(status));
            let range = match item.split_once('-') {
                Some((first, last)) => status(first).zip(status(last)).filter(|(first, last)| first <= last),
                None => StatusPattern::parse(item).and_then(|pattern| {
                    let covered = |status: &u16| pattern.covers(*status);
                    (100..=599).find(covered).zip((100..=599).rev().find(covered))
                }),
            };
            range
                .map(|(first, last)| first..=last)
                .ok_or_else(|| format!("expected statuses such as 2xx, 409 or 200-299, found {item:?}"))
        };
        text.split(',').map(one).collect::<Result<_, _>>().map(Self)
    }
}

impl Success {
    fn covers(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

/// How attempts are made.
pub(super) struct Attempts {
    pub(super) most: u32,
    pub(super) success: Success,
    pub(super) pace: Pace,
}

/// The clients of a server.
#[derive(Clone)]
pub(super) struct Clients {
    pub(super) plain: Client,
    pub(super) grpc: Client,
}

/// How a letter ended.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// The target has it.
    Delivered { outcome: String, attempts: u32 },
    /// No attempt was a success.
    Failed { outcome: String, attempts: u32, detail: Option<String> },
    /// The replay was told to stop before that was known.
    Stopped,
}

/// How one attempt ended.
struct Outcome {
    /// The word that the filter's logs and letters have for it.
    label: String,
    detail: Option<String>,
    is_success: bool,
    /// Another attempt may end otherwise.
    is_passing: bool,
    wait: Option<Duration>,
}

impl Attempts {
    /// Delivers a letter, at the earliest at `turn`.
    pub(super) async fn deliver(
        &self,
        clients: &Clients,
        prepared: &Prepared,
        mut turn: Instant,
        stop: &mut watch::Receiver<bool>,
    ) -> End {
        let client = if prepared.is_grpc { &clients.grpc } else { &clients.plain };
        let mut attempt = 1;
        loop {
            if !waited(turn, stop).await {
                return End::Stopped;
            }
            let outcome = self.judge(prepared.is_grpc, client.send(prepared.request()).await);
            let Outcome { label, detail, is_success, is_passing, wait } = outcome;
            if is_success {
                return End::Delivered { outcome: label, attempts: attempt };
            }
            let asks_too_much = wait.is_some_and(|wait| wait > LONGEST_WAIT);
            if !is_passing || attempt >= self.most || asks_too_much {
                return End::Failed { outcome: label, attempts: attempt, detail };
            }
            let pause = back_off(attempt).max(wait.unwrap_or_default());
            if !waited(Instant::now() + pause, stop).await {
                return End::Stopped;
            }
            turn = self.pace.turn();
            attempt = attempt.saturating_add(1);
        }
    }

    fn judge(&self, is_grpc: bool, sent: Result<Answer, Failure>) -> Outcome {
        let failed = |label: &str, detail: String| Outcome {
            label: label.to_owned(),
            detail: Some(detail),
            is_success: false,
            is_passing: true,
            wait: None,
        };
        match sent {
            Ok(answer) => self.judge_answer(is_grpc, answer.head.status().as_u16(), answer.head.headers(), &answer.trailers),
            // What a target says besides its status is of no interest. That of gRPC stands behind it.
            Err(Failure::TooLong { head, .. }) if !is_grpc => {
                self.judge_answer(false, head.status().as_u16(), head.headers(), &HeaderMap::new())
            }
            Err(error @ Failure::Connect(_)) => failed("connect_failure", error.to_string()),
            Err(error @ Failure::Timeout(_)) => failed("timeout", error.to_string()),
            Err(error @ (Failure::Broken(_) | Failure::TooLong { .. })) => failed("reset", error.to_string()),
        }
    }

    fn judge_answer(&self, is_grpc: bool, status: u16, headers: &HeaderMap, trailers: &HeaderMap) -> Outcome {
        let (label, status) = if is_grpc && status == 200 {
            let code = trailers.get("grpc-status").or_else(|| headers.get("grpc-status"));
            let code = code.and_then(|code| code.to_str().ok()?.parse().ok()).unwrap_or(grpc::UNKNOWN);
            (format!("grpc_{code}"), grpc::http_status(code))
        } else {
            (format!("status_{status}"), status)
        };
        Outcome {
            label,
            detail: None,
            is_success: self.success.covers(status),
            is_passing: status == 429 || (500..=599).contains(&status),
            wait: retry_after(headers),
        }
    }
}

/// How long a response asks to wait, in seconds or as a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Waits. Returns false if the replay is told to stop meanwhile.
async fn waited(until: Instant, stop: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        biased;
        _ = stop.wait_for(|stops| *stops) => false,
        () = tokio::time::sleep_until(until) => true,
    }
}
