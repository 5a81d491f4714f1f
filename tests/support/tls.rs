//! TLS for upstreams: certificates made on the spot, and a door that demands the client's and keeps every byte that comes to it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{ready, Context, Poll};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::{server, TlsAcceptor};

/// Whoever issues certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub(crate) pem: String,
    der: CertificateDer<'static>,
}

/// A certificate and its key.
pub(crate) struct Identity {
    /// The certificate.
    pub(crate) pem: String,
    /// The key of it.
    pub(crate) key: String,
    /// The certificate as it goes over the wire.
    pub(crate) der: CertificateDer<'static>,
    key_der: PrivatePkcs8KeyDer<'static>,
}

impl Authority {
    /// A new one that nobody trusts yet.
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        // Whose name is that of its issuer would be taken for its own issuer.
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), pem: certificate.pem(), der: certificate.der().clone() }
    }

    /// A certificate for both sides, with this name.
    pub(crate) fn issue(&self, name: &str) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key_der = PrivatePkcs8KeyDer::from(key.serialize_der());
        Identity { pem: certificate.pem(), key: key.serialize_pem(), der: certificate.der().clone(), key_der }
    }
}

/// What an upstream lets connections in by.
pub(crate) struct Door {
    acceptor: TlsAcceptor,
    arrived: Mutex<Vec<Arc<Mutex<Vec<u8>>>>>,
    guests: Mutex<Vec<CertificateDer<'static>>>,
}

impl Door {
    /// Shows this identity, and lets in who has a certificate of this authority.
    pub(crate) fn new(identity: &Identity, guests_of: &Authority) -> Arc<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(guests_of.der.clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
        let chain = vec![identity.der.clone()];
        let builder = ServerConfig::builder().with_client_cert_verifier(verifier);
        let mut config = builder.with_single_cert(chain, identity.key_der.clone_key().into()).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(Self { acceptor: TlsAcceptor::from(Arc::new(config)), arrived: Mutex::default(), guests: Mutex::default() })
    }

    /// The connection behind the handshake, if there was one.
    pub(crate) async fn admit(&self, stream: TcpStream) -> Option<server::TlsStream<Tapped>> {
        let bytes = Arc::default();
        self.arrived.lock().unwrap().push(Arc::clone(&bytes));
        let stream = self.acceptor.accept(Tapped { stream, bytes }).await.ok()?;
        let certificates = stream.get_ref().1.peer_certificates().unwrap();
        self.guests.lock().unwrap().push(certificates[0].clone());
        Some(stream)
    }

    /// Every byte that came over each connection, as it was on the wire.
    pub(crate) fn arrived(&self) -> Vec<Vec<u8>> {
        self.arrived.lock().unwrap().iter().map(|bytes| bytes.lock().unwrap().clone()).collect()
    }

    /// The certificates of those that were let in.
    pub(crate) fn guests(&self) -> Vec<CertificateDer<'static>> {
        self.guests.lock().unwrap().clone()
    }
}

/// A connection of which everything that is read is kept.
pub(crate) struct Tapped {
    stream: TcpStream,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Tapped {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        self.bytes.lock().unwrap().extend_from_slice(&buffer.filled()[before..]);
        Poll::Ready(read)
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
