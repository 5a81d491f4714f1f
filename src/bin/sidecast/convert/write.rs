//! Writes the converted configuration, with what is to be known at its place.

use std::collections::HashSet;
use std::fmt::Write;

use serde::Serialize;
use serde_json::json;
use sidecast::config::Config;

use super::remark::{Origin, Remark};
use super::rule::Rule;
use super::shape::Request;
use super::table::Target;
use crate::check::visible;
use crate::render::yaml;

/// Lines of comments are broken here.
const WIDTH: usize = 118;

/// What the filter does in another way than the mirrors of Envoy, whatever is converted.
const DIFFERENCES: [&str; 9] = [
    "A copy has the client's host, or `request.authority`. Envoy's mirror appends -shadow to the host, unless the source turns that off.",
    "Credentials (authorization, cookie and the like) are left out; `request: {headers: {sensitive: forward}}` sends them. The client's x-envoy-* headers are left out, x-forwarded-for stays as the primary gets it, and x-sidecast-* and idempotency-key are added.",
    "A copy is sent when its request is complete. Requests with a body above `limits.max_body_bytes` (1 MiB), gRPC streams and aborted requests are counted, but not copied. Trailers are not copied.",
    "A circuit breaker stops calls to a failing target, and limits bound what is queued; Envoy's mirror has neither. With `circuit_breaker: {mode: observe}` the breaker only counts. Neither retries.",
    "`timeout` is the route's, or 15s if the route has none or waits without limit. Responses are ignored, as with Envoy's mirror, but counted.",
    "Requests are sampled at random for each target by itself. With `sample.key`, the same users are always in.",
    "If a header is repeated, one matching value is enough; Envoy compares all values, joined by commas. Query parameters are decoded first. A value that is not UTF-8 matches no pattern.",
    "A target over HTTP/2 that breaks the protocol can crash Envoy, as a mirror can: docs/security.md.",
    "Rules see requests as the filters before Sidecast leave them; Envoy's router sees them after all filters. So put Sidecast last.",
];

/// A configuration that came of a table.
pub(super) struct Converted {
    pub(super) name: String,
    pub(super) advice: String,
    pub(super) targets: Vec<Target>,
}

#[derive(Serialize)]
struct Written<'t> {
    name: &'t str,
    cluster: &'t str,
    #[serde(rename = "match", skip_serializing_if = "is_all")]
    rules: &'t [Rule],
    #[serde(skip_serializing_if = "is_none")]
    except: &'t [Rule],
    #[serde(skip_serializing_if = "Option::is_none")]
    sample: Option<Sample>,
    #[serde(skip_serializing_if = "Request::is_empty")]
    request: &'t Request,
    timeout: &'t str,
}

#[derive(Serialize)]
struct Sample {
    percent: serde_json::Number,
}

/// A rule without conditions is every request.
fn is_all(rules: &[Rule]) -> bool {
    rules.iter().any(Rule::is_empty)
}

fn is_none(rules: &[Rule]) -> bool {
    rules.is_empty()
}

impl Target {
    /// True if both are of one mirror.
    fn is_part_of(&self, other: &Self) -> bool {
        self.cluster == other.cluster && self.origins.iter().any(|origin| other.origins.contains(origin))
    }
}

impl Sample {
    fn of(percent: f64) -> Option<Self> {
        // What comes of a division has more digits than anybody means.
        let percent = (percent * 1e9).round() / 1e9;
        let whole = (percent.fract() == 0.0).then(|| format!("{percent}").parse::<u64>().ok()).flatten();
        let percent = whole.map(Into::into).or_else(|| serde_json::Number::from_f64(percent))?;
        (percent.as_f64() != Some(100.0)).then_some(Self { percent })
    }
}

fn written(target: &Target) -> Written<'_> {
    Written {
        name: &target.name,
        cluster: &target.cluster,
        rules: &target.rules,
        except: &target.except,
        sample: Sample::of(target.percent),
        request: &target.shape.request,
        timeout: &target.shape.timeout,
    }
}

