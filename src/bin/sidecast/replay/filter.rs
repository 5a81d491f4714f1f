//! Which letters are sent.

use std::str::FromStr;
use std::time::SystemTime;

use super::envelope::Letter;

/// The conditions of one `--only`. All of them must hold.
#[derive(Clone, Debug)]
pub(super) struct Only(Vec<Condition>);

#[derive(Clone, Debug)]
enum Condition {
    Target(String),
    Cluster(String),
    Reason(String),
    Id(String),
    Method(String),
    Since(SystemTime),
    Until(SystemTime),
}

impl FromStr for Only {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').map(Condition::from_str).collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || format!("expected KEY=VALUE with a key of target, cluster, reason, id, method, since, until; found {text:?}");
        let (key, value) = text.split_once('=').ok_or_else(expected)?;
        let time =
            || humantime::parse_rfc3339_weak(value).map_err(|error| format!("{value:?}: {error}; expected 2026-01-02T03:04:05Z"));
        let text = value.to_owned();
        Ok(match key.trim() {
            "target" => Self::Target(text),
            "cluster" => Self::Cluster(text),
            "reason" => Self::Reason(text),
            "id" => Self::Id(text),
            "method" => Self::Method(text),
            "since" => Self::Since(time()?),
            "until" => Self::Until(time()?),
            _ => return Err(expected()),
        })
    }
}

impl Condition {
    fn holds(&self, letter: &Letter) -> bool {
        match self {
            Self::Target(target) => letter.target == *target,
            Self::Cluster(cluster) => letter.cluster.as_ref() == Some(cluster),
            Self::Reason(reason) => letter.reason.as_ref() == Some(reason),
            Self::Id(id) => letter.id == *id,
            Self::Method(method) => letter.request.method.as_ref() == Some(method),
            Self::Since(time) => letter.received_at().is_some_and(|at| at >= *time),
            Self::Until(time) => letter.received_at().is_some_and(|at| at < *time),
        }
    }
}

/// True for a letter that one of several `--only` wants. None at all want every letter.
pub(super) fn wants(only: &[Only], letter: &Letter) -> bool {
    only.is_empty() || only.iter().any(|Only(conditions)| conditions.iter().all(|condition| condition.holds(letter)))
}
