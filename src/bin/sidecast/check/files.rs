//! Checks a file: finds its configurations and their problems.

use std::cell::OnceCell;
use std::path::Path;
use std::rc::Rc;

use serde_json::Value;
use sidecast::config::problem::{Mistake, Problem};

use super::find::{find, find_unknown, Carrier, Found, Inside, Missing, Origin, Part, Written};
use super::report::{Finding, Severity};
use super::text::Text;
use super::tree::{self, Member, Node};
use super::warn::Warning;
use super::{documents, fix, locate, warn, yaml};

const NONE: &str = "no Sidecast configuration found; expected a configuration by itself, or an Envoy, Istio or Envoy Gateway file with Sidecast's Wasm filter";

/// The result of checking a file.
pub(super) struct Checked {
    /// The findings, in the order of the file.
    pub(super) findings: Vec<Finding>,
    /// The number of configurations in the file.
    pub(super) configurations: usize,
    /// The finding that the file was read and contains no configuration.
    pub(super) none: Option<Finding>,
    /// The readable configurations.
    pub(super) loaded: Vec<Loaded>,
}

/// A readable configuration.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The text in the form in which it reaches the filter.
    pub(crate) text: String,
    /// Where it stands. `None` if it stands in no HTTP filter of Envoy.
    pub(crate) place: Option<Place>,
}

/// The place of a configuration in a document.
#[derive(Debug)]
pub(crate) struct Place {
    /// The document, as its reader understands it. A dump can hold many filters, which share it.
    pub(crate) document: Rc<Value>,
    /// The JSON pointer of the HTTP filter in it.
    pub(crate) filter: String,
    /// The routes behind the filter.
    pub(crate) routes: Option<Value>,
}

/// Finds the configurations in a file, and their problems.
pub(super) fn check(name: &str, bytes: &[u8]) -> Checked {
    let mut none = None;
    let mut checker = Checker { file: name, findings: Vec::new(), configurations: 0, loaded: Vec::new() };
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            let text = Rc::new(Text::of_file(text.to_owned()));
            match read(&text.text, name) {
                Ok(documents) => {
                    checker.documents(&documents, &text, Origin::File(name), 0);
                    let has_errors = checker.findings.iter().any(|finding| finding.severity == Severity::Error);
                    if checker.configurations == 0 && !has_errors {
                        none = Some(checker.problem(&text, 0, "", NONE, None));
                    }
                }
                Err(syntax) => checker.syntax(&text, syntax),
            }
        }
        Err(error) => {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let text = Rc::new(Text::of_file(String::from_utf8_lossy(before).into_owned()));
            checker.error(&text, error.valid_up_to(), "", "not UTF-8", None);
        }
    }
    let order =
        |finding: &Finding| (finding.line, finding.column, finding.severity, finding.path.clone(), finding.message.clone());
    checker.findings.sort_by_cached_key(order);
    // An alias can make one configuration appear in several places.
    checker.findings.dedup();
    Checked { findings: checker.findings, configurations: checker.configurations, none, loaded: checker.loaded }
}

/// The same for a file that was found in a directory. If it cannot be read and says nothing of Sidecast, or is a template of Helm, that is only noted.
pub(super) fn check_found(name: &str, bytes: &[u8]) -> Checked {
    let mut checked = check(name, bytes);
    let text = String::from_utf8_lossy(bytes);
    let is_ours = text.to_ascii_lowercase().contains("sidecast") || text.contains("targets") && text.contains("cluster");
    let is_readable = std::str::from_utf8(bytes).is_ok_and(|text| read(text, name).is_ok());
    let is_template = text.contains("{{");
    if !is_readable && (is_template || !is_ours) {
        let code = warn::Code::UnreadableFile;
        for finding in &mut checked.findings {
            finding.severity = code.severity();
            finding.code = Some(code.name());
        }
    }
    checked
}

/// Parses a text as JSON if its name says so, otherwise as JSON or YAML.
pub(crate) fn read(text: &str, name: &str) -> Result<Vec<Node>, (usize, String)> {
    let is_json = Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    match tree::from_json(text) {
        Some(document) => Ok(vec![document]),
        None if is_json => Err(not_json(text)),
        None => yaml::read(text).map_err(|(at, message)| (at, format!("not valid YAML: {message}"))),
    }
}

/// A document as its readers understand it: Envoy and all others. Each is made once, since a dump is large and can hold many filters.
#[derive(Debug, Default)]
struct AsRead {
    by_envoy: OnceCell<Rc<Value>>,
    by_others: OnceCell<Rc<Value>>,
}

