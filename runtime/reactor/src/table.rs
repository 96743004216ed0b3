//! The sources registered at one reactor, found by the token that the kernel
//! hands back.

use std::ops::Range;
use std::sync::Arc;

use slab::Slab;

use crate::registered::Registered;

/// Names one registration: a place in the table and the generation of what was
/// put there. A place is used again, a generation not before 2^32 more
/// registrations, so an event of a registration that is gone misses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) u64);

impl Token {
    fn new(place: usize, generation: u32) -> Option<Token> {
        // The last place would make the notifier's key possible.
        let place = u32::try_from(place).ok().filter(|place| *place < u32::MAX)?;
        Some(Token(u64::from(generation) << 32 | u64::from(place)))
    }

    fn place(self) -> usize {
        self.0 as u32 as usize
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

struct Entry {
    generation: u32,
    source: Arc<Registered>,
}

#[derive(Default)]
pub(crate) struct Table {
    entries: Slab<Entry>,
    generation: u32,
    closed: bool,
    /// Entries that were ever reserved.
    pub(crate) registrations: u64,
    /// Of these, how many were for sources that had another home.
    pub(crate) rehomings: u64,
}

impl Table {
    /// Reserves an entry; `None` once the table is closed or full.
    pub(crate) fn insert(&mut self, source: Arc<Registered>) -> Option<Token> {
        if self.closed {
            return None;
        }
        let token = Token::new(self.entries.vacant_key(), self.generation)?;
        self.generation = self.generation.wrapping_add(1);
        self.registrations += 1;
        self.entries.insert(Entry { generation: token.generation(), source });
        Some(token)
    }

    #[inline]
    pub(crate) fn get(&self, token: Token) -> Option<&Arc<Registered>> {
        self.entries
            .get(token.place())
            .filter(|entry| entry.generation == token.generation())
            .map(|entry| &entry.source)
    }

    pub(crate) fn remove(&mut self, token: Token) -> Option<Arc<Registered>> {
        self.get(token)?;
        Some(self.entries.remove(token.place()).source)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The sources in these places; none if there are no such places.
    pub(crate) fn sources(&self, places: Range<usize>) -> Option<Vec<Arc<Registered>>> {
        let entries = |place| self.entries.get(place).map(|entry| Arc::clone(&entry.source));
        (places.start < self.entries.capacity()).then(|| places.filter_map(entries).collect())
    }

    /// Empties the table and lets nothing in any more.
    pub(crate) fn close(&mut self) -> Vec<Arc<Registered>> {
        self.closed = true;
        self.entries.drain().map(|entry| entry.source).collect()
    }
}
