//! The compiled module under wasmtime, in the model of Envoy. Every trap fails the test with the module's backtrace and what it logged.

mod guest;
mod imports;
mod module;
mod wasi;

use crate::host::{Filter, Host, Vm, Worker};
pub(crate) use module::{callbacks_of_the_module, code as code_of_the_module, imports_of_the_module, plain_filter};
use serde_json::Value;
use std::{cell::RefCell, rc::Rc};
use wasmtime::{Instance, InstancePre, Store, Val};

/// What wasmtime's store holds. Nothing of it is borrowed while the module runs.
type State = Rc<RefCell<Vm>>;

/// The filter, compiled once for all workers.
pub(crate) fn start(vm: &State) -> Box<dyn Filter> {
    instantiate(vm, module::prepared())
}

impl Host {
    /// A worker whose instructions are counted.
    pub(crate) fn counting_worker(&self, configuration: &Value) -> Worker {
        let worker = Worker::start(self, |vm| instantiate(vm, module::counting()));
        assert!(worker.configure(configuration.to_string()), "refused: {:#?}", self.log());
        worker
    }

    /// A worker that runs another module than the filter, binary or text.
    pub(crate) fn worker_running(&self, code: impl AsRef<[u8]>, configuration: &str) -> Worker {
        let worker = Worker::start(self, |vm| instantiate(vm, &module::prepare_other(code.as_ref())));
        assert!(worker.configure(configuration), "the module refused: {:#?}", self.log());
        worker
    }
}

fn instantiate(vm: &State, module: &InstancePre<State>) -> Box<dyn Filter> {
    const ALLOWED: &[&str] = &["proxy_log", "fd_write", "environ_sizes_get", "environ_get", "clock_time_get", "random_get"];
    let mut store = Store::new(module.module().engine(), Rc::clone(vm));
    // An error means that no instructions are counted.
    let _ = store.set_fuel(u64::MAX);
    let instance = module.instantiate(&mut store).unwrap();
    let mut compiled = Compiled { store, instance, longest: 0 };
    vm.borrow_mut().allowed = Some(ALLOWED);
    compiled.enter("_initialize", &[]);
    vm.borrow_mut().allowed = None;
    Box::new(compiled)
}

/// An instance of the module.
struct Compiled {
    store: Store<State>,
    instance: Instance,
    /// The most instructions of one callback, if they are counted.
    longest: u64,
}

impl Filter for Compiled {
    fn enter(&mut self, callback: &str, arguments: &[u32]) -> Option<i32> {
        let function = self.instance.get_func(&mut self.store, callback)?;
        let arguments: Vec<_> = arguments.iter().map(|&number| Val::I32(number as i32)).collect();
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        let fuel = self.store.get_fuel().ok();
        if let Err(trap) = function.call(&mut self.store, &arguments, &mut results) {
            let vm = self.store.data().borrow();
            let shared = vm.shared.borrow();
            let log = shared.log.iter().rev().take(5);
            let log: Vec<_> = log.map(|line| &line.text).collect();
            panic!("{callback} trapped: {trap:?}\nlast logged, newest first: {log:#?}");
        }
        if let (Some(before), Ok(after)) = (fuel, self.store.get_fuel()) {
            self.longest = self.longest.max(before - after);
        }
        Some(results.first().map_or(0, Val::unwrap_i32))
    }

    fn memory_size(&mut self) -> usize {
        self.instance.get_memory(&mut self.store, "memory").unwrap().data_size(&self.store)
    }

    fn longest(&mut self) -> u64 {
        std::mem::take(&mut self.longest)
    }
}
