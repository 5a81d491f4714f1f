//! The grammar as the user types it: one struct a section, one field a name. Nothing here has a meaning yet; `super::Config` has.

use deserr::{Deserr, ValuePointerRef};

use super::names::{ClusterName, TargetName};
use super::problem::Problems;
use super::raw_after::After;
use super::raw_delivery::{Breaker, DeadLetter, RateLimit, Retry};
pub use super::raw_match::{AuthorityRule, BodyRule, HeaderRule, PathRule, QueryRule, Rule};
use super::raw_order::Order;
use super::raw_shape::{Batch, Compare, RequestShape, ResponseShape, Sample};
use super::scalar::{Apart, Millis, NonEmpty, Size, Text, Whole, HOUR};
#[cfg(feature = "cli")]
use super::schema;
use crate::delivery::trigger::EndPattern;
use crate::http::names::CorrelationHeader;
use crate::http::status::StatusPattern;
pub use crate::select::condition::ExactValue;
use crate::template::Template;

/// The configuration of the Sidecast filter.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields, validate = correlation_is_not_signed -> Problems)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Document {
    /// Where copies go.
    pub targets: NonEmpty<Target, 32>,
    /// Limits per worker, over all targets.
    #[deserr(default, from(Apart<WorkerLimits>) = Apart::section)]
    #[cfg_attr(feature = "cli", schemars(default))]
    pub limits: WorkerLimits,
    /// How long a replaced configuration may take to finish its copies.
    #[deserr(default = default_drain_timeout())]
    #[cfg_attr(feature = "cli", schemars(default = "default_drain_timeout"))]
    pub drain_timeout: Millis<1, HOUR>,
    /// How to relate a copy to the primary's request.
    #[deserr(default, from(Apart<Correlation>) = Apart::section)]
    #[cfg_attr(feature = "cli", schemars(default))]
    pub correlation: Correlation,
    /// Keeps copies from being copied again.
    #[deserr(default, from(Apart<LoopGuard>) = Apart::section)]
    #[cfg_attr(feature = "cli", schemars(default))]
    pub loop_guard: LoopGuard,
}

/// The header of the correlation ID is not one that a signature makes.
fn correlation_is_not_signed(document: Document, location: ValuePointerRef<'_>) -> Result<Document, Problems> {
    let mut problems = Problems::default();
    let header = document.correlation.header.0 .0.as_str();
    let targets = location.push_key("targets");
    for (index, target) in document.targets.0.iter().enumerate() {
        let sign = target.request.as_ref().and_then(|request| request.sign.as_ref());
        if sign.is_some_and(|sign| sign.makes(header)) {
            let expected = format!("expected a header other than `correlation.header`, found {header} for both");
            problems.extend(Problems::at(targets.push_index(index).push_key("request").push_key("sign"), expected));
        }
    }
    if problems.is_empty() {
        Ok(document)
    } else {
        Err(problems)
    }
}

fn default_drain_timeout() -> Millis<1, HOUR> {
    Millis(30_000)
}

