//! The conformance suites every [`SegmentStore`] and every key vault runs (feature `testing`).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a suite states what it expects")]

mod key_vault;

use std::time::Duration;

use uuid::Uuid;
use watchdog_core::Timestamp;
use watchdog_core::audit::{Actor, Category, Entry, Resource};

use crate::entry::{Line, Place};
use crate::frame::Frame;
use crate::segment::{
    Appended, ArchiveProof, Expiry, FrameId, Gate, HighWater, ManifestRef, Resuming, Sealing,
    SegmentId, SegmentLimits,
};
use crate::store::SegmentStore;
use crate::writer_id::WriterId;

pub use key_vault::key_vault;

/// Limits that no test reaches by accident.
pub const WIDE: SegmentLimits =
    SegmentLimits { max_bytes: 64 * 1024 * 1024, max_age: Duration::from_secs(3600) };

const TTL: Duration = Duration::from_secs(3600);

/// A frame of small entries.
///
/// # Panics
///
/// When `count` is more than a frame takes.
pub fn frame(writer: WriterId, first: u64, count: u64) -> Frame {
    let recorded_at = Timestamp::UNIX_EPOCH;
    let mut frame = Frame::new(writer, first);
    for sequence in first..first + count {
        let entry = Entry::new(
            Uuid::from_u128(u128::from(sequence)),
            recorded_at,
            Category::Application,
            Actor::user("alice"),
            "note.written",
            Resource::new("note", sequence.to_string()),
        );
        let line = Line::plain(Place { writer, sequence, recorded_at }, entry);
        frame.push(&line.encode().unwrap(), 0).unwrap();
    }
    frame
}

/// A proof as the archiver gives it.
pub fn proof(entries: u64, frames: u64, token: u64, manifest: u64) -> ArchiveProof {
    let manifest = ManifestRef { number: manifest, sha256: "ab".repeat(32) };
    let holds = Uuid::nil();
    ArchiveProof {
        entries,
        frames,
        missing: 0,
        last: None,
        token,
        manifest,
        ttl: TTL,
        holds,
        is_held: false,
    }
}

/// Holds an empty store against the contract of [`SegmentStore`], in partition 0.
///
/// # Panics
///
/// When the store does not keep the contract.
pub async fn conformance(store: &dyn SegmentStore) {
    assert!(store.partitions() >= 1);
    store.preflight().await.unwrap();
    store.ping().await.unwrap();
    let [zeroth, first, second, third] =
        [1, 2, 3, 4].map(|number| SegmentId { partition: 0, number });
    assert_eq!(store.expiry(zeroth).await.unwrap(), Expiry::Missing);
    without_an_archive_sealing_gives_a_life(store, zeroth, first).await;
    appends_in_order(store, first).await;
    sealing_opens_the_next(store, first, second).await;
    the_gate_decides_about_life(store, first, second).await;
    where_somebody_archives_sealing_gives_no_life(store, second, third).await;
    the_fence_only_rises(store).await;
    holds_take_lives_and_give_them_back(store, first, second, third).await;
    the_lease_has_one_holder(store).await;
    archived_entries_are_passed_over(store).await;
    writers_are_forgotten_up_to_what_is_archived(store).await;
}

async fn stored(store: &dyn SegmentStore, segment: SegmentId, frame: &Frame) -> FrameId {
    match store.append(segment, frame, WIDE).await.unwrap() {
        Appended::Stored { frame, is_due } => {
            assert!(!is_due);
            frame
        }
        other => panic!("{other:?}"),
    }
}

