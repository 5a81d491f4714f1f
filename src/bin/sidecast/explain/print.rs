//! Prints an explanation for people.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};

use super::shown::Shown;
use super::verdict::{Explanation, OfTarget, Verdict};

/// Renders an explanation with colours. The output stream removes them if it is not a terminal.
pub(super) fn plain(explanation: &Explanation) -> String {
    let mut text = String::new();
    if let Some(why) = explanation.left_alone {
        // Writing to a string never fails.
        writeln!(text, "no target gets a copy: {why}").unwrap_or_default();
    }
    for (index, told) in explanation.targets.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        target(&mut text, told);
    }
    text
}

fn target(text: &mut String, told: &OfTarget) {
    let follows = format!("gets a copy after {}", told.after.as_deref().unwrap_or_default());
    let (colour, verdict) = match told.verdict {
        Verdict::Copy => (AnsiColor::Green, "gets a copy"),
        Verdict::ByChance => (AnsiColor::Yellow, "may get a copy"),
        Verdict::Waits => (AnsiColor::Yellow, "waits for the response"),
        Verdict::Follows => (AnsiColor::Yellow, follows.as_str()),
        Verdict::None => (AnsiColor::Red, "gets no copy"),
    };
    let (bold, style) = (Style::new().bold(), colour.on_default());
    let counts = told.counts.as_ref().map_or_else(String::new, |counts| format!(" (counts {counts})"));
    writeln!(text, "{bold}{}{bold:#}, cluster {}: {style}{verdict}{style:#}{counts}", told.target, told.cluster)
        .unwrap_or_default();
    for because in &told.because {
        writeln!(text, "  {because}").unwrap_or_default();
    }
    for afterwards in &told.afterwards {
        writeln!(text, "  {afterwards}").unwrap_or_default();
    }
    if let Some(shown) = &told.request {
        if !shown.left_out.is_empty() {
            writeln!(text, "  left out: {}", shown.left_out.join(", ")).unwrap_or_default();
        }
        request(text, shown);
    }
}

fn request(text: &mut String, shown: &Shown) {
    let dim = Style::new().dimmed();
    writeln!(text, "\n    {} {}", shown.method, shown.path).unwrap_or_default();
    let host = ("host".to_owned(), shown.authority.clone());
    for (name, value) in [&host].into_iter().chain(&shown.headers) {
        writeln!(text, "    {dim}{name}:{dim:#} {value}").unwrap_or_default();
    }
    match &shown.body {
        Some(body) if body.is_empty() => {}
        Some(body) => {
            text.push('\n');
            body.lines().for_each(|line| writeln!(text, "    {line}").unwrap_or_default());
        }
        None => writeln!(text, "\n    ({} bytes, not text)", shown.size).unwrap_or_default(),
    }
}
