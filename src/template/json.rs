//! JSON with expressions in its strings.

use super::values::write_json;
use super::{Env, Part, Place, Template, Values};

/// Any JSON whose strings may contain expressions. Keys may not. If a string is a single expression, its value keeps its type, and an absent value
/// is null. An expression inside other text becomes text. A template is built piece by piece from its beginning to its end. The builder must make
/// sure that the result is JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonTemplate {
    pieces: Vec<Piece>,
}

/// A piece of the JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// Literal JSON.
    Json(String),
    /// A string with expressions.
    String(Template),
}

impl JsonTemplate {
    /// Adds JSON, or a part of it such as a bracket.
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

    /// Adds a string that may contain expressions.
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

    /// Fills in the environment variables, like [`Template::resolve_env`].
    pub fn resolve_env(&mut self, env: Env<'_>) {
        for piece in &mut self.pieces {
            if let Piece::String(template) = piece {
                template.resolve_env(env);
            }
        }
    }

    /// Renders the JSON for these values, without white space between its tokens.
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
