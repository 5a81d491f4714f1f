//! How findings are told.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

/// Something to tell about a configuration.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// `-` is the standard input.
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) severity: Severity,
    /// Warnings and notes have one.
    pub(super) code: Option<String>,
    /// Where in the configuration; empty for the whole.
    pub(super) path: String,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// The filter would refuse it.
    Error,
    /// Legal, but unwise.
    Warning,
    /// Something to know.
    Note,
}

/// The forms of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// A line for each finding: `FILE:LINE:COLUMN: severity: PATH: MESSAGE [CODE]`, and a hint below it
    Text,
    /// A JSON object on a line for each finding, with `file`, `line`, `column`, `severity`, `code`, `path`, `message`, `hint`
    Json,
}

impl Finding {
    /// Writes it; styles are taken out by a writer that shows none.
    pub(super) fn write(&self, format: Format, out: &mut impl Write) -> io::Result<()> {
        if format == Format::Json {
            serde_json::to_writer(&mut *out, self)?;
            return writeln!(out);
        }
        let (word, color) = match self.severity {
            Severity::Error => ("error", AnsiColor::Red),
            Severity::Warning => ("warning", AnsiColor::Yellow),
            Severity::Note => ("note", AnsiColor::Cyan),
        };
        let (bold, style) = (Style::new().bold(), color.on_default().bold());
        write!(out, "{bold}{}:{}:{}:{bold:#} {style}{word}:{style:#} ", visible(&self.file), self.line, self.column)?;
        if !self.path.is_empty() {
            write!(out, "{bold}{}:{bold:#} ", visible(&self.path))?;
        }
        write!(out, "{}", visible(&self.message))?;
        if let Some(code) = &self.code {
            write!(out, " {style}[{code}]{style:#}")?;
        }
        writeln!(out)?;
        match &self.hint {
            Some(hint) => writeln!(out, "  {}", visible(hint)),
            None => Ok(()),
        }
    }
}

/// Text on one line, without what a terminal would obey.
fn visible(text: &str) -> String {
    let visible = text.chars().map(|char| match char {
        '\n' => ' ',
        char if char.is_control() => char::REPLACEMENT_CHARACTER,
        char => char,
    });
    visible.collect()
}
