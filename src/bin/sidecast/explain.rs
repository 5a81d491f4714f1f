//! `sidecast explain`: runs the filter's engine to tell what happens to a request.

use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};

use self::request::{of_target, pair, Answer, Body, Line};
use crate::check::load;

#[path = "explain/afterwards.rs"]
mod afterwards;
#[path = "explain/chain.rs"]
mod chain;
#[path = "explain/key.rs"]
mod key;
#[path = "explain/made.rs"]
mod made;
#[path = "explain/print.rs"]
mod print;
#[path = "explain/recorder.rs"]
mod recorder;
#[path = "explain/request.rs"]
mod request;
#[path = "explain/rules.rs"]
mod rules;
#[path = "explain/shown.rs"]
mod shown;
#[path = "explain/verdict.rs"]
mod verdict;

const EXAMPLES: &str = "Examples:
  sidecast explain envoy.yaml --request 'GET /orders/7'
  sidecast explain envoy.yaml --request 'POST /orders' -H 'content-type: application/json' -d @order.json
  sidecast explain envoy.yaml --request 'POST /orders' -d '{}' --answer 201 --answer-of payment=402";

/// Show what happens to one request: which targets get a copy, what each receives, and what follows if it fails
///
/// The filter's own engine runs, so `explain` decides as the filter does. For a target that gets no copy, it names the rule that did not match.
///
/// What is only known in Envoy is shown as a placeholder: `${env:NAME}` for environment variables, `${property:PATH}` for properties of Envoy (`true`
/// for flags), and `${target:NAME:...}` for values of a response that you do not give. IDs and times are made up. Like Envoy, `explain` adds
/// `x-request-id` and `x-forwarded-proto` if the request has none. Give the headers that filters before Sidecast add. The headers that Envoy adds when
/// it sends a copy (`content-length`, `x-envoy-*`) are not shown.
///
/// Exit status: 0 explained, 1 the configuration has problems, 2 a file cannot be read or an argument is invalid.
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// A file with a configuration: by itself, or in an Envoy or Kubernetes file; `-` reads standard input
    file: PathBuf,
    /// The method and path of the request, such as 'POST /orders?x=1'
    #[arg(long, value_name = "LINE")]
    request: Line,
    /// A header of the request, such as 'x-user-id: alice'; can be repeated
    #[arg(long = "header", short = 'H', value_name = "HEADER", value_parser = pair)]
    headers: Vec<(String, String)>,
    /// The body of the request: text, or @FILE; @- reads standard input
    #[arg(long, short = 'd', visible_alias = "data", value_name = "BODY", default_value = "")]
    body: Body,
    /// The host that the request is for (`host` or `:authority`)
    #[arg(long, value_name = "HOST", default_value = "localhost")]
    authority: String,
    /// The status of the primary's response, for targets with `after: response`
    #[arg(long, value_name = "STATUS")]
    answer: Option<Answer>,
    /// A header of the primary's response; can be repeated
    #[arg(long = "answer-header", value_name = "HEADER", value_parser = pair, requires = "answer")]
    answer_headers: Vec<(String, String)>,
    /// The body of the primary's response: text, or @FILE; @- reads standard input
    #[arg(long = "answer-body", value_name = "BODY", requires = "answer", default_value = "")]
    answer_body: Body,
    /// The status with which a target responds to its copy, such as 'payment=201', for the targets that follow it
    #[arg(long = "answer-of", value_name = "TARGET=STATUS", value_parser = |text: &str| of_target(text, Answer::from_str))]
    answers_of: Vec<(String, Answer)>,
    /// A header of a target's response, such as 'payment=x-id: 7'
    #[arg(long = "answer-of-header", value_name = "TARGET=HEADER", value_parser = |text: &str| of_target(text, pair))]
    answer_headers_of: Vec<(String, (String, String))>,
    /// The body of a target's response, such as 'payment={"id": 7}' or 'payment=@FILE'
    #[arg(long = "answer-of-body", value_name = "TARGET=BODY", value_parser = |text: &str| of_target(text, Body::parsed))]
    answer_bodies_of: Vec<(String, Body)>,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    /// Text for people
    #[default]
    #[value(alias = "plain")]
    Text,
    /// JSON for programs: a list with one entry for each configuration in the file
    Json,
}

/// Explains a request. Returns the exit status.
pub(crate) fn run(arguments: &Arguments) -> u8 {
    let body = match arguments.body.read() {
        Ok(body) => body,
        Err(error) => return fail(2, "--body", [error]),
    };
    let answer_body = match arguments.answer_body.read() {
        Ok(body) => body,
        Err(error) => return fail(2, "--answer-body", [error]),
    };
    let asked = match arguments.asked(&body, &answer_body) {
        Ok(asked) => asked,
        Err(error) => return fail(2, "--answer-of", [error]),
    };
    let loaded = match load(&arguments.file) {
        Ok(loaded) => loaded,
        Err(error) => return fail(2, arguments.file.display(), [error]),
    };
    let mut explained = Vec::new();
    for configuration in &loaded {
        match verdict::explain(&configuration.text, &asked) {
            Ok(explanation) => explained.push(explanation),
            Err(problems) => return fail(1, arguments.file.display(), problems),
        }
    }
    let is_known = |name: &str| explained.iter().any(|explanation| explanation.may_have(name));
    if let Some(name) = asked.of_leaders.keys().find(|name| !is_known(name)) {
        return fail(2, "--answer-of", [format!("no target is named {name}")]);
    }
    let text = match arguments.format {
        Format::Text => explained.iter().map(print::plain).collect::<Vec<_>>().join("\n"),
        Format::Json => format!("{:#}\n", serde_json::json!(explained)),
    };
    // Removes the colours if the output is not a terminal.
    match anstream::stdout().write_all(text.as_bytes()) {
        Ok(()) => 0,
        Err(_) => 2,
    }
}

fn fail<P: Display>(status: u8, place: impl Display, problems: impl IntoIterator<Item = P>) -> u8 {
    for problem in problems {
        eprintln!("{place}: {problem}");
    }
    status
}
