//! The HTTP client of the commands that speak to servers: HTTP/1.1 and, where it is asked for or negotiated, HTTP/2; with and without TLS.
//!
//! URIs go to the server as they are. Nothing in a path is normalised.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use clap::Args;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::HeaderMap;
use hyper::{Request, Response, Uri, Version};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{ring, verify_tls12_signature, verify_tls13_signature, CryptoProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tower_service::Service;

/// How servers are spoken to over TLS.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "TLS")]
pub(crate) struct Tls {
    /// A PEM file with the CA certificates to trust; without it, the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<std::path::PathBuf>,
    /// A PEM file with a client certificate and its chain.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<std::path::PathBuf>,
    /// A PEM file with the key of the client certificate.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<std::path::PathBuf>,
    /// Trust any server certificate. Anyone on the network path can then read and change everything.
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,
}

impl Tls {
    /// The configuration for connections.
    ///
    /// # Errors
    /// Says which file cannot be used, and why.
    pub(crate) fn config(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?;
        let builder = match &self.ca {
            _ if self.insecure => builder.dangerous().with_custom_certificate_verifier(Arc::new(TrustsAll(provider))),
            Some(file) => builder.with_root_certificates(authorities(file)?),
            None => builder.with_native_roots().map_err(|error| format!("the system's certificates: {error}"))?,
        };
        let (Some(cert), Some(key)) = (&self.cert, &self.key) else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = certificates(cert)?;
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{}: {error}", key.display()))?;
        builder.with_client_auth_cert(chain, secret).map_err(|error| format!("{} and {}: {error}", cert.display(), key.display()))
    }

    /// The configuration for servers of which only some may speak TLS. Without options, a system without certificates is no error as long as no
    /// server does.
    pub(crate) fn config_if(&self, is_used: bool) -> Result<ClientConfig, String> {
        let has_options = self.ca.is_some() || self.cert.is_some();
        if is_used || has_options {
            return self.config();
        }
        Tls { insecure: true, ..Self::default() }.config()
    }
}

fn certificates(file: &std::path::Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let place = |error| format!("{}: {error}", file.display());
    let found = CertificateDer::pem_file_iter(file).map_err(place)?.collect::<Result<Vec<_>, _>>().map_err(place)?;
    if found.is_empty() {
        return Err(format!("{}: expected certificates in PEM, found none", file.display()));
    }
    Ok(found)
}

fn authorities(file: &std::path::Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(roots)
}

/// Trusts any certificate. Signatures of the handshake are still verified.
#[derive(Debug)]
struct TrustsAll(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustsAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// What a client does, apart from TLS.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// How long an exchange may take, from connecting to the last byte of the response.
    pub(crate) timeout: Duration,
    /// How long the body of a response may be, in bytes.
    pub(crate) max_body: usize,
    /// HTTP/2 always, also without TLS. Otherwise HTTP/1.1 without TLS, and what the server chooses with TLS.
    pub(crate) only_http2: bool,
    /// The server of all requests. Absent: that of each request's URI.
    pub(crate) connect_to: Option<Uri>,
}

impl Default for Terms {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(10), max_body: 16 << 20, only_http2: false, connect_to: None }
    }
}

/// An HTTP client. It follows no redirects, and keeps connections for the next request.
#[derive(Clone)]
pub(crate) struct Client {
    http: legacy::Client<Dialer, Full<Bytes>>,
    terms: Terms,
}

/// The response to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Status and headers.
    pub(crate) head: Response<()>,
    /// The whole body.
    #[allow(dead_code, reason = "replay looks at statuses alone")]
    pub(crate) body: Bytes,
    /// What followed the body.
    pub(crate) trailers: HeaderMap,
}

/// Why there is no response.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no connection.
    Connect(String),
    /// The connection broke, or what came was no HTTP.
    Broken(String),
    /// There was no whole response in time.
    Timeout(Duration),
    /// The body of the response is too long. The status came.
    TooLong {
        /// Status and headers.
        head: Box<Response<()>>,
        /// How long it may be.
        limit: usize,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "no connection: {error}"),
            Self::Broken(error) => write!(f, "the connection broke: {error}"),
            Self::Timeout(timeout) => write!(f, "no complete response within {}", humantime::format_duration(*timeout)),
            Self::TooLong { head, limit } => write!(f, "status {}, and more than {limit} bytes", head.status().as_u16()),
        }
    }
}

impl Client {
    /// A client for these terms.
    pub(crate) fn new(tls: ClientConfig, terms: Terms) -> Self {
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let https = if terms.only_http2 { builder.enable_http2().build() } else { builder.enable_all_versions().build() };
        let dialer = Dialer { https, to: terms.connect_to.clone() };
        let http = legacy::Client::builder(TokioExecutor::new())
            .http2_only(terms.only_http2)
            // A connection belongs to an authority, of which there may be many.
            .pool_idle_timeout(Duration::from_secs(2))
            .pool_timer(TokioTimer::new())
            .build(dialer);
        Self { http, terms }
    }

    /// Sends a request, and reads the whole response.
    ///
    /// # Errors
    /// Says why there is no response. The server may have received the request all the same, unless there was no connection.
    pub(crate) async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        if self.terms.only_http2 {
            *request.version_mut() = Version::HTTP_2;
        }
        let exchange = tokio::time::timeout(self.terms.timeout, self.exchange(request)).await;
        exchange.unwrap_or(Err(Failure::Timeout(self.terms.timeout)))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let response = self.http.request(request).await.map_err(|error| {
            let reason = reason(&error);
            if error.is_connect() {
                Failure::Connect(reason)
            } else {
                Failure::Broken(reason)
            }
        })?;
        let (head, body) = response.into_parts();
        let head = Response::from_parts(head, ());
        let limit = self.terms.max_body;
        match Limited::new(body, limit).collect().await {
            Ok(collected) => {
                let trailers = collected.trailers().cloned().unwrap_or_default();
                Ok(Answer { head, body: collected.to_bytes(), trailers })
            }
            Err(error) if error.is::<LengthLimitError>() => Err(Failure::TooLong { head: Box::new(head), limit }),
            Err(error) => Err(Failure::Broken(reason(&*error))),
        }
    }
}

/// The innermost cause of an error. What is around it says only what was tried.
fn reason(mut error: &(dyn Error + 'static)) -> String {
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// Connects to the server of a URI, or always to the same one.
#[derive(Clone)]
struct Dialer {
    https: HttpsConnector<HttpConnector>,
    to: Option<Uri>,
}

type Https = HttpsConnector<HttpConnector>;

impl Service<Uri> for Dialer {
    type Response = <Https as Service<Uri>>::Response;
    type Error = <Https as Service<Uri>>::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        self.https.call(self.to.clone().unwrap_or(uri))
    }
}