/// The place of a configuration in a document.
fn place(document: &Node, as_read: &AsRead, carrier: &Carrier<'_>, is_yaml: bool, text: &str) -> Option<Place> {
    let filter = tree::pointer(document, carrier.filter?)?;
    let is_by_envoy = is_yaml && carrier.is_read_by_envoy();
    let value = |node: &Node| -> Value {
        let json = if is_by_envoy { yaml::as_envoy_reads(node, text).to_json() } else { node.to_json() };
        serde_json::from_str(&json).unwrap_or_default()
    };
    let cell = if is_by_envoy { &as_read.by_envoy } else { &as_read.by_others };
    let document = Rc::clone(cell.get_or_init(|| Rc::new(value(document))));
    Some(Place { document, filter, routes: carrier.routes.map(value) })
}

/// Why a text is not JSON, and the byte at which that shows.
fn not_json(text: &str) -> (usize, String) {
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => (0, "not valid JSON".to_owned()),
        Err(error) => {
            let message = error.to_string();
            let place = format!(" at line {} column {}", error.line(), error.column());
            let at = Text::of_file(text.to_owned()).place_of(error.line(), error.column());
            (at, format!("not valid JSON: {}", message.strip_suffix(&place).unwrap_or(&message)))
        }
    }
}

/// True for a text that is a problem if it cannot be read: nobody knows whether there is a configuration in it.
fn must_be_readable(origin: Origin<'_>, value: &str) -> bool {
    match origin {
        // A script may name Sidecast.
        Origin::File(name) => {
            let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
            value.contains("sidecast") && matches!(extension, None | Some("yaml" | "yml" | "json"))
        }
        Origin::Patch(_) => value.contains("sidecast") || value.contains("targets"),
        Origin::Text => false,
    }
}

/// False for a problem that a part of a configuration has for lack of the rest.
fn is_told_of(part: Part, problem: &Problem) -> bool {
    let is_missing = || problem.mistake.to_string() == MISSING;
    match part {
        Part::Whole => true,
        Part::Patch => problem.path != "targets" || !is_missing(),
        Part::Target => !problem.path.ends_with(".after.target") && !problem.mistake.to_string().contains("${target:"),
    }
}

const MISSING: &str = "missing, but required";
/// Texts in texts: a file in a ConfigMap that a patch of kustomize changes, or that is in a ConfigMap itself. What lies deeper is nobody's.
const DEEPEST: usize = 2;
/// Each hint is tried on the whole configuration.
const MOST_HINTS: usize = 50;

struct Checker<'f> {
    file: &'f str,
    findings: Vec<Finding>,
    configurations: usize,
    loaded: Vec<Loaded>,
}

