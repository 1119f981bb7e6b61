//! The outbox of one bucket: who holds which event, and what found no room.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::place::SessionId;
use crate::record::Millis;
use crate::store::{Event, Waiting};

/// Most events that wait in one bucket. Beyond it events are dropped and counted; those of
/// [`has_more_room`] have twice as much.
pub const MAX_EVENTS_PER_BUCKET: u32 = 4096;

/// Who holds what was set aside.
const ASIDE: &str = "aside";

/// Whether an event is kept when the bucket is full of others: it ended a session by force, or it
/// tells of a theft.
pub fn has_more_room(action: &str) -> bool {
    matches!(action, "revoked" | "reuse" | "evicted" | "repaired" | "everybody_revoked")
}

/// The events of one bucket that are not acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventQueue {
    /// The events by handle, oldest first.
    pub entries: BTreeMap<u64, QueuedEvent>,
    /// The latest handle given.
    pub last: u64,
    /// How many found no room since that was last told.
    pub dropped: u64,
}

/// An event that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedEvent {
    /// The event.
    pub event: Event,
    /// Who has it for delivery and since when; `None` as long as nobody had.
    pub held: Option<(String, Millis)>,
}

impl EventQueue {
    /// Appends an event, if there is room for it.
    pub fn add(&mut self, event: Event) {
        let room =
            MAX_EVENTS_PER_BUCKET as usize * if has_more_room(&event.action) { 2 } else { 1 };
        if self.entries.len() >= room {
            self.dropped += 1;
        } else {
            self.push(event);
        }
    }

    fn push(&mut self, event: Event) {
        self.last += 1;
        self.entries.insert(self.last, QueuedEvent { event, held: None });
    }

    /// Hands events out: those that this consumer holds already, then those that another has held
    /// for as long as `idle`, then new ones. With room again, what was dropped is told first, in an
    /// event of its own with the id `seed`.
    pub fn claim(
        &mut self,
        consumer: &str,
        limit: u32,
        idle: Duration,
        seed: [u8; 16],
        now: Millis,
    ) -> Vec<(u64, Event)> {
        if self.dropped > 0 && self.entries.len() < MAX_EVENTS_PER_BUCKET as usize {
            self.push(tale_of(self.dropped, seed, now));
            self.dropped = 0;
        }
        let mut found: Vec<_> = self
            .entries
            .iter()
            .filter_map(|(&handle, queued)| Some((turn(queued, consumer, idle, now)?, handle)))
            .collect();
        found.sort_unstable();
        found.truncate(limit as usize);
        let mut claimed = Vec::with_capacity(found.len());
        for (_, handle) in found {
            if let Some(queued) = self.entries.get_mut(&handle) {
                queued.held = Some((consumer.to_owned(), now));
                claimed.push((handle, queued.event.clone()));
            }
        }
        claimed
    }

    /// Forgets events that reached their sink.
    pub fn acknowledge(&mut self, handles: impl IntoIterator<Item = u64>) {
        for handle in handles {
            self.entries.remove(&handle);
        }
    }

    /// Takes events from whoever holds them; from now on they can be taken over after a time.
    pub fn postpone(&mut self, handles: impl IntoIterator<Item = u64>, now: Millis) {
        for handle in handles {
            if let Some(held) = self.entries.get_mut(&handle).and_then(|it| it.held.as_mut()) {
                *held = (ASIDE.to_owned(), now);
            }
        }
    }

    /// How much waits.
    pub fn waiting(&self) -> Waiting {
        Waiting { events: self.entries.len() as u64, dropped: self.dropped }
    }

    /// Whether nothing is left to know.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.dropped == 0
    }
}

/// When it is an event's turn, lowest first; `None` while somebody else has it.
fn turn(queued: &QueuedEvent, consumer: &str, idle: Duration, now: Millis) -> Option<u8> {
    match &queued.held {
        Some((holder, _)) if holder == consumer => Some(0),
        Some((_, since)) => {
            (u128::from(now.saturating_sub(*since)) >= idle.as_millis()).then_some(1)
        }
        None => Some(2),
    }
}

