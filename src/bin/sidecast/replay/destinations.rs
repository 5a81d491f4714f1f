//! Where letters go: the URL of each target.

use std::collections::BTreeMap;
use std::path::Path;

use hyper::Uri;

use super::envelope::Letter;

/// A server, and what stands before each path.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    /// Scheme and authority.
    pub(super) server: Uri,
    /// Begins with a slash and does not end with one, or is empty.
    pub(super) prefix: String,
}

/// The URLs of targets.
#[derive(Debug, Default)]
pub(super) struct Destinations {
    named: BTreeMap<String, usize>,
    of_others: Option<usize>,
    pub(super) all: Vec<Destination>,
}

impl Destinations {
    /// Reads `--to` and `--targets`.
    ///
    /// # Errors
    /// Says which of them is wrong.
    pub(super) fn new(to: &[String], file: Option<&Path>) -> Result<Self, String> {
        let mut destinations = Self::default();
        if let Some(file) = file {
            let place = |error: String| format!("{}: {error}", file.display());
            let text = std::fs::read_to_string(file).map_err(|error| place(error.to_string()))?;
            // A snippet of the file would show a password in it.
            let options = serde_saphyr::options! { with_snippet: false };
            let urls: BTreeMap<String, String> = serde_saphyr::from_str_with_options(&text, options)
                .map_err(|error| place(format!("expected NAME: URL on each line: {error}")))?;
            for (name, url) in urls {
                destinations.add(Some(&name), &url).map_err(place)?;
            }
        }
        for text in to {
            let (name, url) = match text.split_once('=') {
                Some((name, url)) if !name.contains("://") => (Some(name), url),
                _ => (None, text.as_str()),
            };
            destinations.add(name, url).map_err(|error| format!("--to: {error}"))?;
        }
        Ok(destinations)
    }

    fn add(&mut self, name: Option<&str>, url: &str) -> Result<(), String> {
        // What has a user may have its password before the `=`, or be the name itself.
        let shown = name.filter(|name| !name.contains('@') && !url.contains('@'));
        let of_whom = shown.map_or_else(|| "the URL".to_owned(), |name| format!("the URL of {name:?}"));
        let destination = Destination::parse(url).map_err(|error| format!("{of_whom}: {error}"))?;
        let index = self.all.len();
        let former = match name {
            Some(name) => self.named.insert(name.to_owned(), index),
            None => self.of_others.replace(index),
        };
        if former.is_some() {
            return Err(format!("{of_whom} is given twice"));
        }
        self.all.push(destination);
        Ok(())
    }

    /// The index of the URL of a letter: that of its target's name, else of its cluster, else the one without a name.
    pub(super) fn of(&self, letter: &Letter) -> Option<usize> {
        let of_cluster = || letter.cluster.as_ref().and_then(|cluster| self.named.get(cluster));
        self.named.get(&letter.target).or_else(of_cluster).copied().or(self.of_others)
    }

    /// True if a server speaks TLS.
    pub(super) fn has_tls(&self) -> bool {
        self.all.iter().any(|destination| destination.server.scheme_str() == Some("https"))
    }
}

impl Destination {
    /// An error never shows the URL, which may hold a password.
    fn parse(url: &str) -> Result<Self, String> {
        let expected = || "expected http:// or https:// and a host, optionally with a port and a path".to_owned();
        let uri: Uri = url.parse().map_err(|error| format!("{error}; {}", expected()))?;
        let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(expected());
        };
        if authority.as_str().contains('@') {
            return Err("it contains credentials; pass them with --set, such as --set 'authorization=Basic ${TOKEN}'".to_owned());
        }
        if authority.host().is_empty() {
            return Err(expected());
        }
        if url.contains(['?', '#']) {
            return Err("it has a query or a fragment, but the path of each letter is appended to it".to_owned());
        }
        let prefix = uri.path().trim_end_matches('/').to_owned();
        let scheme = uri.scheme_str().unwrap_or_default();
        let server = Uri::builder().scheme(scheme).authority(authority.as_str()).path_and_query("/").build();
        Ok(Self { server: server.map_err(|error| error.to_string())?, prefix })
    }
}