impl Checker<'_> {
    fn documents(&mut self, documents: &[Node], text: &Rc<Text>, origin: Origin<'_>, depth: usize) {
        let is_yaml = tree::from_json(&text.text).is_none();
        let around = warn::Around::of(documents);
        for document in documents {
            let mut found = find(document, origin);
            let as_read = AsRead::default();
            for configuration in &found.configurations {
                self.configurations += 1;
                let place = place(document, &as_read, &configuration.carrier, is_yaml, &text.text);
                self.configuration(configuration, place, text, is_yaml, &around);
            }
            let unknown = find_unknown(document, &mut found);
            self.warnings(text, unknown.iter().map(warn::of_unknown).collect());
            if depth < DEEPEST {
                found.texts.iter().for_each(|inside| self.text_inside(inside, text, depth + 1));
            }
        }
    }

    /// Checks a text inside a document. Most of them are unrelated.
    fn text_inside(&mut self, inside: &Inside<'_>, text: &Rc<Text>, depth: usize) {
        let Some(value) = inside.text.text() else { return };
        let inner = Rc::new(Text::of_scalar(text, &inside.text.span, value));
        let name = if let Origin::File(name) = inside.origin { name } else { "" };
        match read(value, name) {
            Ok(documents) => self.documents(&documents, &inner, inside.origin, depth),
            Err(syntax) if must_be_readable(inside.origin, value) => self.syntax(&inner, syntax),
            Err(_) => {}
        }
    }

    fn configuration(
        &mut self,
        found: &Found<'_>,
        place: Option<Place>,
        text: &Rc<Text>,
        is_yaml: bool,
        around: &warn::Around<'_>,
    ) {
        let before = self.findings.len();
        match &found.written {
            Written::Tree(config) => {
                let config: &Node = config;
                let read;
                let config = if is_yaml && found.carrier.is_read_by_envoy() {
                    read = yaml::as_envoy_reads(config, &text.text);
                    &read
                } else {
                    config
                };
                let json = config.to_json();
                self.problems(config, &json, text, found.part);
                self.loaded.push(Loaded { text: json, place });
                self.warnings(text, warn::of_configuration(config, &text.text, &found.carrier, around));
                self.warnings(text, warn::of_carrier(Some(config), &found.carrier));
            }
            Written::Text(scalar) => {
                let value = scalar.text().unwrap_or_default();
                let inner = Rc::new(Text::of_scalar(text, &scalar.span, value));
                let config = tree::from_json(value);
                match &config {
                    Some(config) => {
                        self.problems(config, value, &inner, found.part);
                        self.warnings(&inner, warn::of_configuration(config, value, &found.carrier, around));
                    }
                    None => self.not_json_inside(value, &inner),
                }
                self.warnings(text, warn::of_carrier(config.as_ref(), &found.carrier));
                self.loaded.push(Loaded { text: value.to_owned(), place });
            }
            Written::Empty(field) => {
                self.empty(field, text);
                self.warnings(text, warn::of_carrier(None, &found.carrier));
            }
            Written::Not(Missing { at, message, hint }) => {
                self.error(text, *at, "", message, hint.clone());
                self.warnings(text, warn::of_carrier(None, &found.carrier));
            }
        }
        // A user who has to fix errors does not need notes.
        let own = self.findings.split_off(before);
        let has_errors = own.iter().any(|finding| finding.severity == Severity::Error);
        self.findings.extend(own.into_iter().filter(|finding| !has_errors || finding.severity != Severity::Note));
    }

    fn empty(&mut self, field: &Member, text: &Rc<Text>) {
        let key = &field.key;
        // A user who writes a null means it.
        let is_left_out = text.text.get(field.value.span.clone()).is_some_and(|written| written.trim().is_empty());
        let message = if is_left_out { format!("`{key}` is empty") } else { format!("`{key}` is null, not a configuration") };
        let hint = is_left_out.then(|| "is its content indented too little?".to_owned());
        self.error(text, field.key_at, "", &message, hint);
    }

    fn not_json_inside(&mut self, value: &str, text: &Rc<Text>) {
        let (at, message) = not_json(value);
        let is_yaml = documents(value).is_ok_and(|documents| documents.iter().any(|document| !document.members().is_empty()));
        let hint = is_yaml.then(|| "a StringValue holds JSON; to write YAML, use a google.protobuf.Struct".to_owned());
        self.error(text, at, "", &message, hint);
    }

    /// Adds the problems that the filter would report. The values of variables are unknown here.
    fn problems(&mut self, config: &Node, json: &str, text: &Rc<Text>, part: Part) {
        let problems = fix::problems(json);
        let is_json = tree::from_json(&text.text).is_some();
        for (index, problem) in problems.iter().enumerate().filter(|(_, problem)| is_told_of(part, problem)) {
            let place = locate::locate(config, &problem.path);
            let is_about_key = matches!(problem.mistake, Mistake::UnknownField { .. } | Mistake::Repeated);
            let hint = (index < MOST_HINTS).then(|| fix::hint(problem, &place, config, is_json)).flatten();
            self.error(text, place.at(is_about_key), &problem.path, &problem.mistake.to_string(), hint);
        }
    }

    fn syntax(&mut self, text: &Rc<Text>, (at, message): (usize, String)) {
        // A template is not valid YAML before it is rendered.
        let line = text.text.get(..at).map_or(0, |before| before.matches('\n').count());
        let is_template = text.text.lines().nth(line).is_some_and(|line| line.contains("{{"));
        let hint = is_template.then(|| "a Helm template? Check the output of `helm template` instead".to_owned());
        self.error(text, at, "", &message, hint);
    }

    fn error(&mut self, text: &Rc<Text>, at: usize, path: &str, message: &str, hint: Option<String>) {
        let problem = self.problem(text, at, path, message, hint);
        self.findings.push(problem);
    }

    fn problem(&self, text: &Rc<Text>, at: usize, path: &str, message: &str, hint: Option<String>) -> Finding {
        let position = text.position(at);
        Finding {
            file: self.file.to_owned(),
            line: position.line,
            column: position.column,
            severity: Severity::Error,
            code: None,
            path: path.to_owned(),
            message: message.to_owned(),
            hint,
        }
    }

    fn warnings(&mut self, text: &Rc<Text>, warnings: Vec<Warning>) {
        for Warning { at, code, path, message, hint } in warnings {
            let position = text.position(at);
            self.findings.push(Finding {
                file: self.file.to_owned(),
                line: position.line,
                column: position.column,
                severity: code.severity(),
                code: Some(code.name()),
                path,
                message,
                hint,
            });
        }
    }
}
