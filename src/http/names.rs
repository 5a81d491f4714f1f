//! Names of headers and methods.

use std::str::FromStr;

use super::header_names::{objection, Use};
use super::invalid::Invalid;

/// A header name, in lower case as Envoy keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderName(pub String);

impl FromStr for HeaderName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if !text.is_empty() && text.bytes().all(is_token) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(format!("expected the name of a header, found {text:?}").into())
        }
    }
}

/// Header names for one [`Use`] each, in lower case.
macro_rules! names_of_headers {
    ($($(#[$doc:meta])* $name:ident: $purpose:expr;)*) => {
        $($(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(pub String);

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                let HeaderName(name) = HeaderName::from_str(text)?;
                match objection(&name, $purpose) {
                    Some(objection) => Err(objection.into()),
                    None => Ok(Self(name)),
                }
            }
        })*
    };
}

names_of_headers! {
    /// The name of a header to read.
    ReadHeader: Use::Read;
    /// The name of a header to send or omit.
    SentHeader: Use::Send;
    /// The name of the header that holds the correlation ID.
    CorrelationHeader: Use::Correlate;
    /// The name of a header that holds a signature or its timestamp.
    SigningHeader: Use::Sign;
}

/// A request method: a token (RFC 9110, 9.1), in capitals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method(pub String);

impl FromStr for Method {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if !text.is_empty() && text.bytes().all(is_token) && !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("expected a method in capitals such as \"POST\", found {text:?}").into())
        }
    }
}

/// True for a character of a token (RFC 9110, 5.6.2).
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
