//! Sealed parts that were opened before.
//!
//! The sealed part of a record never changes, so what it says is worth keeping: whoever meets the
//! very bytes again that opened in the same place before need not decrypt and read them again. This
//! is no cache of sessions: whether one lives is read from the store every time, from the header.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use watchdog_core::CipherKeys;

use super::{Common, Header, Identity, Millis, sealed_part};
use crate::error::Result;
use crate::place::Place;
use crate::session::Facts;

/// How many are kept: some 600 bytes each, and each in a place of its own, which the next session
/// that belongs there takes over.
const SLOTS: usize = 4096;

/// Opens sealed parts, and remembers what it opened.
pub(crate) struct Opened {
    slots: Box<[Mutex<Option<Entry>>]>,
}

struct Entry {
    place: Place,
    sealed: Box<[u8]>,
    times: Times,
    facts: Arc<Facts>,
}

/// What stands in the header, too.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Times {
    created_at: Millis,
    absolute_deadline: Millis,
    idle_timeout: Millis,
}

impl Times {
    fn of(common: &Common) -> Self {
        Self {
            created_at: common.created_at,
            absolute_deadline: common.absolute_deadline,
            idle_timeout: common.idle_timeout,
        }
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}

impl Opened {
    pub(crate) fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| Mutex::default()).collect() }
    }

    /// What the record at a place says, as [`Identity::verify`] finds it.
    pub(crate) fn verify(
        &self,
        keys: &CipherKeys,
        place: Place,
        header: &Header,
        record: &[u8],
    ) -> Result<Arc<Facts>> {
        let (sealed, times) = (sealed_part(record), Times::of(&header.common));
        let slot = self.slot(place);
        if let Some(entry) = &*slot.lock().unwrap_or_else(PoisonError::into_inner)
            && entry.place == place
            && entry.times == times
            && *entry.sealed == *sealed
        {
            return Ok(Arc::clone(&entry.facts));
        }
        let facts = Arc::new(Identity::verify(keys, place, header, sealed)?.into_facts(place));
        let entry = Entry { place, sealed: sealed.into(), times, facts: Arc::clone(&facts) };
        let replaced = slot.lock().unwrap_or_else(PoisonError::into_inner).replace(entry);
        drop(replaced);
        Ok(facts)
    }

    /// Session ids are random: as good as a hash.
    fn slot(&self, place: Place) -> &Mutex<Option<Entry>> {
        let id = place.session.as_bytes();
        &self.slots[usize::from(u16::from_be_bytes([id[0], id[1]])) % SLOTS]
    }
}

#[cfg(test)]
mod tests {
    use watchdog_core::RootKeys;

    use super::*;
    use crate::error::ErrorKind;
    use crate::record::tests::{header, identity, place};

    #[test]
    fn what_was_opened_is_not_opened_again() {
        let keys = RootKeys::ephemeral().unwrap().cipher("test").unwrap();
        let strange = RootKeys::ephemeral().unwrap().cipher("test").unwrap();
        let opened = Opened::new();
        let record = header().encode(&identity().seal(&keys, place(1)).unwrap());
        opened.verify(&strange, place(1), &header(), &record).unwrap_err();
        let first = opened.verify(&keys, place(1), &header(), &record).unwrap();
        // Other keys do not open it: they are not asked.
        let second = opened.verify(&strange, place(1), &header(), &record).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(first.user, identity().user);
    }

    #[test]
    fn nothing_that_differs_is_taken_for_what_was_opened() {
        let keys = RootKeys::ephemeral().unwrap().cipher("test").unwrap();
        let opened = Opened::new();
        let sealed = identity().seal(&keys, place(1)).unwrap();
        let record = header().encode(&sealed);
        opened.verify(&keys, place(1), &header(), &record).unwrap();

        let refused = |place, header: &Header, record: &[u8]| {
            opened.verify(&keys, place, header, record).unwrap_err().kind()
        };
        for at in [0, sealed.len() / 2, sealed.len() - 1] {
            let mut altered = record.clone();
            altered[crate::record::HEADER_BYTES + at] ^= 1;
            assert_eq!(refused(place(1), &header(), &altered), ErrorKind::Invalid, "{at}");
        }
        assert_eq!(refused(place(1), &header(), &record[..record.len() - 1]), ErrorKind::Invalid);
        // The same slot, another session.
        let mut moved = place(1);
        moved.location.user = [9; 16];
        assert_eq!(refused(moved, &header(), &record), ErrorKind::Invalid);
        let longer = |change: fn(&mut Common)| {
            let mut header = header();
            change(&mut header.common);
            header
        };
        for header in [
            longer(|common| common.created_at += 1),
            longer(|common| common.absolute_deadline += 1),
            longer(|common| common.idle_timeout += 1),
        ] {
            assert_eq!(refused(place(1), &header, &record), ErrorKind::Invalid);
        }
        opened.verify(&keys, place(1), &header(), &record).unwrap();
    }

    #[test]
    fn the_next_one_of_a_slot_takes_it_over() {
        let keys = RootKeys::ephemeral().unwrap().cipher("test").unwrap();
        let opened = Opened::new();
        let mut other = place(1);
        other.location.user = [9; 16];
        for place in [place(1), other, place(1)] {
            let record = header().encode(&identity().seal(&keys, place).unwrap());
            opened.verify(&keys, place, &header(), &record).unwrap();
        }
        let held = opened.slots.iter().filter(|slot| slot.lock().unwrap().is_some());
        assert_eq!(held.count(), 1);
    }
}
