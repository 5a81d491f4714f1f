//! The compiled filter, read and compiled once for all tests of the binary.

use super::{imports, wasi, State};
use std::{path::PathBuf, sync::OnceLock};
use wasmtime::{Config, Engine, InstancePre, Linker, Module};

static PREPARED: OnceLock<InstancePre<State>> = OnceLock::new();
static COUNTING: OnceLock<InstancePre<State>> = OnceLock::new();

/// The filter, linked against this host and ready to be instantiated.
pub(crate) fn prepared() -> &'static InstancePre<State> {
    PREPARED.get_or_init(|| prepare(&code()))
}

/// The same, with its instructions counted, which makes it slower.
pub(crate) fn counting() -> &'static InstancePre<State> {
    COUNTING.get_or_init(|| link(&code(), Config::new().consume_fuel(true)))
}

fn code() -> Vec<u8> {
    let path = std::env::var_os("SIDECAST_WASM")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/dist/sidecast.wasm")), PathBuf::from);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; `make build` makes the filter", path.display()))
}

/// A module, binary or text, linked against this host.
pub(super) fn prepare(code: &[u8]) -> InstancePre<State> {
    link(code, &Config::new())
}

fn link(code: &[u8], config: &Config) -> InstancePre<State> {
    let engine = Engine::new(config).unwrap();
    let module = Module::new(&engine, code).unwrap();
    let mut linker = Linker::new(&engine);
    imports::link(&mut linker).unwrap();
    wasi::link(&mut linker).unwrap();
    linker.instantiate_pre(&module).unwrap_or_else(|error| panic!("the module asks for what the host lacks: {error:#}"))
}

/// The names of everything that the filter imports.
pub(crate) fn imports_of_the_module() -> Vec<String> {
    let module = prepared().module();
    module.imports().map(|import| import.name().to_owned()).collect()
}

/// The names of the callbacks that the filter has.
pub(crate) fn callbacks_of_the_module() -> Vec<String> {
    let module = prepared().module();
    module.exports().map(|export| export.name().to_owned()).filter(|name| name.starts_with("proxy_on_")).collect()
}

/// Gives the host a function of the module's, under its `env` or WASI name. Arguments are as in the ABI; the body responds with
/// `Ok(())` or with the status that the module gets.
macro_rules! import {
    ($linker:ident, $space:literal, $name:literal, |$guest:ident $(, $arg:ident: $ty:ty)*| $body:block) => {
        $linker.func_wrap(
            $space,
            $name,
            |caller: wasmtime::Caller<'_, State> $(, $arg: $ty)*| -> wasmtime::Result<i32> {
                #[allow(unused_mut)]
                let mut $guest = match Guest::enter(caller, $name)? {
                    Ok(guest) => guest,
                    Err(injected) => return Ok(injected.0),
                };
                #[allow(unused_mut)]
                let mut body = || -> Result<(), $crate::compiled::guest::Refusal> { $body };
                $crate::compiled::guest::Refusal::settle(body())
            },
        )?;
    };
}
pub(super) use import;