async fn appends_in_order(store: &dyn SegmentStore, open: SegmentId) {
    let [alice, bob] = [1, 2].map(|byte| WriterId::from_bytes([byte; 16]));
    let seal = store.seal(open, None).await.unwrap();
    assert_eq!(seal, Sealing::Empty, "an empty segment is not sealed");
    let one = stored(store, open, &frame(alice, 1, 3)).await;
    let two = stored(store, open, &frame(bob, 1, 1)).await;
    let three = stored(store, open, &frame(alice, 4, 2)).await;
    assert_eq!([one.number, two.number, three.number], [2, 3, 4]);
    assert!(one < two && two < three);
    let high_water = HighWater { last: 5, checksum: frame(alice, 4, 2).checksum() };
    for (first, count) in [(1, 3), (4, 2), (2, 1), (5, 1)] {
        let replay = store.append(open, &frame(alice, first, count), WIDE).await.unwrap();
        assert_eq!(replay, Appended::Duplicate { high_water }, "a replay changes nothing");
    }
    for (first, count) in [(7, 1), (5, 2)] {
        let refused = store.append(open, &frame(alice, first, count), WIDE).await.unwrap();
        assert_eq!(refused, Appended::OutOfOrder { high_water: 5 }, "a gap or an overlap");
    }
    let ahead = SegmentId { number: 3, ..open };
    let refused = store.append(ahead, &frame(alice, 6, 1), WIDE).await.unwrap();
    assert_eq!(refused, Appended::NotOpen { open: 2 });
    let due = SegmentLimits { max_bytes: 1, ..WIDE };
    let appended = store.append(open, &frame(alice, 6, 1), due).await.unwrap();
    assert!(matches!(appended, Appended::Stored { is_due: true, .. }), "{appended:?}");

    let first_page = store.frames(open, None, 3).await.unwrap();
    let last_page = store.frames(open, first_page.last().map(|(id, _)| *id), 3).await.unwrap();
    let frames: Vec<_> =
        first_page.iter().chain(&last_page).map(|(_, frame)| frame.clone()).collect();
    let written = [frame(alice, 1, 3), frame(bob, 1, 1), frame(alice, 4, 2), frame(alice, 6, 1)];
    assert_eq!(frames, written, "what is read is what was written");
    let held = store.partition(0).await.unwrap();
    assert_eq!((held.open, held.totals.entries, held.totals.frames), (2, 7, 4));
    assert_eq!(
        held.totals.bytes,
        written.iter().map(|frame| frame.encode().len() as u64).sum::<u64>()
    );
    assert_eq!(store.expiry(open).await.unwrap(), Expiry::Never);
}

async fn sealing_opens_the_next(store: &dyn SegmentStore, first: SegmentId, second: SegmentId) {
    let writer = WriterId::from_bytes([1; 16]);
    assert_eq!(store.mark_archived(first, &proof(7, 4, 1, 1)).await.unwrap(), Gate::NotSealed);
    assert_eq!(store.seal(first, None).await.unwrap(), Sealing::Sealed);
    assert_eq!(store.seal(first, None).await.unwrap(), Sealing::AlreadySealed);
    let late = store.append(first, &frame(writer, 7, 1), WIDE).await.unwrap();
    assert_eq!(late, Appended::NotOpen { open: 3 });
    stored(store, second, &frame(writer, 7, 1)).await;
    let sealed = store.sealed(0).await.unwrap();
    assert_eq!(sealed.len(), 1);
    assert_eq!((sealed[0].0, sealed[0].1.entries, sealed[0].1.frames), (2, 7, 4));
    assert_eq!(store.expiry(first).await.unwrap(), Expiry::Never, "sealed is not archived");
}

async fn the_gate_decides_about_life(
    store: &dyn SegmentStore,
    first: SegmentId,
    second: SegmentId,
) {
    let refused = [
        (proof(6, 4, 5, 1), Gate::Mismatch),
        (proof(7, 3, 5, 1), Gate::Mismatch),
        (proof(7, 4, 4, 1), Gate::Fenced { newest: 5 }),
    ];
    for (proof, gate) in refused {
        assert_eq!(store.mark_archived(first, &proof).await.unwrap(), gate);
        assert_eq!(store.expiry(first).await.unwrap(), Expiry::Never, "a refusal gives no life");
    }
    let passed = store.mark_archived(first, &proof(7, 4, 5, 1)).await.unwrap();
    let Gate::Archived { expires_at } = passed else { panic!("{passed:?}") };
    let Expiry::InMillis(left) = store.expiry(first).await.unwrap() else { panic!("no life") };
    let ttl = u64::try_from(TTL.as_millis()).unwrap();
    assert!(left <= ttl && left > ttl - 60_000, "the last entry lives exactly the TTL: {left}");
    let frames = store.frames(first, None, 10).await.unwrap();
    let last = frames.last().unwrap().0.millis;
    assert_eq!(expires_at, last + ttl);
    let again = store.mark_archived(first, &proof(7, 4, 5, 1)).await.unwrap();
    assert_eq!(again, Gate::AlreadyArchived);
    assert!(store.sealed(0).await.unwrap().is_empty());
    assert_eq!(store.partition(0).await.unwrap().head.map(|head| head.number), Some(1));
    assert_eq!(store.expiry(second).await.unwrap(), Expiry::Never, "the open segment stays");
}

