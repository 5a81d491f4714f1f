//! The request of a letter, as it is sent.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue, HOST};
use hyper::{Method, Request, Uri};
use sidecast::http::grpc;
use sidecast::http::header_names::is_reserved;
use sidecast::template::{check_path, REDACTED};

use super::destinations::Destination;
use super::envelope::{self, Letter};
use super::shown::shown;
use super::supplied::Headers;

const KEY: &str = "idempotency-key";

/// How many headers a letter may have. A map of headers ends the process beyond 24,576, and more are put in than the letter has.
const MAX_HEADERS: usize = 20_000;

/// How requests are made of letters.
pub(super) struct Rules {
    pub(super) supplied: Headers,
    /// Sends `[redacted]` as it stands.
    pub(super) keeps_redacted: bool,
    /// The authority of the URL in place of the letter's.
    pub(super) authority_of_url: bool,
}

/// A request that can be sent, several times.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    /// One message of gRPC, which goes over HTTP/2 and has a status of its own.
    pub(super) is_grpc: bool,
}

/// Why a letter is not sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Something that only the caller can supply is missing.
    Missing(String),
    /// It is no request that could be sent.
    Illegal(String),
}

use Refusal::{Illegal, Missing};

impl Prepared {
    /// Makes the request of a letter.
    ///
    /// # Errors
    /// Says why the letter cannot be sent.
    pub(super) fn new(letter: &Letter, destination: &Destination, rules: &Rules) -> Result<Self, Refusal> {
        let request = &letter.request;
        let method = method(request).map_err(Illegal)?;
        let body = request.body().map_err(Illegal)?;
        let fields = request.headers().map_err(Illegal)?;
        let hidden = hidden(request, &fields, &body);
        let missing: Vec<&str> = hidden.iter().map(String::as_str).filter(|place| !rules.has(letter, place)).collect();
        if !missing.is_empty() {
            return Err(Missing(format!(
                "{REDACTED} replaces a secret in {}: set a header with --set, or send it as it is with --keep-redacted",
                missing.iter().map(|place| shown(place)).collect::<Vec<_>>().join(", ")
            )));
        }
        let mut headers = headers(&fields).map_err(Illegal)?;
        let is_grpc = method == Method::POST
            && headers.get("content-type").is_some_and(|kind| grpc::is_grpc(kind.as_bytes()))
            && grpc::Messages::of(&body) == grpc::Messages::One;
        if is_grpc {
            headers.insert("te", HeaderValue::from_static("trailers"));
        }
        rules.complete(&mut headers, letter, &hidden)?;
        let uri = uri(request, destination, rules, is_grpc, &mut headers).map_err(Illegal)?;
        Ok(Self { method, uri, headers, body: body.into(), is_grpc })
    }

    /// A request to send.
    pub(super) fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// What is sent, for people.
    pub(super) fn line(&self, destination: &Destination) -> String {
        let server = destination.server.to_string();
        let path = self.uri.path_and_query().map_or("", |path| path.as_str());
        format!("{} {}{}", self.method, server.trim_end_matches('/'), shown(path))
    }

    /// How long its body is.
    pub(super) fn length(&self) -> usize {
        self.body.len()
    }
}

impl Rules {
    /// True if what a letter hides here is supplied, or not asked for.
    fn has(&self, letter: &Letter, place: &str) -> bool {
        self.keeps_redacted
            || place == KEY
            || (place == ":authority" && self.authority_of_url)
            || self.supplied.is_set(&letter.target, place)
    }

    /// Puts in what the caller supplies, and the key.
    fn complete(&self, headers: &mut HeaderMap, letter: &Letter, hidden: &[String]) -> Result<(), Refusal> {
        for (name, value) in self.supplied.of(&letter.target) {
            headers.insert(name, value.clone());
        }
        let is_hidden = hidden.iter().any(|place| place == KEY);
        if is_hidden || headers.get(KEY).is_none_or(HeaderValue::is_empty) {
            let key = HeaderValue::from_str(&letter.id).map_err(|_| Illegal("its id cannot be a header value".to_owned()))?;
            headers.insert(KEY, key);
        }
        Ok(())
    }
}

