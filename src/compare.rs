//! STUB
use serde::Serialize;
/// s
#[derive(Debug)] pub struct Settings;
impl From<crate::config::raw_shape::Compare> for Settings { fn from(_: crate::config::raw_shape::Compare) -> Self { Self } }
impl Settings { /// s
pub fn samples(&self, _: u64) -> bool { true } }
/// u
#[derive(Clone, Copy, Debug)] pub enum Unavailable { /// t
TooLarge, /// c
CutOff }
/// a
#[derive(Debug)] pub struct Answer<'a> { /// s
pub status: u16, /// s
pub content_type: &'a [u8], /// s
pub content_encoding: &'a [u8], /// s
pub body: Result<&'a [u8], Unavailable> }
/// v
#[derive(Debug, Clone, PartialEq, Serialize)] pub enum Verdict { /// m
Match, /// m
StatusMismatch{ /// p
primary: u16}, /// m
BodyMismatch(u8), /// m
NotComparable(u8) }
/// c
pub fn compare(_: &Settings, _: &Answer<'_>, _: &Answer<'_>) -> Verdict { Verdict::Match }
