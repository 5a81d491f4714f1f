//! What the user is told about a conversion, with its place in the source.

use std::rc::Rc;

use serde::{Serialize, Serializer};

use crate::check::text::Text;
use crate::check::tree::Node;
use crate::check::visible;

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Origin {
    #[serde(serialize_with = "text")]
    pub(super) file: Rc<str>,
    pub(super) line: usize,
    pub(super) column: usize,
}

fn text<S: Serializer>(text: &Rc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

/// A text that is read, and its name.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) file: Rc<str>,
    pub(super) text: Rc<Text>,
}

impl Source {
    pub(super) fn origin(&self, node: &Node) -> Origin {
        let position = self.text.position(node.span.start);
        Origin { file: Rc::clone(&self.file), line: position.line, column: position.column }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// What the filter does is not what the source says.
    Remark,
    /// Something to do or to know.
    Note,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Remark {
    #[serde(flatten)]
    pub(super) origin: Origin,
    pub(super) kind: Kind,
    pub(super) message: String,
}

/// All that is told.
#[derive(Debug, Default)]
pub(super) struct Remarks {
    pub(super) all: Vec<Remark>,
}

impl Remarks {
    pub(super) fn remark(&mut self, origin: &Origin, message: impl Into<String>) {
        self.add(origin, Kind::Remark, message.into());
    }

    pub(super) fn note(&mut self, origin: &Origin, message: impl Into<String>) {
        self.add(origin, Kind::Note, message.into());
    }

    fn add(&mut self, origin: &Origin, kind: Kind, message: String) {
        let remark = Remark { origin: origin.clone(), kind, message };
        if !self.all.contains(&remark) {
            self.all.push(remark);
        }
    }

    pub(super) fn is_exact(&self) -> bool {
        self.all.iter().all(|remark| remark.kind == Kind::Note)
    }
}

impl Remark {
    /// The remark on one line, as compilers have it.
    pub(super) fn line(&self) -> String {
        let Origin { file, line, column } = &self.origin;
        let kind = match self.kind {
            Kind::Remark => "remark",
            Kind::Note => "note",
        };
        visible(&format!("{file}:{line}:{column}: {kind}: {}", self.message))
    }
}