fn method(request: &envelope::Request) -> Result<Method, String> {
    let text = request.method.as_deref().ok_or("it has no method")?;
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::CONNECT) => Err("its method is CONNECT".to_owned()),
        Ok(method) => Ok(method),
        Err(_) => Err(format!("its method is invalid: {}", shown(text))),
    }
}

/// What is not shown in the letter: names of headers, `:path`, `:authority`, `:body`.
fn hidden(request: &envelope::Request, fields: &[(&str, Vec<u8>)], body: &[u8]) -> Vec<String> {
    if let Some(places) = &request.redacted {
        return places.clone();
    }
    // Such a letter does not say it. What a target's `redact` masks in a body looks the same.
    let holds = |text: &[u8]| {
        let text = String::from_utf8_lossy(text).to_ascii_lowercase();
        text.contains(REDACTED) || text.contains("%5bredacted%5d")
    };
    let line = [(":path", &request.path), (":authority", &request.authority)];
    let of_line = line.into_iter().filter(|(_, text)| text.as_ref().is_some_and(|text| holds(text.as_bytes())));
    let of_headers = fields.iter().filter(|(_, value)| holds(value)).map(|(name, _)| name.to_ascii_lowercase());
    let of_body = holds(body).then(|| ":body".to_owned());
    of_line.map(|(name, _)| name.to_owned()).chain(of_headers).chain(of_body).collect()
}

/// The headers that are sent, in their order.
fn headers(fields: &[(&str, Vec<u8>)]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let illegal = |what: &str| format!("{what}: {}", shown(name));
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| illegal("the name of a header is invalid"))?;
        if is_left_out(parsed.as_str()) {
            continue;
        }
        let value = HeaderValue::from_bytes(value).map_err(|_| illegal("the value of a header has control characters"))?;
        if headers.len() >= MAX_HEADERS || headers.try_append(parsed, value).is_err() {
            return Err(format!("it has more than {MAX_HEADERS} headers"));
        }
    }
    Ok(headers)
}

/// True for headers that belong to one connection, or that the client makes. What Sidecast adds for its targets goes to them.
fn is_left_out(name: &str) -> bool {
    name == "host" || (is_reserved(name.as_bytes()) && !name.starts_with("x-sidecast-"))
}

/// The URI, whose path is that of the letter to the byte.
fn uri(
    request: &envelope::Request,
    destination: &Destination,
    rules: &Rules,
    is_grpc: bool,
    headers: &mut HeaderMap,
) -> Result<Uri, String> {
    let path = request.path.as_deref().ok_or("it has no path")?;
    if !path.starts_with('/') {
        return Err(format!("its path does not start with a slash: {}", shown(path)));
    }
    if !destination.prefix.is_empty() && check_path(path.as_bytes()).is_err() {
        return Err(format!("its path leads out of {}: {}", destination.prefix, shown(path)));
    }
    let path = format!("{}{path}", destination.prefix);
    let server = destination.server.authority().map_or("", |authority| authority.as_str());
    let authority = match request.authority.as_deref() {
        Some(authority) if !rules.authority_of_url && !authority.is_empty() => authority,
        _ => server,
    };
    if authority.contains('@') {
        return Err(format!("its authority has a user: {}", shown(authority)));
    }
    let is_plain = destination.server.scheme_str() == Some("http") && !is_grpc;
    let build = |authority: &str| {
        let builder = Uri::builder().scheme(destination.server.scheme_str().unwrap_or("http"));
        builder.authority(authority).path_and_query(path.as_str()).build()
    };
    let uri = build(authority).map_err(|error| format!("{error}: {}{}", shown(authority), shown(&path)))?;
    if uri.path_and_query().is_none_or(|sent| sent.as_str() != path) {
        return Err(format!("its path cannot be sent as it is: {}", shown(&path)));
    }
    if !is_plain {
        return Ok(uri);
    }
    // One pool of connections serves all authorities.
    let host = HeaderValue::from_str(authority).map_err(|_| format!("its authority is invalid: {}", shown(authority)))?;
    headers.insert(HOST, host);
    build(server).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
