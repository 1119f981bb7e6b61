//! Zone maps: what an object of the archive may hold, so that a query reads few of them.
//!
//! Pure: the same lines give the same bytes, and verification makes the map again and compares.

mod bloom;

use hashbrown::HashSet;
use serde::{Deserialize, Serialize};
use watchdog_core::audit::{Actor, Outcome};

use crate::entry::Line;
use crate::personal::SubjectHandle;
use bloom::token;

pub use bloom::{BloomFilter, MAX_FILTER_BYTES};

const OUTCOMES: [Outcome; 4] =
    [Outcome::Success, Outcome::Denied, Outcome::Failure, Outcome::Unknown];

/// What an object of the archive may hold besides its category and its times.
///
/// A filter that says no is right; one that says yes may be wrong. Actors that are sealed stand
/// in it by their handle, and no filter has any value in the clear. [`format`](mod@crate::format)
/// says how to ask it. Four filters of at most [`MAX_FILTER_BYTES`] bound the map of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneMap {
    /// The outcomes there are: success, denied, failure, unknown, in this order.
    pub outcomes: Vec<Outcome>,
    /// Actors by kind and id, or by handle when they are sealed.
    pub actors: BloomFilter,
    /// Actions.
    pub actions: BloomFilter,
    /// Resources by kind, and by kind and id.
    pub resources: BloomFilter,
    /// Ids of requests.
    pub requests: BloomFilter,
    /// Whether the filters are no longer in memory: then they deny nothing.
    #[serde(skip)]
    is_forgotten: bool,
}

/// The distinct values of the lines so far.
#[derive(Debug, Default)]
pub(crate) struct ZoneBuilder {
    outcomes: [bool; OUTCOMES.len()],
    actors: Distinct,
    actions: Distinct,
    resources: Distinct,
    requests: Distinct,
}

impl ZoneBuilder {
    /// Takes the next line.
    pub(crate) fn push(&mut self, line: &Line) {
        for (seen, outcome) in self.outcomes.iter_mut().zip(OUTCOMES) {
            *seen |= outcome == line.outcome;
        }
        match (&line.sealed, &line.actor.id) {
            (Some(sealed), _) => self.actors.insert(&[sealed.subject.as_str()]),
            (None, Some(id)) => self.actors.insert(&[&line.actor.kind, id]),
            (None, None) => {}
        }
        self.actions.insert(&[&line.action]);
        self.resources.insert(&[&line.resource.kind]);
        self.resources.insert(&[&line.resource.kind, &line.resource.id]);
        if let Some(request) = &line.request_id {
            self.requests.insert(&[request]);
        }
    }

    /// The map of everything that was taken.
    pub(crate) fn finish(&self) -> ZoneMap {
        let outcomes = OUTCOMES.into_iter().zip(self.outcomes);
        ZoneMap {
            outcomes: outcomes.filter_map(|(outcome, seen)| seen.then_some(outcome)).collect(),
            actors: self.actors.filter(),
            actions: self.actions.filter(),
            resources: self.resources.filter(),
            requests: self.requests.filter(),
            is_forgotten: false,
        }
    }
}

impl ZoneMap {
    /// The bytes its filters take in memory.
    pub(crate) fn size(&self) -> usize {
        [&self.actors, &self.actions, &self.resources, &self.requests]
            .iter()
            .map(|filter| filter.size())
            .sum()
    }

    /// Gives the memory of the filters back: from then on they deny nothing.
    pub(crate) fn forget(&mut self) {
        let outcomes = std::mem::take(&mut self.outcomes);
        *self = Self { outcomes, is_forgotten: true, ..Self::default() };
    }

    /// Whether a sealed actor may be there.
    pub(crate) fn may_hold_handle(&self, handle: &SubjectHandle) -> bool {
        self.is_forgotten || self.actors.may_hold(&token(&[handle.as_str()]))
    }

    /// Whether an actor in the clear may be there.
    pub(crate) fn may_hold_actor(&self, actor: &Actor) -> bool {
        self.is_forgotten || self.actors.may_hold(&token(&[&actor.kind, &actor.id]))
    }

    /// Whether an action may be there.
    pub(crate) fn may_hold_action(&self, action: &str) -> bool {
        self.is_forgotten || self.actions.may_hold(&token(&[action]))
    }

    /// Whether a resource may be there: of a kind, or the one with an id.
    pub(crate) fn may_hold_resource(&self, kind: &str, id: Option<&str>) -> bool {
        let token = id.map_or_else(|| token(&[kind]), |id| token(&[kind, id]));
        self.is_forgotten || self.resources.may_hold(&token)
    }

    /// Whether an entry of a request may be there.
    pub(crate) fn may_hold_request(&self, request: &str) -> bool {
        self.is_forgotten || self.requests.may_hold(&token(&[request]))
    }

