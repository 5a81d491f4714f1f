//! The compiled filter, read and compiled once for all tests of the binary.

use super::{imports, wasi, State};
use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};
use wasmtime::{Config, Engine, InstancePre, Linker, Module};

static PREPARED: OnceLock<InstancePre<State>> = OnceLock::new();
static COUNTING: OnceLock<InstancePre<State>> = OnceLock::new();

/// The filter, linked against this host and ready to be instantiated.
pub(crate) fn prepared() -> &'static InstancePre<State> {
    PREPARED.get_or_init(|| link(&code(), &Config::new()))
}

/// The same, with its instructions counted, which makes it slower.
pub(crate) fn counting() -> &'static InstancePre<State> {
    COUNTING.get_or_init(|| link(&code(), Config::new().consume_fuel(true)))
}

/// The filter as it is compiled.
pub(crate) fn code() -> Vec<u8> {
    read("SIDECAST_WASM", "dist/sidecast.wasm", "build")
}

/// The mirror that is written with the SDK.
pub(crate) fn plain_filter() -> Vec<u8> {
    read("PLAIN_FILTER_WASM", "target/plain_filter.wasm", "plain-filter")
}

fn read(variable: &str, default: &str, goal: &str) -> Vec<u8> {
    let in_clone = || Path::new(env!("CARGO_MANIFEST_DIR")).join(default);
    let path = std::env::var_os(variable).map_or_else(in_clone, PathBuf::from);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; `make {goal}` makes it", path.display()))
}

/// Another module than the filter, binary or text. It may ask for what this host lacks: Envoy has more, and an SDK imports all of that.
/// Calling it is a trap.
pub(super) fn prepare_other(code: &[u8]) -> InstancePre<State> {
    let (mut linker, module) = parts(code, &Config::new());
    linker.define_unknown_imports_as_traps(&module).unwrap();
    linker.instantiate_pre(&module).unwrap()
}

fn link(code: &[u8], config: &Config) -> InstancePre<State> {
    let (linker, module) = parts(code, config);
    linker.instantiate_pre(&module).unwrap_or_else(|error| panic!("the module asks for what the host lacks: {error:#}"))
}

fn parts(code: &[u8], config: &Config) -> (Linker<State>, Module) {
    let engine = Engine::new(config).unwrap();
    let module = Module::new(&engine, code).unwrap();
    let mut linker = Linker::new(&engine);
    imports::link(&mut linker).unwrap();
    wasi::link(&mut linker).unwrap();
    (linker, module)
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
