//! The vocabulary of proxy-wasm ABI 0.2.1: statuses, log levels, kinds of maps and buffers, and how a map travels.

/// Names and values in order; both are bytes, because nothing in HTTP promises UTF-8.
pub(crate) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// What a host call answers. Any number can be made, since a module must survive hosts newer than itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) i32);

impl Status {
    pub(crate) const OK: Self = Self(0);
    pub(crate) const NOT_FOUND: Self = Self(1);
    pub(crate) const BAD_ARGUMENT: Self = Self(2);
    pub(crate) const INVALID_MEMORY_ACCESS: Self = Self(6);
    pub(crate) const CAS_MISMATCH: Self = Self(8);
    pub(crate) const INTERNAL_FAILURE: Self = Self(10);
}

/// The callbacks that the filter has. Those that it lacks are never called.
pub(crate) const CALLBACKS: [&str; 11] = [
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_done",
    "proxy_on_http_call_response",
    "proxy_on_request_body",
    "proxy_on_request_headers",
    "proxy_on_request_trailers",
    "proxy_on_response_body",
    "proxy_on_response_headers",
    "proxy_on_response_trailers",
    "proxy_on_tick",
];

/// The host calls that the filter makes, but for those by which it panics.
pub(crate) const HOST_CALLS: [&str; 19] = [
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "proxy_define_metric",
    "proxy_done",
    "proxy_get_buffer_bytes",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_pairs",
    "proxy_get_header_map_value",
    "proxy_get_log_level",
    "proxy_get_property",
    "proxy_get_shared_data",
    "proxy_http_call",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_record_metric",
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
    "random_get",
];

/// Envoy's log levels, in its numbering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Critical,
}

impl Level {
    pub(crate) fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            0 => Self::Trace,
            1 => Self::Debug,
            2 => Self::Info,
            3 => Self::Warn,
            4 => Self::Error,
            5 => Self::Critical,
            _ => return None,
        })
    }
}

/// The maps that a filter may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MapKind {
    RequestHeaders,
    RequestTrailers,
    ResponseHeaders,
    ResponseTrailers,
    CallResponseHeaders,
    CallResponseTrailers,
    /// Of gRPC calls: known to the ABI, never available here.
    Absent,
}

impl MapKind {
    pub(crate) fn from_number(number: i32) -> Result<Self, Status> {
        match number {
            0 => Ok(Self::RequestHeaders),
            1 => Ok(Self::RequestTrailers),
            2 => Ok(Self::ResponseHeaders),
            3 => Ok(Self::ResponseTrailers),
            4 | 5 => Ok(Self::Absent),
            6 => Ok(Self::CallResponseHeaders),
            7 => Ok(Self::CallResponseTrailers),
            _ => Err(Status::BAD_ARGUMENT),
        }
    }
}

/// A map as it lies in the module's memory: the count, the lengths, then names and values, each with a NUL behind it. All numbers are
/// little-endian `u32`s. An empty map travels as nothing at all.
pub(crate) fn serialize(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    if pairs.is_empty() {
        return Vec::new();
    }
    let mut bytes = u32_bytes(pairs.len()).to_vec();
    for (name, value) in pairs {
        bytes.extend(u32_bytes(name.len()));
        bytes.extend(u32_bytes(value.len()));
    }
    for part in pairs.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend(part);
        bytes.push(0);
    }
    bytes
}

/// Envoy takes at most this much of a map, and makes an empty map of anything larger or malformed.
const MAX_MAP_BYTES: usize = 1024 * 1024;
const MAX_MAP_PAIRS: usize = 1024;

/// The reverse of [`serialize`], as forgiving and as strict as Envoy.
pub(crate) fn deserialize(bytes: &[u8]) -> Pairs {
    strictly(bytes).unwrap_or_default()
}

fn strictly(bytes: &[u8]) -> Option<Pairs> {
    let count = read_u32(bytes, 0)?;
    if bytes.len() > MAX_MAP_BYTES || count > MAX_MAP_PAIRS {
        return None;
    }
    let mut at = 4 + count * 8;
    let mut take = |length: usize| {
        let part = bytes.get(at..at + length)?;
        at += length + 1;
        (*bytes.get(at - 1)? == 0).then(|| part.to_vec())
    };
    let mut pairs = Pairs::new();
    for index in 0..count {
        let name = take(read_u32(bytes, 4 + index * 8)?)?;
        pairs.push((name, take(read_u32(bytes, 8 + index * 8)?)?));
    }
    (at == bytes.len()).then_some(pairs)
}

fn read_u32(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(four.try_into().unwrap()) as usize)
}

fn u32_bytes(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap().to_le_bytes()
}
