//! The request to explain, and the primary's response, as the filter would see them.

use std::collections::BTreeMap;
use std::io::Read;
use std::str::FromStr;

use sidecast::config::Config;
use sidecast::http::headers::{HeaderMap, Pairs};
use sidecast::http::request_head::RequestHead;
use sidecast::rewrite::capture::{CapturedHead, Needs};
use sidecast::template::{self, Answerer};

use super::made::REQUEST_ID;
use super::Arguments;

/// The request line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) method: String,
    pub(super) path: String,
}

impl FromStr for Line {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_ascii_whitespace().collect::<Vec<_>>().as_slice() {
            [method, path] if path.starts_with('/') => Ok(Self { method: (*method).to_owned(), path: (*path).to_owned() }),
            _ => Err("expected a method and a path, such as 'POST /orders?x=1'".to_owned()),
        }
    }
}

/// The source of a body.
#[derive(Clone, Debug)]
pub(super) enum Body {
    Text(String),
    File(String),
}

impl FromStr for Body {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.strip_prefix('@').map_or_else(|| Self::Text(text.to_owned()), |file| Self::File(file.to_owned())))
    }
}

impl Body {
    pub(super) fn parsed(text: &str) -> Result<Self, String> {
        Self::from_str(text).map_err(|never| match never {})
    }

    pub(super) fn read(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::Text(text) => Ok(text.clone().into_bytes()),
            Self::File(name) if name == "-" => {
                let mut body = Vec::new();
                std::io::stdin().read_to_end(&mut body).map_err(|error| error.to_string())?;
                Ok(body)
            }
            Self::File(name) => std::fs::read(name).map_err(|error| format!("{name}: {error}")),
        }
    }
}

/// The status of a response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer(pub(super) u16);

impl FromStr for Answer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let status = text.parse().ok().filter(|status| (100..=599).contains(status));
        status.map(Self).ok_or_else(|| "expected a status such as 201".to_owned())
    }
}

/// Parses what is given of a target on the command line.
pub(super) fn of_target<T>(text: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<(String, T), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), read(value)?)),
        _ => Err("expected TARGET=VALUE".to_owned()),
    }
}

/// The answer of a target to its copy.
#[derive(Debug)]
pub(super) struct OfLeader {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    /// The body. `None` if it is not given.
    pub(super) body: Option<Vec<u8>>,
}

/// Parses a header on the command line.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned())),
        _ => Err("expected a header, such as 'x-user-id: alice'".to_owned()),
    }
}

/// Headers that Envoy always sets itself when it sends a request.
const MADE_ANEW: [&str; 2] = ["host", "content-length"];

/// The request to explain.
pub(super) struct Asked<'a> {
    pub(super) headers: HeaderMap,
    /// The names of the given headers, each once, without those that Envoy sets itself.
    pub(super) given: Vec<&'a str>,
    pub(super) body: &'a [u8],
    /// The primary's response, if one is given.
    pub(super) answered: Option<template::Answer>,
    /// The answers of targets, by their names.
    pub(super) of_leaders: BTreeMap<String, OfLeader>,
}

impl Asked<'_> {
    /// The request with all of its headers, to read it.
    pub(super) fn captured(&self, config: &Config, head: &RequestHead<'_>) -> CapturedHead {
        let needs = Needs { all: true, ..Needs::default() };
        CapturedHead::capture(self.headers.clone(), head.is_grpc, None, needs, &config.correlation)
    }
}

impl Arguments {
    /// # Errors
    /// Returns an error if the body of an answer cannot be read.
    pub(super) fn asked<'a>(&'a self, body: &'a [u8], answer_body: &[u8]) -> Result<Asked<'a>, String> {
        let answered = self.answer.map(|Answer(status)| {
            let headers = [(":status".to_owned(), status.to_string())].into_iter().chain(self.answer_headers.iter().cloned());
            let headers = HeaderMap::from(&headers.collect::<Pairs>());
            template::Answer { headers, body: Ok(answer_body.to_vec()), ..template::Answer::new(Answerer::Primary, Some(status)) }
        });
        let mut given: Vec<&str> = Vec::new();
        for (name, _) in &self.headers {
            if !MADE_ANEW.contains(&name.as_str()) && !given.contains(&name.as_str()) {
                given.push(name);
            }
        }
        Ok(Asked { headers: self.head(body), given, body, answered, of_leaders: self.of_leaders()? })
    }

    fn of_leaders(&self) -> Result<BTreeMap<String, OfLeader>, String> {
        let mut answers = BTreeMap::new();
        for (name, Answer(status)) in &self.answers_of {
            answers.insert(name.clone(), OfLeader { status: *status, headers: Vec::new(), body: None });
        }
        let without = |name: &str| format!("--answer-of {name}=STATUS is missing");
        for (name, header) in &self.answer_headers_of {
            answers.get_mut(name).ok_or_else(|| without(name))?.headers.push(header.clone());
        }
        for (name, body) in &self.answer_bodies_of {
            answers.get_mut(name).ok_or_else(|| without(name))?.body = Some(body.read()?);
        }
        Ok(answers)
    }

    /// The headers in Envoy's order, with those that Envoy adds.
    fn head(&self, body: &[u8]) -> HeaderMap {
        let host = self.headers.iter().find(|(name, _)| name == "host").map(|(_, value)| value.as_str());
        let mut head = Pairs::default();
        head.push(b":authority", host.unwrap_or(&self.authority).as_bytes());
        head.push(b":path", self.request.path.as_bytes());
        head.push(b":method", self.request.method.as_bytes());
        head.push(b":scheme", b"http");
        let values = self.headers.iter().filter(|(name, _)| name == "connection");
        let of_connection: Vec<_> = values.flat_map(|(_, value)| value.split(',')).map(str::trim).collect();
        // Envoy removes the headers that `connection` names before a filter sees them.
        let is_stripped = |name: &str| of_connection.iter().any(|named| named.eq_ignore_ascii_case(name));
        for (name, value) in self.headers.iter().filter(|(name, _)| name != "host" && !is_stripped(name)) {
            head.push(name.as_bytes(), value.as_bytes());
        }
        let length = (!body.is_empty() && !head.has(b"transfer-encoding")).then(|| body.len().to_string());
        let added =
            [("content-length", length.as_deref()), ("x-forwarded-proto", Some("http")), ("x-request-id", Some(REQUEST_ID))];
        for (name, value) in added {
            if let Some(value) = value.filter(|_| !head.has(name.as_bytes())) {
                head.push(name.as_bytes(), value.as_bytes());
            }
        }
        HeaderMap::from(&head)
    }
}
