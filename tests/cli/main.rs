//! The command-line tool: the schema of configurations, the reference made of it, and what it explains.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

// Not all of what they can do is of use here.
#[allow(dead_code)]
#[path = "../fuzz/choices.rs"]
mod choices;
#[path = "../fuzz/documents.rs"]
mod documents;

mod completions;
mod explain;
mod found;
mod reference;
mod schema;
mod schema_rules;
mod tool;