impl Converted {
    /// The filter's configuration.
    pub(super) fn configuration(&self) -> serde_json::Value {
        json!({"targets": self.targets.iter().map(written).collect::<Vec<_>>()})
    }

    /// What the filter would say against it.
    pub(super) fn problems(&self) -> Vec<String> {
        match Config::parse(self.configuration().to_string().as_bytes(), &|_| None) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.into_iter().map(|problem| format!("{}: {}", problem.path, problem.mistake)).collect(),
        }
    }

    /// The configuration as YAML.
    ///
    /// # Errors
    /// Returns an error if it cannot be written.
    pub(super) fn yaml(&self, remarks: Option<&[&Remark]>) -> Result<String, String> {
        let mut text = String::new();
        let mut comment = |line: &str| comment(&mut text, "# ", line);
        comment(&format!("Converted from the mirrors of {}. Put the filter {}.", self.name, self.advice));
        if let Some(remarks) = remarks {
            comment("These differences always apply (docs/migrating.md):");
            DIFFERENCES.iter().for_each(|difference| comment(&format!("- {difference}")));
            if !remarks.is_empty() {
                comment("These come from your files:");
                remarks.iter().for_each(|remark| comment(&format!("- {}", remark.line())));
            }
        }
        text.push_str("targets:\n");
        for (index, target) in self.targets.iter().enumerate() {
            let places: Vec<String> = target.origins.iter().map(|Origin { file, line, .. }| format!("{file}:{line}")).collect();
            self::comment(&mut text, "# ", &format!("From {}.", places.join(", ")));
            let mut before = self.targets.iter().take(index).rev();
            if let Some(other) = before.find(|other| other.is_part_of(target)) {
                let name = &other.name;
                self::comment(&mut text, "# ", &format!("Separate from {name}, because the exceptions of a target apply to all of its rules. No request goes to both."));
            }
            target.remarks.iter().for_each(|remark| self::comment(&mut text, "# ", &format!("Difference: {remark}.")));
            text.push_str(&yaml::write(&[written(target)])?);
        }
        Ok(text)
    }
}

/// Adds a comment, broken into lines.
fn comment(text: &mut String, start: &str, line: &str) {
    let line = visible(line);
    let mut width = 0;
    for word in line.split(' ') {
        if width > 0 && width + word.chars().count() >= WIDTH {
            text.push('\n');
            width = 0;
        }
        let before = match width {
            0 if text.is_empty() || text.ends_with('\n') => start,
            _ => " ",
        };
        let _ = write!(text, "{before}{word}");
        width += before.len().saturating_add(word.chars().count());
    }
    text.push('\n');
}

/// Gives each target a name of its cluster that no other has.
pub(super) fn name(targets: &mut [Target], taken: &mut HashSet<String>) {
    for target in targets {
        let wanted = of_cluster(&target.cluster);
        let names = (1_usize..).map(|number| match number {
            1 => wanted.clone(),
            number => {
                let end = format!("-{number}");
                let kept: String = wanted.chars().take(63_usize.saturating_sub(end.len())).collect();
                format!("{kept}{end}")
            }
        });
        target.name = names.into_iter().find(|name| !taken.contains(name)).unwrap_or_default();
        taken.insert(target.name.clone());
    }
}

/// The name of a cluster, as a target may be named. Of Istio's, the service and the subset.
fn of_cluster(cluster: &str) -> String {
    let parts: Vec<&str> = cluster.split('|').collect();
    let meant = match parts.as_slice() {
        ["outbound", _, subset, host] => {
            let service = host.split('.').next().unwrap_or(host);
            if subset.is_empty() {
                service.to_owned()
            } else {
                format!("{service}-{subset}")
            }
        }
        _ => cluster.to_owned(),
    };
    let legal = |char: char| if char.is_ascii_alphanumeric() || char == '_' { char.to_ascii_lowercase() } else { '-' };
    let name: String = meant.chars().map(legal).collect();
    let name: String = name.trim_matches(['-', '_']).chars().take(63).collect();
    if name.is_empty() {
        "target".to_owned()
    } else {
        name
    }
}
