//! Configurations come and go: new roots, old ones that drain, and the end of a VM.

use super::{
    vm::{Context, Phase, Root},
    worker::{Running, Worker},
};

impl Worker {
    /// A new configuration. Whether the filter accepted it; if not, the one before keeps serving.
    pub(crate) fn configure(&self, configuration: impl Into<Vec<u8>>) -> bool {
        let mut running = self.0.borrow_mut();
        let configuration = configuration.into();
        let size = u32::try_from(configuration.len()).unwrap();
        let root = running.vm.borrow_mut().add(Context::Root(Root {
            configuration,
            configuration_is_readable: false,
            phase: Phase::Serving,
            tick_period_ms: 0,
            tick_started_ns: 0,
            answer: None,
        }));
        running.enter(root, "proxy_on_context_create", &[root, 0]);
        let started = running.enter(root, "proxy_on_vm_start", &[root, 0]);
        assert_ne!(started, Some(0), "the filter did not start");
        running.set_readable(root, true);
        let accepted = running.enter(root, "proxy_on_configure", &[root, size]) != Some(0);
        running.set_readable(root, false);
        if !accepted {
            return false;
        }
        if let Some(old) = running.serving.replace(root) {
            running.retire(old);
        }
        true
    }

    /// A configuration for the root that serves already. Whether the filter accepted it.
    pub(crate) fn configure_again(&self, configuration: impl Into<Vec<u8>>) -> bool {
        let mut running = self.0.borrow_mut();
        let configuration = configuration.into();
        let size = u32::try_from(configuration.len()).unwrap();
        let root = running.serving.expect("no configuration is serving");
        running.vm.borrow_mut().root(root).unwrap().configuration = configuration;
        running.set_readable(root, true);
        let accepted = running.enter(root, "proxy_on_configure", &[root, size]) != Some(0);
        running.set_readable(root, false);
        accepted
    }

    /// The listener goes away: the current root is told to finish.
    pub(crate) fn shut_down(&self) {
        let mut running = self.0.borrow_mut();
        if let Some(root) = running.serving.take() {
            running.retire(root);
        }
    }

    /// The id of the root that new streams belong to.
    pub(crate) fn root(&self) -> u32 {
        self.0.borrow().serving.expect("no configuration is serving")
    }

    /// Where a root is in its life; `None` once it was deleted.
    pub(crate) fn phase(&self, root: u32) -> Option<Phase> {
        let running = self.0.borrow();
        let mut vm = running.vm.borrow_mut();
        Some(vm.root(root)?.phase)
    }

    /// The root answered `false` to `on_done` and has not said that it is done.
    pub(crate) fn is_draining(&self, root: u32) -> bool {
        self.phase(root) == Some(Phase::Draining)
    }

    /// The root got its `on_delete`.
    pub(crate) fn is_deleted(&self, root: u32) -> bool {
        self.phase(root).is_none()
    }
}

impl Running {
    fn set_readable(&mut self, root: u32, readable: bool) {
        if let Some(root) = self.vm.borrow_mut().root(root) {
            root.configuration_is_readable = readable;
        }
    }

    fn retire(&mut self, root: u32) {
        self.vm.borrow_mut().root(root).unwrap().phase = Phase::Replaced;
        self.finish_if_unused(root);
    }

    /// A replaced root is told to finish when the last stream that uses it is gone.
    pub(super) fn finish_if_unused(&mut self, id: u32) {
        let is_over = {
            let mut vm = self.vm.borrow_mut();
            vm.root(id).is_some_and(|root| root.phase == Phase::Replaced) && !vm.has_streams(id)
        };
        if !is_over {
            return;
        }
        let finished = self.enter(id, "proxy_on_done", &[id]) != Some(0);
        if finished {
            self.enter(id, "proxy_on_delete", &[id]);
            self.vm.borrow_mut().remove_root(id);
        } else if let Some(root) = self.vm.borrow_mut().root(id) {
            root.phase = Phase::Draining;
        }
    }
}
