//! The few WASI functions that Envoy offers and a Rust filter uses.

use super::{
    guest::{Guest, Refusal},
    module::import,
    State,
};
use crate::host::{Level, LogLine};
use wasmtime::Linker;

const BAD_DESCRIPTOR: i32 = 8;
const INVALID: i32 = 28;
const NOT_SUPPORTED: i32 = 58;

/// Envoy gives no more random bytes at once.
const MAX_RANDOM: usize = 64 * 1024;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    link_environment(linker)?;
    import!(linker, "wasi_snapshot_preview1", "random_get", |guest, at: i32, size: i32| {
        let size = size as u32 as usize;
        if size > MAX_RANDOM {
            return Err(Refusal::Status(INVALID));
        }
        let bytes = guest.shared().random_bytes(size);
        Ok(guest.write(at, &bytes)?)
    });
    import!(linker, "wasi_snapshot_preview1", "clock_time_get", |guest, clock: i32, _precision: i64, time_at: i32| {
        let now = match clock {
            0 => guest.shared().wall_ns,
            1 => guest.shared().monotonic_ns,
            _ => return Err(Refusal::Status(NOT_SUPPORTED)),
        };
        Ok(guest.write(time_at, &now.to_le_bytes())?)
    });
    import!(linker, "wasi_snapshot_preview1", "fd_write", |guest, descriptor: i32, slices: i32, count: i32, written_at: i32| {
        let level = match descriptor {
            1 => Level::Info,
            2 => Level::Error,
            _ => return Err(Refusal::Status(BAD_DESCRIPTOR)),
        };
        let mut bytes = Vec::new();
        for index in 0..count {
            let at = guest.read_u32(slices + index * 8)?;
            let size = guest.read_u32(slices + index * 8 + 4)?;
            bytes.extend(guest.read(at as i32, size as i32)?);
        }
        let text = String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned();
        guest.shared().log.push(LogLine { level, text });
        Ok(guest.write_u32(written_at, bytes.len() as u32)?)
    });
    // Envoy lets a module run on after this; a filter that wants to exit is broken, so it stops here and the test says where.
    linker.func_wrap("wasi_snapshot_preview1", "proc_exit", |code: i32| -> wasmtime::Result<()> {
        Err(wasmtime::format_err!("the module called proc_exit({code})"))
    })?;
    Ok(())
}

fn link_environment(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    import!(linker, "wasi_snapshot_preview1", "environ_sizes_get", |guest, count_at: i32, size_at: i32| {
        let entries = environment(&guest);
        let size: usize = entries.iter().map(Vec::len).sum();
        guest.write_u32(count_at, entries.len() as u32)?;
        Ok(guest.write_u32(size_at, size as u32)?)
    });
    import!(linker, "wasi_snapshot_preview1", "environ_get", |guest, pointers: i32, at: i32| {
        let (mut pointers, mut at) = (pointers, at);
        for entry in environment(&guest) {
            guest.write_u32(pointers, at as u32)?;
            guest.write(at, &entry)?;
            pointers += 4;
            at += entry.len() as i32;
        }
        Ok(())
    });
    Ok(())
}

/// `NAME=value` with a NUL behind it, for each variable.
fn environment(guest: &Guest<'_>) -> Vec<Vec<u8>> {
    let shared = guest.shared();
    let pairs = shared.environment.iter();
    pairs.map(|(name, value)| format!("{name}={value}\0").into_bytes()).collect()
}
