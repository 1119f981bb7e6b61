//! Who serves which slot of a Cluster, as its nodes see it. No I/O.

use std::ops::RangeInclusive;

use redis_protocol::resp3::types::OwnedFrame;

use super::wire::{Address, elements, number, text};

/// Number of slots.
const SLOTS: u16 = 16_384;
/// Most ranges of one answer that are looked at.
const MAX_RANGES: usize = SLOTS as usize;

/// A primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) id: String,
    pub(super) address: Address,
}

/// What one node answers to `CLUSTER SLOTS`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    ranges: Vec<(RangeInclusive<u16>, Owner)>,
}

impl View {
    /// Reads an answer of the node at `asked`; `None` when it is none.
    pub(super) fn parse(frame: &OwnedFrame, asked: &Address) -> Option<Self> {
        let OwnedFrame::Array { data, .. } = frame else { return None };
        let ranges = data.iter().take(MAX_RANGES).map(|range| parse_range(range, asked));
        Some(Self { ranges: ranges.collect::<Option<_>>()? })
    }

    #[cfg(test)]
    pub(super) fn of(ranges: &[(u16, u16, &str)], address: impl Fn(&str) -> Address) -> Self {
        let range = |&(first, last, id): &(u16, u16, &str)| {
            (first..=last, Owner { id: id.to_owned(), address: address(id) })
        };
        Self { ranges: ranges.iter().map(range).collect() }
    }

    /// Every primary that serves a slot, each once.
    pub(super) fn owners(&self) -> Vec<&Owner> {
        let mut owners: Vec<&Owner> = Vec::new();
        for (_, owner) in &self.ranges {
            if !owners.iter().any(|known| known.id == owner.id) {
                owners.push(owner);
            }
        }
        owners
    }

    /// Whether a node serves any slot.
    pub(super) fn serves(&self, id: &str) -> bool {
        self.ranges.iter().any(|(_, owner)| owner.id == id)
    }
}

/// First slot, last slot, primary, replicas; a node is host, port, id, and more since Redis 7.
fn parse_range(frame: &OwnedFrame, asked: &Address) -> Option<(RangeInclusive<u16>, Owner)> {
    let [first, last, primary, ..] = elements(frame) else { return None };
    let [host, port, id, ..] = elements(primary) else { return None };
    // A node that does not know its own name leaves it out: it is the one that was asked.
    let host = match text(host) {
        Some(host) if !host.is_empty() && host != "?" => host.to_owned(),
        _ => asked.0.clone(),
    };
    let owner = Owner { id: text(id)?.to_owned(), address: (host, number(port)?) };
    let (first, last) = (number(first)?, number(last)?);
    (first <= last && last < SLOTS).then_some((first..=last, owner))
}

/// Whether every slot is served by one of these nodes, each by its own word, and none of them
/// knows of a primary that is not among them.
pub(super) fn is_covered<'a>(nodes: impl Iterator<Item = (&'a str, &'a View)> + Clone) -> bool {
    let is_standing = |id: &str| nodes.clone().any(|(node, _)| node == id);
    let mut mentioned = nodes.clone().flat_map(|(_, view)| view.owners());
    if !mentioned.all(|owner| is_standing(&owner.id)) {
        return false;
    }
    let mut ranges: Vec<&RangeInclusive<u16>> = nodes
        .flat_map(|(id, view)| view.ranges.iter().map(move |range| (id, range)))
        .filter(|(id, (_, owner))| owner.id == *id)
        .map(|(_, (range, _))| range)
        .collect();
    ranges.sort_unstable_by_key(|range| *range.start());
    let mut next = 0;
    for range in ranges {
        if *range.start() > next {
            return false;
        }
        next = next.max(range.end() + 1);
    }
    next == SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(id: &str) -> Owner {
        Owner { id: id.to_owned(), address: (format!("host-{id}"), 1) }
    }

    fn view(ranges: &[(u16, u16, &str)]) -> View {
        View::of(ranges, |id| owner(id).address)
    }

    #[test]
    fn all_slots_by_the_owners_own_word() {
        let whole = view(&[(0, 99, "a"), (100, 16_383, "b")]);
        let covered = |nodes: &[(&'static str, &View)]| is_covered(nodes.iter().copied());
        assert!(covered(&[("a", &whole), ("b", &whole)]));
        assert!(!covered(&[("a", &whole)]), "one is missing");
        assert!(!covered(&[]));
        // What a says of b does not count, and b says it has less.
        let less = view(&[(0, 99, "a"), (101, 16_383, "b")]);
        assert!(!covered(&[("a", &whole), ("b", &less)]));
        let end = view(&[(0, 99, "a"), (100, 16_382, "b")]);
        assert!(!covered(&[("a", &whole), ("b", &end)]));
        // While a slot moves two may claim it.
        let more = view(&[(50, 16_383, "b"), (0, 49, "a")]);
        assert!(covered(&[("a", &whole), ("b", &more)]));
        // Somebody knows of a third one.
        let third = view(&[(0, 99, "c"), (100, 16_383, "b")]);
        assert!(!covered(&[("a", &whole), ("b", &third)]));
        assert!(covered(&[("a", &whole), ("b", &third), ("c", &third)]));
    }

    #[test]
    fn owners_are_named_once() {
        let view = view(&[(0, 1, "a"), (2, 3, "b"), (4, 5, "a")]);
        assert_eq!(view.owners(), [&owner("a"), &owner("b")]);
        assert!(view.serves("b") && !view.serves("c"));
    }

    fn number_of(data: i64) -> OwnedFrame {
        OwnedFrame::Number { data, attributes: None }
    }

    fn string(data: &str) -> OwnedFrame {
        OwnedFrame::BlobString { data: data.into(), attributes: None }
    }

    fn list(data: Vec<OwnedFrame>) -> OwnedFrame {
        OwnedFrame::Array { data, attributes: None }
    }

    #[test]
    fn answers_are_read_with_and_without_a_host() {
        let asked = ("asked".to_owned(), 9);
        let range = |host, first, last| {
            let node = list(vec![host, number_of(7000), string("id"), list(vec![])]);
            list(vec![list(vec![number_of(first), number_of(last), node.clone(), node])])
        };
        let parsed = |frame: &OwnedFrame| View::parse(frame, &asked);
        let found = parsed(&range(string("10.0.0.1"), 0, 5)).unwrap();
        let expected = Owner { id: "id".into(), address: ("10.0.0.1".into(), 7000) };
        assert_eq!(found.owners(), [&expected]);
        for host in [OwnedFrame::Null, string(""), string("?")] {
            let found = parsed(&range(host, 0, 5)).unwrap();
            assert_eq!(found.owners()[0].address, ("asked".to_owned(), 7000));
        }
        assert_eq!(parsed(&list(vec![])), Some(View::default()));
        assert_eq!(parsed(&OwnedFrame::Null), None);
        assert_eq!(parsed(&range(string("h"), 5, 4)), None);
        assert_eq!(parsed(&range(string("h"), 0, 16_384)), None);
        assert_eq!(parsed(&range(string("h"), -1, 4)), None);
        assert_eq!(parsed(&list(vec![number_of(1)])), None);
    }
}
