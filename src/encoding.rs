//! STUB
use std::borrow::Cow;
/// u
#[derive(Debug)] pub struct Undecodable;
/// d
pub fn decode<'a>(_: &[u8], body: &'a [u8], _: usize) -> Result<Cow<'a,[u8]>, Undecodable> { Ok(Cow::Borrowed(body)) }
