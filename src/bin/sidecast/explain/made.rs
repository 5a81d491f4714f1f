//! What is random in the filter, and made up here. Each is told by its last digit.

use uuid::Uuid;

/// The request id that Envoy would give.
pub(super) const REQUEST_ID: &str = "00000000-0000-4000-8000-000000000001";
/// The correlation id, where it is in a header of its own.
pub(super) const CORRELATION_ID: Uuid = Uuid::from_u128(0x4000_8000_0000_0000_0002);
/// The id of a delivery, or of an item of a batch.
pub(super) const DELIVERY_ID: Uuid = Uuid::from_u128(0x4000_8000_0000_0000_0003);
/// The id of a batch.
pub(super) const BATCH_ID: Uuid = Uuid::from_u128(0x4000_8000_0000_0000_0004);
/// The id of an attempt in its trace.
pub(super) const SPAN_ID: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 5];
