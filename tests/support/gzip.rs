//! Bodies in gzip.

use std::io::Write;

use flate2::{write::GzEncoder, Compression};

/// A body as small as gzip makes it.
pub(crate) fn gzip(body: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body.as_ref()).unwrap();
    encoder.finish().unwrap()
}