/// The event that tells how many others there would have been.
fn tale_of(dropped: u64, seed: [u8; 16], now: Millis) -> Event {
    Event {
        action: "events_dropped".to_owned(),
        occurred_at: now,
        session: SessionId::from_bytes([0; 16]),
        user: [0; 16],
        seed,
        index: 0,
        sealed: Vec::new(),
        client: Vec::new(),
        details: vec![("count".to_owned(), dropped.to_string())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn event(action: &str) -> Event {
        Event { action: action.to_owned(), details: Vec::new(), ..tale_of(0, [1; 16], 1) }
    }

    fn queue(events: u32) -> EventQueue {
        let mut queue = EventQueue::default();
        (0..events).for_each(|_| queue.add(event("issued")));
        queue
    }

    fn handles(claimed: Vec<(u64, Event)>) -> Vec<u64> {
        claimed.into_iter().map(|(handle, _)| handle).collect()
    }

    #[test]
    fn own_then_abandoned_then_new() {
        let mut queue = queue(6);
        let mut claim = |consumer: &str, limit, idle, now| {
            handles(queue.claim(consumer, limit, Duration::from_millis(idle), [0; 16], now))
        };
        assert_eq!(claim("a", 2, 10, 100), [1, 2]);
        assert_eq!(claim("b", 2, 10, 100), [3, 4]);
        assert_eq!(claim("b", 9, 10, 109), [3, 4, 5, 6]);
        assert_eq!(claim("b", 9, 10, 110), [3, 4, 5, 6, 1, 2]);
        assert_eq!(claim("a", 9, 10, 110), [0; 0]);
        assert_eq!(claim("a", 3, 0, 110), [1, 2, 3]);
        // A clock that went back takes nothing from anybody.
        assert_eq!(claim("c", 9, 1, 1), [0; 0]);
    }

    #[test]
    fn what_is_set_aside_comes_back_after_a_time() {
        let mut queue = queue(2);
        assert_eq!(handles(queue.claim("a", 1, LONG, [0; 16], 1)), [1]);
        queue.postpone([1, 2, 7], 50);
        assert_eq!(handles(queue.claim("a", 9, LONG, [0; 16], 60)), [2]);
        let idle = Duration::from_millis(20);
        assert_eq!(handles(queue.claim("a", 9, idle, [0; 16], 69)), [2]);
        assert_eq!(handles(queue.claim("a", 9, idle, [0; 16], 70)), [2, 1]);
        queue.acknowledge([1, 2, 2]);
        assert!(queue.is_empty());
    }

    #[test]
    fn beyond_the_room_events_are_dropped_and_told_once() {
        let mut queue = queue(MAX_EVENTS_PER_BUCKET);
        queue.add(event("rotated"));
        assert_eq!(queue.waiting(), Waiting { events: 4096, dropped: 1 });
        for action in ["revoked", "reuse", "evicted", "repaired", "everybody_revoked"] {
            queue.add(event(action));
        }
        assert_eq!(queue.waiting(), Waiting { events: 4101, dropped: 1 });
        (0..MAX_EVENTS_PER_BUCKET).for_each(|_| queue.add(event("revoked")));
        assert_eq!(queue.waiting(), Waiting { events: 8192, dropped: 6 });
        // Still full: nothing is told.
        let first = handles(queue.claim("a", 4096, LONG, [9; 16], 5));
        assert_eq!(queue.dropped, 6);
        queue.acknowledge(first);
        let rest = queue.claim("a", 9999, LONG, [9; 16], 5);
        assert_eq!((rest.len(), queue.dropped), (4096, 6));
        queue.acknowledge([8192]);
        let told = queue.claim("a", 9999, LONG, [9; 16], 5).pop().unwrap().1;
        assert_eq!(told, tale_of(6, [9; 16], 5));
        assert_eq!(queue.waiting(), Waiting { events: 4096, dropped: 0 });
    }
}