async fn without_an_archive_sealing_gives_a_life(
    store: &dyn SegmentStore,
    zeroth: SegmentId,
    first: SegmentId,
) {
    stored(store, zeroth, &frame(WriterId::from_bytes([9; 16]), 1, 1)).await;
    assert_eq!(store.seal(zeroth, Some(TTL)).await.unwrap(), Sealing::Sealed);
    assert!(matches!(store.expiry(zeroth).await.unwrap(), Expiry::InMillis(_)));
    assert!(store.sealed(0).await.unwrap().is_empty());
    assert_eq!(store.seal(zeroth, Some(TTL)).await.unwrap(), Sealing::AlreadySealed);
    assert_eq!(store.seal(first, Some(TTL)).await.unwrap(), Sealing::Empty);
    let held = store.partition(0).await.unwrap();
    assert_eq!((held.open, held.unarchived, held.fence), (2, 1, 0));
}

async fn where_somebody_archives_sealing_gives_no_life(
    store: &dyn SegmentStore,
    second: SegmentId,
    third: SegmentId,
) {
    assert_eq!(store.seal(second, Some(TTL)).await.unwrap(), Sealing::Sealed);
    let expiry = store.expiry(second).await.unwrap();
    assert_eq!(expiry, Expiry::Never, "a caller without an archive shares with one that has one");
    let sealed = store.sealed(0).await.unwrap();
    assert_eq!((sealed.len(), sealed[0].0), (1, second.number), "it waits for the gate");
    assert_eq!(store.seal(third, Some(TTL)).await.unwrap(), Sealing::Empty);
    let held = store.partition(0).await.unwrap();
    assert_eq!((held.open, held.unarchived), (4, 1));
}

async fn holds_take_lives_and_give_them_back(
    store: &dyn SegmentStore,
    first: SegmentId,
    second: SegmentId,
    third: SegmentId,
) {
    let change = Uuid::from_u128(7);
    for _ in 0..2 {
        store.announce_holds(0, change).await.unwrap();
    }
    assert_eq!(store.partition(0).await.unwrap().holds, change);
    let unaware = store.mark_archived(second, &proof(1, 1, 9, 2)).await.unwrap();
    assert_eq!(unaware, Gate::HoldsChanged);
    assert_eq!(store.expiry(second).await.unwrap(), Expiry::Never);
    let held = ArchiveProof { holds: change, is_held: true, ..proof(1, 1, 9, 2) };
    assert_eq!(store.mark_archived(second, &held).await.unwrap(), Gate::Held);
    assert_eq!(store.mark_archived(second, &held).await.unwrap(), Gate::AlreadyArchived);
    assert_eq!(store.expiry(second).await.unwrap(), Expiry::Never, "archived and held");
    assert!(store.sealed(0).await.unwrap().is_empty(), "it does not wait any more");
    assert_eq!(store.partition(0).await.unwrap().head.map(|head| head.number), Some(2));

    let Expiry::InMillis(before) = store.expiry(first).await.unwrap() else { panic!("no life") };
    let all = [first.number, second.number, third.number, 99];
    for _ in 0..2 {
        let suspended = store.suspend_expiry(0, &all).await.unwrap();
        assert_eq!(suspended, [first.number, second.number], "neither open nor missing ones");
        assert_eq!(store.expiry(first).await.unwrap(), Expiry::Never);
    }
    assert_eq!(store.held(0).await.unwrap(), [first.number, second.number]);
    let unaware = store.resume_expiry(first, TTL, Uuid::nil()).await.unwrap();
    assert_eq!(unaware, Resuming::HoldsChanged);
    assert_eq!(store.expiry(first).await.unwrap(), Expiry::Never);
    let last = store.frames(first, None, 10).await.unwrap().last().unwrap().0.millis;
    let expires_at = last + u64::try_from(TTL.as_millis()).unwrap();
    let resumed = store.resume_expiry(first, TTL, change).await.unwrap();
    assert_eq!(resumed, Resuming::Resumed { expires_at });
    let Expiry::InMillis(after) = store.expiry(first).await.unwrap() else { panic!("no life") };
    assert!(after <= before, "the life it would have had: {after} of {before}");
    assert_eq!(store.resume_expiry(first, TTL, change).await.unwrap(), Resuming::NotHeld);
    assert_eq!(store.held(0).await.unwrap(), [second.number]);
}

