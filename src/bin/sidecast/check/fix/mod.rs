//! Hints: guesses what the user meant. A guess is made only if the filter takes it: each is tried on the configuration first.

mod expression;
mod value;

use serde_json::Value;
use sidecast::config::problem::{child_path, Mistake, Problem};
use sidecast::config::{signing, Config};
use sidecast::http::invalid::Invalid;

use super::hint::{almost, did_you_mean, similar};
use super::level;
use super::locate::Place;
use super::tree::{from_json, Kind, Member, Node};

/// The problems that the filter would report. The values of variables are unknown here.
pub(super) fn problems(json: &str) -> Vec<Problem> {
    let env = signing::stand_in(json.as_bytes(), |name| format!("${{env:{name}}}"));
    Config::parse(json.as_bytes(), &env).err().into_iter().flatten().collect()
}

/// A hint for a problem of a configuration. In a JSON text it is JSON.
pub(super) fn hint(problem: &Problem, place: &Place<'_>, config: &Node, is_json: bool) -> Option<String> {
    let guess = Guess { problem, place, config };
    match &problem.mistake {
        Mistake::UnknownField { known } => {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            guess.field(&known)
        }
        Mistake::UnknownValue { found, known } => {
            let alike = similar(found, known.iter().map(String::as_str)).map(Value::from);
            guess.value(alike.into_iter().chain(value::meant(place, &problem.path)), is_json)
        }
        Mistake::Invalid(Invalid::UnknownExpression { .. }) => guess.expression(),
        // What a condition lacks or has too much of is listed by its message, as its fields are.
        Mistake::Invalid(Invalid::Expected(message)) if message.starts_with("unknown field") => {
            let known: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
            guess.field(&known)
        }
        Mistake::Invalid(Invalid::Expected(_)) if problem.path.is_empty() => {
            let inside = super::documents(config.text()?).ok()?;
            let is_whole = inside.iter().any(|inside| inside.get("targets").is_some());
            is_whole.then(|| "this is text: remove `|` or the quotes to make it an object".to_owned())
        }
        Mistake::Invalid(Invalid::Expected(_)) => {
            guess.expression().or_else(|| guess.value(value::meant(place, &problem.path), is_json))
        }
        Mistake::Repeated => None,
    }
}

struct Guess<'g> {
    problem: &'g Problem,
    place: &'g Place<'g>,
    config: &'g Node,
}

impl Guess<'_> {
    /// A field that is not among those `known` in its section.
    fn field(&self, known: &[&str]) -> Option<String> {
        let (key, key_at) = self.place.key?;
        if let Some(higher) = self.one_level_higher(key) {
            return Some(higher);
        }
        if OF_PLUGIN.contains(&key) {
            return Some(format!("`{key}` belongs next to the configuration, not in it"));
        }
        let words = known.iter().copied();
        let meant = ALIASES.iter().find(|(alias, meant)| *alias == key && known.contains(meant)).map(|(_, meant)| *meant);
        let is_right = |meant: &&str| {
            let renamed = self.config.renamed(key_at, meant).to_json();
            let parent = self.problem.path.strip_suffix(key).map_or("", |parent| parent.trim_end_matches('.'));
            let path = child_path(parent, meant);
            problems(&renamed).iter().all(|problem| {
                problem.path != path || matches!(self.place.value.kind, Kind::Object(_)) && problem.mistake != Mistake::Repeated
            })
        };
        let meant = meant.or_else(|| almost(key, words.clone())).or_else(|| similar(key, words)).filter(is_right);
        let Some(belongs) = level::of(key) else { return meant.map(did_you_mean) };
        match meant.filter(|meant| almost(key, [*meant]).is_some()) {
            Some(meant) => Some(format!("{} {belongs}", did_you_mean(meant))),
            None => Some(belongs),
        }
    }

    /// A whole configuration that stands in a field of the configuration.
    fn one_level_higher(&self, key: &str) -> Option<String> {
        let is_outermost = self.problem.path == key;
        let is_whole = self.place.value.get("targets").is_some_and(|targets| matches!(targets.kind, Kind::List(_)));
        let has_none = self.config.get("targets").is_none();
        (is_outermost && is_whole && has_none).then(|| format!("move the content of `{key}` one level up, in its place"))
    }

    /// The first of some values with which the problem is gone.
    fn value(&self, values: impl IntoIterator<Item = Value>, is_json: bool) -> Option<String> {
        // A problem about something that is missing is told at what it is missing in.
        if !self.place.is_exact() {
            return None;
        }
        let value = values.into_iter().take(MOST_GUESSES).find(|value| self.is_right(value))?;
        Some(did_you_mean(&if is_json { value.to_string() } else { flow(&value) }))
    }

    /// The first of some expressions with which the problem is gone.
    fn expression(&self) -> Option<String> {
        let text = self.place.value.text().filter(|_| self.place.is_exact())?;
        let guesses = expression::guesses(text);
        let right = guesses.into_iter().take(MOST_GUESSES).find(|guess| self.is_right(&Value::from(guess.text.as_str())));
        right.map(|guess| did_you_mean(&guess.expression))
    }

    /// True if the filter takes this value.
    fn is_right(&self, value: &Value) -> bool {
        let Some(new) = from_json(&value.to_string()) else { return false };
        let json = self.config.replaced(self.place.value, &new).to_json();
        problems(&json).iter().all(|problem| !is_at(&problem.path, &self.problem.path))
    }
}

