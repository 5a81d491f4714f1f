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

/// Says which targets would get a copy of a request, why the others would not, and what each would receive.
///
/// Ids and times are made up. Environment variables and properties of Envoy stand as `${env:NAME}` and `${property:PATH}`, flags among the latter as
/// `true`. As Envoy does, `x-request-id` and `x-forwarded-proto` are added to the request if it has none; what else filters before Sidecast add is to
/// be given. What Envoy adds when it sends (`content-length`, `x-envoy-*`) is not shown. Headers that are given and do not reach a target are told by
/// their names.
///
/// Of a target that follows another, it says what has to become of the other's copy. Values of an answer that is not given stand as
/// `${target:NAME:...}`.
///
/// Exit status: 0 explained, 1 the configuration has problems, 2 something cannot be read.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// A file with the filter's configuration, as `check` finds it; `-` is the standard input.
    file: PathBuf,
    /// Method and path, such as 'POST /orders?x=1'.
    #[arg(long, value_name = "LINE")]
    request: Line,
    /// A header of the request, such as 'x-user-id: alice'.
    #[arg(long = "header", short = 'H', value_name = "HEADER", value_parser = pair)]
    headers: Vec<(String, String)>,
    /// The body of the request: text, or @ and a file's name; @- is the standard input.
    #[arg(long, short = 'd', visible_alias = "data", value_name = "BODY", default_value = "")]
    body: Body,
    /// The authority of the request.
    #[arg(long, value_name = "HOST", default_value = "localhost")]
    authority: String,
    /// The status of the primary's response, for targets that wait for it.
    #[arg(long, value_name = "STATUS")]
    answer: Option<Answer>,
    /// A header of the primary's response.
    #[arg(long = "answer-header", value_name = "HEADER", value_parser = pair, requires = "answer")]
    answer_headers: Vec<(String, String)>,
    /// The body of the primary's response: text, or @ and a file's name; @- is the standard input.
    #[arg(long = "answer-body", value_name = "BODY", requires = "answer", default_value = "")]
    answer_body: Body,
    /// The status with which a target answers its copy, such as 'payment=201', for targets that follow it.
    #[arg(long = "answer-of", value_name = "TARGET=STATUS", value_parser = |text: &str| of_target(text, Answer::from_str))]
    answers_of: Vec<(String, Answer)>,
    /// A header of a target's answer, such as 'payment=x-id: 7'.
    #[arg(long = "answer-of-header", value_name = "TARGET=HEADER", value_parser = |text: &str| of_target(text, pair))]
    answer_headers_of: Vec<(String, (String, String))>,
    /// The body of a target's answer: text, or @ and a file's name.
    #[arg(long = "answer-of-body", value_name = "TARGET=BODY", value_parser = |text: &str| of_target(text, Body::parsed))]
    answer_bodies_of: Vec<(String, Body)>,
    /// How it is told.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Plain,
    /// For programs: a list, one entry for each configuration in the file.
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
        return fail(2, "--answer-of", [format!("there is no target {name}")]);
    }
    let text = match arguments.format {
        Format::Plain => explained.iter().map(print::plain).collect::<Vec<_>>().join("\n"),
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