/// One target.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields, validate = consistent -> Problems)]
#[cfg_attr(
    feature = "cli",
    derive(schemars::JsonSchema),
    schemars(deny_unknown_fields, transform = schema::sections_apart)
)]
pub struct Target {
    /// The label in statistics and logs, and the value of `x-sidecast-target`. Must be unique.
    pub name: Text<TargetName>,
    /// The Envoy cluster that receives the copies.
    pub cluster: Text<ClusterName>,
    /// A request is copied if any of these rules matches. Absent: every request.
    #[deserr(default, rename = "match")]
    #[cfg_attr(feature = "cli", schemars(rename = "match"))]
    pub rules: Option<NonEmpty<Rule>>,
    /// A request is not copied if any of these rules matches, whatever `match` says. Absent: no exceptions.
    #[deserr(default)]
    pub except: Option<NonEmpty<Rule>>,
    /// The share of matching requests to copy. Absent: all.
    #[deserr(default, from(Apart<Option<Sample>>) = Apart::section)]
    pub sample: Option<Sample>,
    /// What the copy waits for: the complete `request`, the primary's `response`, or another target's copy.
    #[deserr(default)]
    #[cfg_attr(feature = "cli", schemars(default))]
    pub after: After,
    /// With `after: response`: the copy is sent if the primary's response ends with one of these. Absent: `["2xx"]`.
    #[deserr(default)]
    pub statuses: Option<NonEmpty<EndPattern>>,
    /// Sends copies with the same key one after the other. Not with `batch`. Absent: copies do not wait for each other.
    #[deserr(default, from(Apart<Option<Order>>) = Apart::section)]
    pub order: Option<Order>,
    /// What the target receives. Absent: the primary's request.
    #[deserr(default, from(Apart<Option<RequestShape>>) = Apart::section)]
    pub request: Option<RequestShape>,
    /// How the target's expressions see the responses that its copy waits for. Absent: unchanged.
    #[deserr(default, from(Apart<Option<ResponseShape>>) = Apart::section)]
    pub response: Option<ResponseShape>,
    /// The responses that count as delivered.
    #[deserr(default = default_success())]
    #[cfg_attr(feature = "cli", schemars(default = "default_success"))]
    pub success: NonEmpty<StatusPattern>,
    /// How long one attempt may take.
    #[deserr(default = default_timeout())]
    #[cfg_attr(feature = "cli", schemars(default = "default_timeout"))]
    pub timeout: Millis<1, HOUR>,
    /// When and how a failed copy is retried. Absent: one attempt.
    #[deserr(default, from(Apart<Option<Retry>>) = Apart::section)]
    pub retry: Option<Retry>,
    /// Stops calls to a failing target for a while. Absent: on, with defaults.
    #[deserr(default, from(Apart<Breaker>) = Apart::section)]
    #[cfg_attr(feature = "cli", schemars(default))]
    pub circuit_breaker: Breaker,
    /// Limits for this target, per worker.
    #[deserr(default, from(Apart<TargetLimits>) = Apart::section)]
    #[cfg_attr(feature = "cli", schemars(default))]
    pub limits: TargetLimits,
    /// Sends several requests in one call. Not with `compare`, `order` or `request.body.omit`. Absent: one call per request.
    #[deserr(default, from(Apart<Option<Batch>>) = Apart::section)]
    pub batch: Option<Batch>,
    /// Where to send copies that are given up. Absent: they are lost, and counted.
    #[deserr(default, from(Apart<Option<DeadLetter>>) = Apart::section)]
    pub dead_letter: Option<DeadLetter>,
    /// Compares the target's responses with the primary's. Not with `batch`. Absent: no comparison.
    #[deserr(default, from(Apart<Option<Compare>>) = Apart::section)]
    pub compare: Option<Compare>,
}

fn default_success() -> NonEmpty<StatusPattern> {
    NonEmpty(vec![StatusPattern::class(2), StatusPattern::class(3)])
}

fn default_timeout() -> Millis<1, HOUR> {
    Millis(2_000)
}

/// Sections that do not go together.
fn consistent(target: Target, location: ValuePointerRef<'_>) -> Result<Target, Problems> {
    let mut problems = Problems::default();
    let body = target.request.as_ref().and_then(|request| request.body.as_ref());
    if body.is_some_and(|body| body.omit && body.template.is_some()) {
        let request = location.push_key("request");
        let body = request.push_key("body");
        problems.extend(Problems::at(body.push_key("omit"), "expected false, because there is a `template`"));
    }
    let method = target.request.as_ref().and_then(|request| request.method.as_ref());
    if method.is_some_and(|method| method.0 .0 == "CONNECT") {
        let request = location.push_key("request");
        problems.extend(Problems::at(request.push_key("method"), "expected a method other than CONNECT, which opens a tunnel"));
    }
    if target.response.is_some() && matches!(target.after, After::Request) {
        let expected = "expected `after: response` or a target in `after`: otherwise there is no response to read";
        problems.extend(Problems::at(location.push_key("response"), expected));
    }
    if target.batch.is_some() {
        let location = location.push_key("batch");
        if target.compare.is_some() {
            problems
                .extend(Problems::at(location, "cannot be combined with `compare`: a batch has one response for many requests"));
        }
        if target.order.is_some() {
            problems.extend(Problems::at(location, "cannot be combined with `order`: a batch has requests of many keys"));
        }
        if body.is_some_and(|body| body.omit) {
            problems
                .extend(Problems::at(location, "cannot be combined with `request.body.omit`: the items of a batch are bodies"));
        }
    }
    problems.extend(items_without_places(&target, location));
    if problems.is_empty() {
        Ok(target)
    } else {
        Err(problems)
    }
}

