//! The module as an import sees it: its memory, its allocator, and the VM's state.

use super::State;
use crate::host::{Shared, Status, Vm};
use std::{
    cell::{RefCell, RefMut},
    rc::Rc,
};
use wasmtime::{Caller, Extern, Memory, Val};

/// Why an import did not do what it was asked for.
pub(crate) enum Refusal {
    /// The module gets this number.
    Status(i32),
    /// The module is stopped: its allocator trapped.
    Trap(wasmtime::Error),
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self::Status(status.0)
    }
}

impl Refusal {
    pub(super) fn settle(result: Result<(), Self>) -> wasmtime::Result<i32> {
        match result {
            Ok(()) => Ok(Status::OK.0),
            Err(Self::Status(number)) => Ok(number),
            Err(Self::Trap(error)) => Err(error),
        }
    }
}

/// One call of an import, in progress.
pub(crate) struct Guest<'a> {
    caller: Caller<'a, State>,
    shared: Rc<RefCell<Shared>>,
}

impl<'a> Guest<'a> {
    /// Counts the call and applies an injected fault. Envoy traps a module that makes most host calls before it is started, or from its
    /// allocator; so does this.
    pub(super) fn enter(mut caller: Caller<'a, State>, name: &'static str) -> wasmtime::Result<Result<Self, Status>> {
        let (allowed, shared) = {
            let vm = caller.data().borrow();
            (vm.allowed, Rc::clone(&vm.shared))
        };
        if allowed.is_some_and(|names| !names.contains(&name)) {
            return Err(wasmtime::format_err!("{name} is restricted here: only {allowed:?} are allowed"));
        }
        let injected = shared.borrow_mut().count_and_fault(name);
        let reentry = shared.borrow_mut().reentry.take_if(|reentry| reentry.import == name);
        if let Some(reentry) = reentry {
            let export = caller.get_export(&reentry.export).and_then(Extern::into_func).unwrap();
            let arguments: Vec<Val> = reentry.arguments.iter().map(|argument| Val::I32(*argument as i32)).collect();
            let mut results = vec![Val::I32(0); export.ty(&caller).results().len()];
            export.call(&mut caller, &arguments, &mut results)?;
        }
        Ok(injected.map_or(Ok(Self { caller, shared }), Err))
    }

    /// The VM's state. What is borrowed here must be given back before the module is entered, and [`give`](Self::give) enters it.
    pub(super) fn vm(&self) -> RefMut<'_, Vm> {
        self.caller.data().borrow_mut()
    }

    pub(super) fn shared(&self) -> RefMut<'_, Shared> {
        self.shared.borrow_mut()
    }

    pub(super) fn read(&mut self, at: i32, length: i32) -> Result<Vec<u8>, Status> {
        let (at, length) = (at as u32 as usize, length as u32 as usize);
        let memory = self.memory();
        let bytes = memory.data(&self.caller).get(at..).and_then(|rest| rest.get(..length));
        bytes.map(<[u8]>::to_vec).ok_or(Status::INVALID_MEMORY_ACCESS)
    }

    pub(super) fn read_u32(&mut self, at: i32) -> Result<u32, Status> {
        Ok(u32::from_le_bytes(self.read(at, 4)?.try_into().unwrap()))
    }

    pub(super) fn write(&mut self, at: i32, bytes: &[u8]) -> Result<(), Status> {
        let memory = self.memory();
        let written = memory.write(&mut self.caller, at as u32 as usize, bytes);
        written.map_err(|_| Status::INVALID_MEMORY_ACCESS)
    }

    pub(super) fn write_u32(&mut self, at: i32, number: u32) -> Result<(), Status> {
        self.write(at, &number.to_le_bytes())
    }

    /// Hands bytes to the module in memory that its own allocator gave, and tells it where they are. Nothing is allocated for nothing.
    pub(super) fn give(&mut self, bytes: &[u8], pointer_at: i32, size_at: i32) -> Result<(), Refusal> {
        let size = i32::try_from(bytes.len()).unwrap();
        let mut pointer = 0;
        if size > 0 {
            pointer = self.allocate(size).map_err(Refusal::Trap)?;
            if pointer == 0 {
                return Err(Status::INVALID_MEMORY_ACCESS.into());
            }
            self.write(pointer, bytes)?;
        }
        self.write_u32(pointer_at, pointer as u32)?;
        self.write_u32(size_at, size as u32)?;
        Ok(())
    }

    fn allocate(&mut self, size: i32) -> wasmtime::Result<i32> {
        const ALLOWED: &[&str] = &["proxy_log", "fd_write", "clock_time_get"];
        let allocator = ["malloc", "proxy_on_memory_allocate"]
            .iter()
            .find_map(|name| self.caller.get_export(name).and_then(Extern::into_func))
            .expect("a filter exports an allocator")
            .typed::<i32, i32>(&self.caller)?;
        let before = self.vm().allowed.replace(ALLOWED);
        let pointer = allocator.call(&mut self.caller, size);
        self.vm().allowed = before;
        pointer
    }

    fn memory(&mut self) -> Memory {
        let memory = self.caller.get_export("memory").and_then(Extern::into_memory);
        memory.expect("a filter exports its memory")
    }
}