    /// Whether an entry with an outcome is there.
    pub(crate) fn holds_outcome(&self, outcome: Outcome) -> bool {
        self.outcomes.contains(&outcome)
    }
}

/// Distinct values, each hashed once.
#[derive(Debug, Default)]
struct Distinct {
    values: HashSet<Vec<u8>>,
    /// Where the next value is put together.
    scratch: Vec<u8>,
    /// The value before: many are the same as that.
    last: Vec<u8>,
}

impl Distinct {
    fn insert(&mut self, parts: &[&str]) {
        self.scratch.clear();
        bloom::spell(parts, &mut self.scratch);
        if self.scratch == self.last && !self.values.is_empty() {
            return;
        }
        self.values.get_or_insert_with(self.scratch.as_slice(), <[u8]>::to_vec);
        std::mem::swap(&mut self.scratch, &mut self.last);
    }

    fn filter(&self) -> BloomFilter {
        let mut filter = BloomFilter::for_values(self.values.len());
        // The order does not matter: bits are only set.
        self.values.iter().for_each(|value| filter.insert(&bloom::hash(value)));
        filter
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Place;
    use crate::writer_id::WriterId;
    use uuid::Uuid;
    use watchdog_core::Timestamp;
    use watchdog_core::audit::{Category, Entry, Resource};

    fn line(n: u64) -> Line<'static> {
        let place = Place {
            writer: WriterId::from_bytes([7; 16]),
            sequence: n,
            recorded_at: Timestamp::UNIX_EPOCH,
        };
        let entry = Entry::new(
            Uuid::from_u128(u128::from(n)),
            Timestamp::UNIX_EPOCH,
            Category::Access,
            Actor::user(format!("user-{n}")),
            "file.read",
            Resource::new("file", n.to_string()),
        )
        .with_outcome(if n == 3 { Outcome::Denied } else { Outcome::Success })
        .with_request_id(format!("request-{n}"));
        Line::plain(place, entry)
    }

    fn map(numbers: impl IntoIterator<Item = u64>) -> ZoneMap {
        let mut builder = ZoneBuilder::default();
        numbers.into_iter().for_each(|n| builder.push(&line(n)));
        builder.finish()
    }

    #[test]
    fn everything_that_is_there_is_found_and_most_of_the_rest_is_not() {
        let map = map(1..=200);
        for n in 1..=200 {
            assert!(map.may_hold_actor(&Actor::user(format!("user-{n}"))));
            assert!(map.may_hold_resource("file", Some(&n.to_string())));
            assert!(map.may_hold_request(&format!("request-{n}")));
        }
        assert!(map.may_hold_action("file.read") && map.may_hold_resource("file", None));
        let wrong = (1000..2000).filter(|n| map.may_hold_request(&format!("request-{n}"))).count();
        assert!(wrong < 30, "{wrong} of 1000");
        assert!(!map.may_hold_action("file.written") && !map.may_hold_resource("session", None));
    }

    #[test]
    fn outcomes_are_exact_and_in_their_order() {
        assert_eq!(map([3, 1]).outcomes, [Outcome::Success, Outcome::Denied]);
        assert!(!map([1]).holds_outcome(Outcome::Denied));
    }

    #[test]
    fn what_is_forgotten_denies_nothing_and_takes_no_memory() {
        let mut map = map(1..=100);
        assert!(map.size() > 300 && !map.may_hold_action("x"));
        map.forget();
        assert_eq!(map.size(), 0);
        assert!(map.may_hold_action("x") && map.may_hold_request("x"));
        assert!(map.may_hold_actor(&Actor::user("x")) && map.may_hold_resource("x", None));
        assert!(map.may_hold_handle(&SubjectHandle::from_bytes(&[0; 16])));
        assert!(!map.holds_outcome(Outcome::Failure));
    }

    #[test]
    fn the_order_of_the_lines_does_not_matter_to_the_bytes() {
        let encoded = |map: &ZoneMap| serde_json::to_string(map).unwrap();
        assert_eq!(encoded(&map(1..=100)), encoded(&map((1..=100).rev())));
    }

    #[test]
    fn a_map_of_one_line_stays_as_it_is() {
        // Computed by a script that knows the format and none of this code.
        assert_eq!(
            serde_json::to_string(&map([1])).unwrap(),
            "{\"outcomes\":[\"success\"],\"actors\":{\"positions\":7,\"bits\":\"QAgAIASAEAI\"},\
             \"actions\":{\"positions\":7,\"bits\":\"GAADIAAEgAA\"},\"resources\":{\"positions\
             \":7,\"bits\":\"IhiDiABBECA\"},\"requests\":{\"positions\":7,\"bits\":\"AAFIAAKAAC\
             Q\"}}"
        );
    }
}