async fn the_fence_only_rises(store: &dyn SegmentStore) {
    assert_eq!(store.raise_fence(0, 4).await.unwrap(), 5);
    assert_eq!(store.raise_fence(0, 9).await.unwrap(), 9);
    assert_eq!(store.raise_fence(0, 9).await.unwrap(), 9);
    assert_eq!(store.partition(0).await.unwrap().fence, 9);
}

async fn archived_entries_are_passed_over(store: &dyn SegmentStore) {
    let writer = WriterId::from_bytes([8; 16]);
    let open = SegmentId { partition: 0, number: store.partition(0).await.unwrap().open };
    assert_eq!(store.skip(0, writer, 5).await.unwrap(), 5);
    assert_eq!(store.skip(0, writer, 3).await.unwrap(), 5, "a number never falls");
    let early = store.append(open, &frame(writer, 4, 2), WIDE).await.unwrap();
    let high_water = HighWater { last: 5, checksum: [0; 16] };
    assert_eq!(early, Appended::Duplicate { high_water });
    let late = store.append(open, &frame(writer, 7, 1), WIDE).await.unwrap();
    assert_eq!(late, Appended::OutOfOrder { high_water: 5 });
    stored(store, open, &frame(writer, 6, 1)).await;
}

async fn the_lease_has_one_holder(store: &dyn SegmentStore) {
    assert!(store.lease("one", TTL).await.unwrap());
    assert!(store.lease("one", TTL).await.unwrap(), "the holder renews");
    // A store of one process may give it to everybody; one that is shared may not.
    if store.name() != "embedded" {
        assert!(!store.lease("two", TTL).await.unwrap());
    }
    store.release("two").await.unwrap();
    store.release("one").await.unwrap();
    assert!(store.lease("two", TTL).await.unwrap());
    store.release("two").await.unwrap();
}

async fn writers_are_forgotten_up_to_what_is_archived(store: &dyn SegmentStore) {
    let [gone, going_on, unknown] = [21, 22, 23].map(|byte| WriterId::from_bytes([byte; 16]));
    let segment = SegmentId { partition: 0, number: store.partition(0).await.unwrap().open };
    stored(store, segment, &frame(gone, 1, 3)).await;
    stored(store, segment, &frame(going_on, 1, 4)).await;
    let archived = [(gone, 3), (going_on, 3), (unknown, 3)];
    if store.forget(0, &archived).await.unwrap() == 0 {
        // A store may keep them all.
        return;
    }
    assert_eq!(store.forget(0, &archived).await.unwrap(), 0, "the second time nothing changes");
    let late = store.append(segment, &frame(gone, 4, 1), WIDE).await.unwrap();
    assert_eq!(late, Appended::OutOfOrder { high_water: 0 });
    assert_eq!(store.skip(0, gone, 3).await.unwrap(), 3);
    stored(store, segment, &frame(gone, 4, 1)).await;
    stored(store, segment, &frame(going_on, 5, 1)).await;
}