/// A batch of more items than can wait. The problem is at a number that is written: where that of items is its default, that of places is.
fn items_without_places(target: &Target, location: ValuePointerRef<'_>) -> Problems {
    let places = target.limits.max_queued.0;
    let Some(items) = target.batch.as_ref().map(|batch| batch.max_items.0).filter(|items| *items > places) else {
        return Problems::default();
    };
    if items == Batch::default().max_items.0 {
        let expected = format!("expected at least `batch.max_items` ({items}), because items wait in the queue, found {places}");
        Problems::at(location.push_key("limits").push_key("max_queued"), expected)
    } else {
        let expected = format!("expected at most `limits.max_queued` ({places}), because items wait in the queue, found {items}");
        Problems::at(location.push_key("batch").push_key("max_items"), expected)
    }
}

/// How much of a target's traffic one worker holds.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields, default))]
pub struct TargetLimits {
    /// Calls in flight at once.
    #[deserr(default = Self::default().max_in_flight)]
    pub max_in_flight: Whole<1, 1_000_000>,
    /// Copies that wait: for a free call, for a retry, for an earlier copy with their key, or for their batch to fill.
    #[deserr(default = Self::default().max_queued)]
    pub max_queued: Whole<0, 1_000_000>,
    /// Limits how often copies are sent. Absent: no limit.
    #[deserr(default)]
    pub rate: Option<RateLimit>,
}

impl Default for TargetLimits {
    fn default() -> Self {
        Self { max_in_flight: Whole(256), max_queued: Whole(1_024), rate: None }
    }
}

/// How much one worker holds, over all targets.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields, validate = buffers_hold_a_body -> Problems)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields, default))]
pub struct WorkerLimits {
    /// The longest body that is copied.
    #[deserr(default = Self::default().max_body_bytes)]
    pub max_body_bytes: Size<0, MAX_BODY>,
    /// Bytes of headers and bodies held for copies: still arriving, queued or in flight. At least `max_body_bytes`.
    #[deserr(default = Self::default().max_buffered_bytes)]
    pub max_buffered_bytes: Size<1, MAX_BUFFERED>,
    /// Work that one request may cause, over all targets: bytes decoded, searched and written for templates, redaction, batches and dead letters. Absent:
    /// eight times `max_body_bytes`, but at least `8MiB` and at most `64MiB`.
    #[deserr(default)]
    pub max_work_bytes: Option<Size<MIN_WORK, MAX_WORK>>,
}

/// V8 ends a module whose memory would grow beyond about 1 GiB. What is held takes up to half as much again of an allocator's memory, and a body is
/// held twice while it is handed to Envoy.
const MAX_BODY: u64 = 64 << 20;
const MAX_BUFFERED: u64 = 384 << 20;

/// What is read of a request takes up to three bytes of memory for each byte of work.
const MIN_WORK: u64 = 64 << 10;
const MAX_WORK: u64 = 128 << 20;
/// The least and the most that it is unless it is said.
const DEFAULT_WORK: (u64, u64) = (8 << 20, 64 << 20);

impl Default for WorkerLimits {
    fn default() -> Self {
        Self { max_body_bytes: Size(1 << 20), max_buffered_bytes: Size(64 << 20), max_work_bytes: None }
    }
}

impl WorkerLimits {
    /// The work that one request may cause.
    pub fn max_work(&self) -> u64 {
        let (least, most) = DEFAULT_WORK;
        self.max_work_bytes.map_or_else(|| self.max_body_bytes.0.saturating_mul(8).clamp(least, most), |work| work.0)
    }
}

fn buffers_hold_a_body(limits: WorkerLimits, location: ValuePointerRef<'_>) -> Result<WorkerLimits, Problems> {
    if limits.max_buffered_bytes.0 < limits.max_body_bytes.0 {
        return Err(Problems::at(
            location.push_key("max_buffered_bytes"),
            format!("expected at least `max_body_bytes` ({}), found {}", limits.max_body_bytes.0, limits.max_buffered_bytes.0),
        ));
    }
    Ok(limits)
}

/// How to relate a copy to the primary's request.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields, default))]
pub struct Correlation {
    /// The header that holds the correlation id.
    #[deserr(default = Self::default().header)]
    pub header: Text<CorrelationHeader>,
    /// Copies carry a child of the client's `traceparent`.
    #[deserr(default = Self::default().traceparent)]
    pub traceparent: bool,
}

impl Default for Correlation {
    fn default() -> Self {
        Self { header: Text(CorrelationHeader("x-request-id".to_owned())), traceparent: true }
    }
}

/// Keeps copies from being copied again.
#[derive(Debug, Default, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields, default))]
pub struct LoopGuard {
    /// A secret that all your filters share, as text or `${env:NAME}`: only its holders can mark a request as a copy. Absent: a client can opt out of
    /// mirroring.
    #[deserr(default)]
    pub secret: Option<Text<Template>>,
}
