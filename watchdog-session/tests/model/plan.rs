//! What is done, at random.

use std::collections::BTreeMap;

use proptest::prelude::*;
use watchdog_session::LimitPolicy;

pub(crate) const NAMES: [&str; 3] = ["cart", "theme", "seen"];

#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Create {
        slot: u8,
        state: State,
    },
    Touch {
        slot: u8,
        interval: u64,
    },
    Rotate(Rotation),
    Revoke {
        slot: u8,
    },
    Regenerate {
        slot: u8,
        is_reauthentication: bool,
        is_unfit: bool,
    },
    /// `back`: asserted again, up to so long ago.
    RevokeAll {
        slot: u8,
        is_kept: bool,
        back: Option<u64>,
    },
    RevokeEverybody,
    Update {
        slot: u8,
        change: AttributeChange,
    },
    Report {
        slot: u8,
    },
    Repeat {
        back: usize,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) age: u64,
    /// How long ago it was used; negative after a failover to a slower clock.
    pub(crate) unused: i64,
    pub(crate) expired: bool,
    pub(crate) generation: u32,
    pub(crate) rotated_age: u64,
    pub(crate) grace_used: u16,
    pub(crate) newer_version: bool,
    pub(crate) flags: u8,
}

#[derive(Clone, Debug)]
pub(crate) struct Rotation {
    pub(crate) slot: u8,
    pub(crate) generation: u32,
    pub(crate) stranger: u8,
    pub(crate) family: u8,
    pub(crate) grace: u64,
    pub(crate) rotate: bool,
    pub(crate) made: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct AttributeChange {
    pub(crate) names: BTreeMap<usize, Option<u8>>,
    pub(crate) clear: bool,
    /// Expect what stands, something else, or nothing; of the whole, and of each attribute.
    pub(crate) whole: Option<bool>,
    pub(crate) each: Option<bool>,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) limit: u32,
    pub(crate) policy: LimitPolicy,
    pub(crate) operations: Vec<Operation>,
}

pub(crate) fn pick<T: Clone + std::fmt::Debug + 'static>(
    values: &[T],
) -> impl Strategy<Value = T> + use<T> {
    prop::sample::select(values.to_vec())
}

pub(crate) fn state() -> impl Strategy<Value = State> {
    let lineage = (0..6_u32, pick(&[0, 5000, 12_000, 20_000]), pick(&[0, 63, 64]));
    (
        pick(&[0, 0, 1, 2000, 90_000]),
        pick(&[0, 0, 1, 5000, -60_000]),
        prop::bool::weighted(0.1),
        lineage,
        prop::bool::weighted(0.05),
        pick(&[0, 0, 2, 4, 6, 0xf8]),
    )
        .prop_map(|(age, unused, expired, lineage, newer_version, flags)| {
            let (generation, rotated_age, grace_used) = lineage;
            State {
                age,
                unused,
                expired,
                generation,
                rotated_age,
                grace_used,
                newer_version,
                flags,
            }
        })
}

pub(crate) fn rotation() -> impl Strategy<Value = Rotation> {
    (
        0..4_u8,
        0..16_u32,
        pick(&[0, 0, 0, 1, 2, 3, 4]),
        pick(&[0, 4, 6]),
        pick(&[0, 10_000, 10_000]),
        prop::bool::weighted(0.9),
        prop::option::of(pick(&[0, 100, 5_000, 9_000, 30_000])),
    )
        .prop_map(|(slot, generation, stranger, family, grace, rotate, made)| Rotation {
            slot,
            generation,
            stranger,
            family,
            grace,
            rotate,
            made,
        })
}

pub(crate) fn attribute_change() -> impl Strategy<Value = AttributeChange> {
    (
        prop::collection::btree_map(0..NAMES.len(), prop::option::of(any::<u8>()), 0..3),
        prop::bool::weighted(0.1),
        prop::option::weighted(0.2, any::<bool>()),
        prop::option::weighted(0.5, prop::bool::weighted(0.8)),
    )
        .prop_map(|(names, clear, whole, each)| AttributeChange { names, clear, whole, each })
}

pub(crate) fn plan() -> impl Strategy<Value = Plan> {
    let slot = || 0..4_u8;
    let one = prop_oneof![
        6 => (slot(), state()).prop_map(|(slot, state)| Operation::Create { slot, state }),
        2 => (slot(), pick(&[0, 1_000_000]))
            .prop_map(|(slot, interval)| Operation::Touch { slot, interval }),
        8 => rotation().prop_map(Operation::Rotate),
        2 => slot().prop_map(|slot| Operation::Revoke { slot }),
        3 => (slot(), any::<bool>(), prop::bool::weighted(0.1)).prop_map(
            |(slot, is_reauthentication, is_unfit)| {
                Operation::Regenerate { slot, is_reauthentication, is_unfit }
            }
        ),
        2 => (slot(), any::<bool>(), prop::option::of(pick(&[0, 1, 1000, 3000])))
            .prop_map(|(slot, is_kept, back)| Operation::RevokeAll { slot, is_kept, back }),
        1 => Just(Operation::RevokeEverybody),
        6 => (slot(), attribute_change())
            .prop_map(|(slot, change)| Operation::Update { slot, change }),
        1 => slot().prop_map(|slot| Operation::Report { slot }),
        5 => (0..6_usize).prop_map(|back| Operation::Repeat { back }),
    ];
    let policy =
        pick(&[LimitPolicy::EvictOldest, LimitPolicy::EvictLeastRecentlyUsed, LimitPolicy::Reject]);
    (1..4_u32, policy, prop::collection::vec(one, 1..40))
        .prop_map(|(limit, policy, operations)| Plan { limit, policy, operations })
}
