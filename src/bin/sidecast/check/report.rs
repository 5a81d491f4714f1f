//! The output of findings.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

/// A problem, warning or note about a configuration.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// The name of the file; `-` is the standard input.
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) severity: Severity,
    /// The code of a warning or note. `None` for errors.
    pub(super) code: Option<String>,
    /// The path in the configuration. Empty for the whole configuration.
    pub(super) path: String,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// The filter would refuse the configuration.
    Error,
    /// The configuration is legal, but unwise.
    Warning,
    /// Information.
    Note,
}

/// The forms of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people: `FILE:LINE:COLUMN: severity: PATH: MESSAGE [CODE]`, and a hint on the next line
    Text,
    /// For programs: one JSON object per line with `file`, `line`, `column`, `severity`, `code`, `path`, `message`, `hint`
    Json,
}

impl Finding {
    /// An error about a whole file or directory.
    pub(super) fn error(file: &str, message: &str) -> Self {
        let (path, severity) = (String::new(), Severity::Error);
        Self { file: file.to_owned(), line: 1, column: 1, severity, code: None, path, message: message.to_owned(), hint: None }
    }

    /// Writes the finding. The writer removes the styles if it does not show them.
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

/// The text on one line, without control characters that a terminal would obey.
pub(crate) fn visible(text: &str) -> String {
    let visible = text.chars().map(|char| match char {
        '\n' => ' ',
        char if char.is_control() => char::REPLACEMENT_CHARACTER,
        char => char,
    });
    visible.collect()
}
