//! A JSON body, and where the values in it are.

use std::borrow::Cow;
use std::cell::OnceCell;

use super::{Index, Node, Pointer, PointerSet, Unread};
use crate::http::work::Work;

/// A body that is text, and what was found in it.
#[derive(Debug)]
pub struct Document<'a> {
    text: Cow<'a, str>,
    index: OnceCell<Result<Index, Unread>>,
    /// Where the values of all pointers are, by the number of the pointer; found in one pass.
    found: OnceCell<Vec<Option<u32>>>,
}

impl<'a> Document<'a> {
    /// A text of which nothing was read yet.
    pub fn new(text: Cow<'a, str>) -> Self {
        Self { text, index: OnceCell::new(), found: OnceCell::new() }
    }

    /// All of it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The value that it is.
    ///
    /// # Errors
    /// It is no JSON, or takes too much work to read.
    pub fn root(&self, work: &Work) -> Result<Node<'_>, Unread> {
        let index = self.index.get_or_init(|| super::read(&self.text, work)).as_ref().map_err(|unread| *unread)?;
        Ok(index.root(&self.text))
    }
}

/// A body that can be looked into.
#[derive(Clone, Copy, Debug)]
pub struct Read<'a> {
    document: &'a Document<'a>,
    pointers: &'a PointerSet,
    work: &'a Work,
}

impl<'a> Read<'a> {
    /// A document, the pointers that are found in it together, and what counts the work.
    pub fn new(document: &'a Document<'a>, pointers: &'a PointerSet, work: &'a Work) -> Self {
        Self { document, pointers, work }
    }

    /// The value that it is.
    ///
    /// # Errors
    /// It is no JSON, or takes too much work to read.
    pub fn root(&self) -> Result<Node<'a>, Unread> {
        self.document.root(self.work)
    }

    /// All of it without white space between its tokens, hence on one line; for who does not look into it.
    ///
    /// # Errors
    /// It is no JSON, or takes too much work to read.
    pub fn compact(&self) -> Result<Cow<'a, [u8]>, Unread> {
        let text = &self.document.text;
        self.work.spend(text.len().saturating_mul(2))?;
        Ok(super::compact(text.as_bytes())?)
    }

    /// The value at a pointer; none if there is none.
    ///
    /// # Errors
    /// The body is no JSON, or takes too much work to read.
    pub fn at(&self, pointer: &Pointer) -> Result<Option<Node<'a>>, Unread> {
        let root = self.root()?;
        let Some(number) = self.pointers.number(&pointer.0) else {
            // A pointer that nobody announced is found by itself.
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
    /// Bytes that nobody looks into.
    Raw(&'a [u8]),
    /// JSON.
    Read(Read<'a>),
}

impl<'a> Body<'a> {
    /// All of it.
    pub fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Raw(bytes) => bytes,
            Self::Read(read) => read.document.text.as_bytes(),
        }
    }

    /// The value that it is; none if it cannot be read.
    pub fn root(&self) -> Option<Node<'a>> {
        match self {
            Self::Raw(_) => None,
            Self::Read(read) => read.root().ok(),
        }
    }

    /// The value at a pointer; none if there is none, or the body cannot be read.
    pub fn at(&self, pointer: &Pointer) -> Option<Node<'a>> {
        match self {
            Self::Raw(_) => None,
            Self::Read(read) => read.at(pointer).ok().flatten(),
        }
    }
}
