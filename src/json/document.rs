//! A JSON body, and the positions of the values in it.

use std::borrow::Cow;
use std::cell::OnceCell;

use super::{Index, Node, Pointer, PointerSet, Unread};
use crate::http::work_limit::Work;

/// A text body, and what was found in it.
#[derive(Debug)]
pub struct Document<'a> {
    text: Cow<'a, str>,
    index: OnceCell<Result<Index, Unread>>,
    /// The positions of the values of all pointers, by the number of the pointer. They are found in one pass.
    found: OnceCell<Vec<Option<u32>>>,
}

impl<'a> Document<'a> {
    /// Creates a document of which nothing is parsed yet.
    pub fn new(text: Cow<'a, str>) -> Self {
        Self { text, index: OnceCell::new(), found: OnceCell::new() }
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The root value. Parses the text on first use.
    ///
    /// # Errors
    /// Returns an error if the text is not JSON, or takes too much work.
    pub fn root(&self, work: &Work) -> Result<Node<'_>, Unread> {
        let index = self.index.get_or_init(|| super::read(&self.text, work)).as_ref().map_err(|unread| *unread)?;
        Ok(index.root(&self.text))
    }
}

/// A body to look up values in.
#[derive(Clone, Copy, Debug)]
pub struct Read<'a> {
    document: &'a Document<'a>,
    pointers: &'a PointerSet,
    work: &'a Work,
}

impl<'a> Read<'a> {
    /// Combines a document with the pointers that are found in it together, and a counter of work.
    pub fn new(document: &'a Document<'a>, pointers: &'a PointerSet, work: &'a Work) -> Self {
        Self { document, pointers, work }
    }

    /// The root value.
    ///
    /// # Errors
    /// Returns an error if the body is not JSON, or takes too much work.
    pub fn root(&self) -> Result<Node<'a>, Unread> {
        self.document.root(self.work)
    }

    /// The body without white space between its tokens, and so on one line. It does not build an index.
    ///
    /// # Errors
    /// Returns an error if the body is not JSON, or takes too much work.
    pub fn compact(&self) -> Result<Cow<'a, [u8]>, Unread> {
        let text = &self.document.text;
        self.work.spend(text.len().saturating_mul(2))?;
        Ok(super::compact(text.as_bytes())?)
    }

    /// The value at a pointer. `None` if there is no such value.
    ///
    /// # Errors
    /// Returns an error if the body is not JSON, or takes too much work.
    pub fn at(&self, pointer: &Pointer) -> Result<Option<Node<'a>>, Unread> {
        let root = self.root()?;
        let Some(number) = self.pointers.number(&pointer.0) else {
            // A pointer that is not in the set is looked up alone.
            self.work.spend(root.cost())?;
            return Ok(root.at(&pointer.0));
        };
        let found = self.document.found.get_or_init(|| self.pointers.find(root, self.work));
        self.work.spend(0)?;
        let place = found.get(number).copied().flatten();
        let index = self.document.index.get().and_then(|index| index.as_ref().ok());
        Ok(place.and_then(|place| index?.node(&self.document.text, place)))
    }
}

/// A body as expressions see it.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// Bytes that are not parsed.
    Raw(&'a [u8]),
    /// JSON.
    Read(Read<'a>),
}

impl<'a> Body<'a> {
    /// The whole body.
    pub fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Raw(bytes) => bytes,
            Self::Read(read) => read.document.text.as_bytes(),
        }
    }

    /// The root value. `None` if the body cannot be read.
    pub fn root(&self) -> Option<Node<'a>> {
        match self {
            Self::Raw(_) => None,
            Self::Read(read) => read.root().ok(),
        }
    }

    /// The value at a pointer. `None` if there is no such value, or the body cannot be read.
    pub fn at(&self, pointer: &Pointer) -> Option<Node<'a>> {
        match self {
            Self::Raw(_) => None,
            Self::Read(read) => read.at(pointer).ok().flatten(),
        }
    }
}
