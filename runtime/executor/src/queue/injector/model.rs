//! The models' part of the queue.

/// The stand-in under loom and shuttle, which cannot see into crossbeam's queue. Its lock orders more than the real queue does;
/// the protocols that depend on the difference are modelled in `worker::model` with bare flags.
pub(crate) struct Injector<T> {
    items: crate::sync::Mutex<std::collections::VecDeque<T>>,
}

impl<T> Injector<T> {
    pub(crate) fn new() -> Self {
        Self { items: crate::sync::Mutex::new(std::collections::VecDeque::new()) }
    }

    pub(crate) fn push(&self, item: T) {
        crate::sync::lock(&self.items).push_back(item);
    }

    pub(crate) fn pop(&self) -> Option<T> {
        crate::sync::lock(&self.items).pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        crate::sync::lock(&self.items).len()
    }
}