const MOST_GUESSES: usize = 20;

/// Fields of what carries the configuration.
const OF_PLUGIN: [&str; 9] = [
    "fail_open",
    "failOpen",
    "failStrategy",
    "failure_policy",
    "vm_config",
    "vmConfig",
    "root_id",
    "pluginName",
    "capability_restriction_config",
];

/// Words of others for fields.
const ALIASES: [(&str, &str); 16] = [
    ("rules", "match"),
    ("filter", "match"),
    ("exclude", "except"),
    ("retries", "retry"),
    ("max_retries", "max_attempts"),
    ("attempts", "max_attempts"),
    ("upstream", "cluster"),
    ("destination", "cluster"),
    ("host", "authority"),
    ("uri", "path"),
    ("url", "path"),
    ("percentage", "percent"),
    ("ratio", "percent"),
    ("matches", "regex"),
    ("contains", "regex"),
    ("dlq", "dead_letter"),
];

/// True for a path that is this one, or leads further.
fn is_at(path: &str, place: &str) -> bool {
    place.is_empty() || path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// A value in YAML, on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{}: {}", plain(key), flow(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::String(text) => plain(text),
        other => other.to_string(),
    }
}

/// A text in YAML, in quotes if it would be something else without.
fn plain(text: &str) -> String {
    let is_plain = text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '/')
        && text.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '/' | '-' | '_' | '.'))
        && serde_saphyr::from_str::<Value>(text).is_ok_and(|value| value.is_string())
        && !["on", "off", "yes", "no", "y", "n"].iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_plain {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

impl Node {
    /// The tree with another value in place of one of its nodes.
    fn replaced(&self, old: &Self, new: &Self) -> Self {
        if std::ptr::eq(self, old) {
            return new.clone();
        }
        self.with(|member| Member { value: member.value.replaced(old, new), ..member.clone() }, |item| item.replaced(old, new))
    }

    /// The tree with another name for the key at this position.
    fn renamed(&self, key_at: usize, name: &str) -> Self {
        self.with(
            |member| {
                let key = if member.key_at == key_at { name.to_owned() } else { member.key.clone() };
                Member { key, key_at: member.key_at, value: member.value.renamed(key_at, name) }
            },
            |item| item.renamed(key_at, name),
        )
    }

    fn with(&self, of_member: impl Fn(&Member) -> Member, of_item: impl Fn(&Self) -> Self) -> Self {
        let kind = match &self.kind {
            Kind::Object(members) => Kind::Object(members.iter().map(of_member).collect()),
            Kind::List(items) => Kind::List(items.iter().map(of_item).collect()),
            other => other.clone(),
        };
        Self { span: self.span.clone(), kind }
    }
}
