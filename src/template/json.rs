//! JSON with expressions in its strings.

use super::values::write_json;
use super::{Env, Part, Place, Template, Values};

/// Any JSON, whose strings may hold expressions; keys are as they stand. A string that is one expression and nothing else keeps
/// the type of its value, an absent one being null; an expression inside text is written as text. Built from its beginning to
/// its end; whoever builds it sees to it that it is JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonTemplate {
    pieces: Vec<Piece>,
}

/// A piece of the JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// JSON as it stands.
    Json(String),
    /// A string with expressions.
    String(Template),
}

impl JsonTemplate {
    /// Adds JSON, or some part of it such as a bracket.
    pub fn push_json(&mut self, json: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Json(before)) => before.push_str(json),
            _ => self.pieces.push(Piece::Json(json.to_owned())),
        }
    }

    /// Adds a string without expressions.
    pub fn push_text(&mut self, text: &str) {
        // Text always serializes.
        self.push_json(&serde_json::to_string(text).unwrap_or_default());
    }

    /// Adds a string.
    pub fn push_template(&mut self, template: Template) {
        match template.parts.as_slice() {
            [] => self.push_text(""),
            [Part::Literal(text)] => self.push_text(text),
            _ => self.pieces.push(Piece::String(template)),
        }
    }

    /// The strings with expressions.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::String(template) => Some(template),
            Piece::Json(_) => None,
        })
    }

    /// Reads the environment variables, as [`Template::resolve_env`] does.
    pub fn resolve_env(&mut self, env: Env<'_>) {
        for piece in &mut self.pieces {
            if let Piece::String(template) = piece {
                template.resolve_env(env);
            }
        }
    }

    /// The JSON for these values, without white space between its tokens.
    pub fn json(&self, values: &Values<'_>) -> Vec<u8> {
        let mut json = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Json(text) => json.extend_from_slice(text.as_bytes()),
                Piece::String(template) => match template.single() {
                    Some(expression) => values.get(expression).write_json(&mut json),
                    None => write_json(&mut json, &template.text(values, Place::Text)),
                },
            }
        }
        json
    }
}
