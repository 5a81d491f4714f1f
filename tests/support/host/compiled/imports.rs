//! The `env.proxy_*` functions, with Envoy's statuses for everything that is wrong with a call.

use super::{guest::Guest, module::import, State};
use crate::host::{Level, LogLine, MapKind, Recorded, Status};
use wasmtime::Linker;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    link_process(linker)?;
    link_streams(linker)?;
    link_statistics(linker)?;
    link_shared_data(linker)
}

/// Log, time, contexts.
fn link_process(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    import!(linker, "env", "proxy_log", |guest, level: i32, text: i32, size: i32| {
        let level = Level::from_number(level).ok_or(Status::BAD_ARGUMENT)?;
        let text = String::from_utf8_lossy(&guest.read(text, size)?).into_owned();
        guest.shared().log.push(LogLine { level, text });
        Ok(())
    });
    import!(linker, "env", "proxy_get_log_level", |guest, level_at: i32| {
        let level = guest.shared().log_level as u32;
        Ok(guest.write_u32(level_at, level)?)
    });
    import!(linker, "env", "proxy_get_current_time_nanoseconds", |guest, time_at: i32| {
        let now = guest.shared().wall_ns;
        Ok(guest.write(time_at, &now.to_le_bytes())?)
    });
    import!(linker, "env", "proxy_set_tick_period_milliseconds", |guest, period: i32| {
        Ok(guest.vm().set_tick_period(period as u32)?)
    });
    import!(linker, "env", "proxy_set_effective_context", |guest, id: i32| { Ok(guest.vm().set_effective(id as u32)?) });
    import!(linker, "env", "proxy_done", |guest| { Ok(guest.vm().done()?) });
    import!(linker, "env", "proxy_get_property", |guest, path: i32, path_size: i32, pointer_at: i32, size_at: i32| {
        let path = guest.read(path, path_size)?;
        let value = guest.vm().property(&path)?;
        guest.give(&value, pointer_at, size_at)
    });
    Ok(())
}

/// What a request consists of, and call-outs.
fn link_streams(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    import!(linker, "env", "proxy_get_buffer_bytes", |guest,
                                                      kind: i32,
                                                      start: i32,
                                                      length: i32,
                                                      pointer_at: i32,
                                                      size_at: i32| {
        let part = guest.vm().part_of_buffer(kind, start as u32, length as u32)?;
        guest.give(&part, pointer_at, size_at)
    });
    import!(linker, "env", "proxy_get_header_map_pairs", |guest, kind: i32, pointer_at: i32, size_at: i32| {
        let kind = MapKind::from_number(kind)?;
        let map = guest.vm().serialized_map(kind);
        guest.give(&map, pointer_at, size_at)
    });
    import!(
        linker,
        "env",
        "proxy_get_header_map_value",
        |guest, kind: i32, name: i32, name_size: i32, pointer_at: i32, size_at: i32| {
            let kind = MapKind::from_number(kind)?;
            let name = guest.read(name, name_size)?;
            let value = guest.vm().map_value(kind, &name)?;
            guest.give(&value, pointer_at, size_at)
        }
    );
    linker.func_wrap(
        "env",
        "proxy_http_call",
        |caller: wasmtime::Caller<'_, State>,
         cluster: i32,
         cluster_size: i32,
         headers: i32,
         headers_size: i32,
         body: i32,
         body_size: i32,
         trailers: i32,
         trailers_size: i32,
         timeout_ms: i32,
         token_at: i32|
         -> wasmtime::Result<i32> {
            let mut guest = match Guest::enter(caller, "proxy_http_call")? {
                Ok(guest) => guest,
                Err(injected) => return Ok(injected.0),
            };
            let mut call = || {
                let recorded = Recorded {
                    cluster: guest.read(cluster, cluster_size)?,
                    body: guest.read(body, body_size)?,
                    timeout_ms,
                    ..Recorded::default()
                };
                let headers = guest.read(headers, headers_size)?;
                let trailers = guest.read(trailers, trailers_size)?;
                guest.write_u32(token_at, 0)?;
                let token = guest.vm().call_out(recorded, &headers, &trailers)?;
                guest.write_u32(token_at, token)
            };
            Ok(call().err().unwrap_or(Status::OK).0)
        },
    )?;
    Ok(())
}

fn link_statistics(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    import!(linker, "env", "proxy_define_metric", |guest, kind: i32, name: i32, name_size: i32, id_at: i32| {
        let name = guest.read(name, name_size)?;
        let id = guest.vm().with_statistics(|ids, all| ids.define(all, kind as u32, &name))?;
        Ok(guest.write_u32(id_at, id)?)
    });
    import!(linker, "env", "proxy_increment_metric", |guest, id: i32, by: i64| {
        Ok(guest.vm().with_statistics(|ids, all| ids.increment(all, id as u32, by))?)
    });
    import!(linker, "env", "proxy_record_metric", |guest, id: i32, value: i64| {
        let value = value as u64;
        Ok(guest.vm().with_statistics(|ids, all| ids.record(all, id as u32, value))?)
    });
    Ok(())
}

fn link_shared_data(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    import!(linker, "env", "proxy_get_shared_data", |guest,
                                                     key: i32,
                                                     key_size: i32,
                                                     pointer_at: i32,
                                                     size_at: i32,
                                                     version_at: i32| {
        let key = guest.read(key, key_size)?;
        let (value, version) = guest.shared().data.get(&key)?;
        guest.give(&value, pointer_at, size_at)?;
        Ok(guest.write_u32(version_at, version)?)
    });
    import!(linker, "env", "proxy_set_shared_data", |guest,
                                                     key: i32,
                                                     key_size: i32,
                                                     value: i32,
                                                     value_size: i32,
                                                     version: i32| {
        let key = guest.read(key, key_size)?;
        let value = guest.read(value, value_size)?;
        Ok(guest.shared().data.set(&key, &value, version as u32)?)
    });
    Ok(())
}
