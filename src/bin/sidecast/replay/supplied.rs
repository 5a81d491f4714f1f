//! Headers that the caller supplies, such as credentials that letters do not hold.

use std::str::FromStr;

use hyper::header::{HeaderName, HeaderValue};
use sidecast::http::header_names::{objection, Use};

/// A header of `--set`.
struct Supplied {
    /// `None` for all targets.
    target: Option<String>,
    name: HeaderName,
    value: HeaderValue,
}

/// The headers of all `--set`.
pub(super) struct Headers(Vec<Supplied>);

impl Headers {
    /// Reads `[TARGET:]HEADER=VALUE`. `${NAME}` in a value is a variable of the environment.
    ///
    /// # Errors
    /// Says which of them is wrong, and never shows a value.
    pub(super) fn new(texts: &[String], servers: usize) -> Result<Self, String> {
        let headers = texts.iter().map(|text| supplied(text)).collect::<Result<Vec<_>, _>>()?;
        match headers.iter().find(|header| header.target.is_none()) {
            Some(header) if servers > 1 => Err(format!(
                "--set {}: there are several URLs, so name the target: --set TARGET:{}=VALUE",
                header.name, header.name
            )),
            _ => Ok(Self(headers)),
        }
    }

    /// Those that a target gets.
    pub(super) fn of<'a>(&'a self, target: &'a str) -> impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> {
        let is_of = move |header: &&Supplied| header.target.as_deref().is_none_or(|of| of == target);
        self.0.iter().filter(is_of).map(|header| (&header.name, &header.value))
    }

    /// True if a target gets a header of this name.
    pub(super) fn is_set(&self, target: &str, name: &str) -> bool {
        self.of(target).any(|(set, _)| set.as_str() == name)
    }
}

fn supplied(text: &str) -> Result<Supplied, String> {
    let Some((name, value)) = text.split_once('=') else {
        return Err("--set: expected [TARGET:]HEADER=VALUE, found no `=`".to_owned());
    };
    let (target, name) = match name.rsplit_once(':') {
        Some((target, name)) => (Some(target.to_owned()), name),
        None => (None, name),
    };
    // What is no name may be a value, as in `authorization: Basic dTpw==`.
    let no_name = "--set: expected [TARGET:]HEADER=VALUE, found no header name before the first `=`";
    let header = HeaderName::from_str(name).map_err(|_| no_name)?;
    let place = |error: &str| format!("--set {name}: {error}");
    if let Some(objection) = objection(header.as_str(), Use::Send) {
        return Err(place(objection));
    }
    if header == "idempotency-key" {
        return Err(place("every letter has its own"));
    }
    let filled = filled(value).map_err(|error| place(&error))?;
    let mut value = HeaderValue::from_str(&filled).map_err(|_| place("the value has characters that a header cannot have"))?;
    value.set_sensitive(true);
    Ok(Supplied { target, name: header, value })
}

/// The value with those of variables. `$${` is a literal `${`, as in configurations.
fn filled(value: &str) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            filled.push_str(before);
            filled.push_str("${");
            rest = after;
            continue;
        }
        let Some((name, after)) = after.split_once('}') else {
            return Err("`${` without `}`".to_owned());
        };
        filled.push_str(before);
        match std::env::var(name) {
            Ok(value) if !value.is_empty() => filled.push_str(&value),
            _ => return Err(format!("environment variable {name} is not set, or empty")),
        }
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}
