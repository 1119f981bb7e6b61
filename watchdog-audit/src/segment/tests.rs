use super::*;

const LIMITS: SegmentLimits = SegmentLimits { max_bytes: 100, max_age: Duration::from_secs(10) };

fn mark(last: u64) -> HighWater {
    HighWater { last, checksum: [7; 16] }
}

fn request(number: u64, first: u64, count: u64) -> AppendRequest {
    AppendRequest { number, writer: WriterId::from_bytes([1; 16]), first, count, bytes: 40 }
}

fn proof(token: u64) -> ArchiveProof {
    ArchiveProof {
        missing: 0,
        entries: 3,
        frames: 1,
        last: None,
        token,
        manifest: ManifestRef { number: 1, sha256: "0".repeat(64) },
        ttl: Duration::from_secs(60),
        holds: Uuid::nil(),
        is_held: false,
    }
}

#[test]
fn a_replayed_frame_changes_nothing() {
    let mut partition = Partition::default();
    partition.append(request(1, 1, 3), mark(0), LIMITS, 1000);
    let before = partition.clone();
    let replay = partition.append(request(1, 1, 3), mark(3), LIMITS, 2000);
    assert_eq!((replay, partition), (Appended::Duplicate { high_water: mark(3) }, before));
}

#[test]
fn a_gap_and_an_overlap_are_refused() {
    let mut partition = Partition::default();
    for first in [3, 5] {
        let refused = partition.append(request(1, first, 3), mark(3), LIMITS, 0);
        assert_eq!(refused, Appended::OutOfOrder { high_water: 3 });
    }
    assert_eq!(partition, Partition::default());
}

#[test]
fn a_segment_is_due_by_size_or_age() {
    let due = |partition: &mut Partition, first, now| match partition.append(
        request(1, first, 1),
        mark(first - 1),
        LIMITS,
        now,
    ) {
        Appended::Stored { is_due, .. } => is_due,
        other => panic!("{other:?}"),
    };
    let mut by_size = Partition::default();
    assert_eq!([due(&mut by_size, 1, 0), due(&mut by_size, 2, 0)], [false, false]);
    assert!(due(&mut by_size, 3, 0));
    let mut by_age = Partition::default();
    assert!(!due(&mut by_age, 1, 5_000));
    assert!(due(&mut by_age, 2, 15_000));
}

#[test]
fn frame_ids_grow_when_the_clock_goes_back() {
    let mut partition = Partition::default();
    partition.append(request(1, 1, 1), mark(0), LIMITS, 5_000);
    let appended = partition.append(request(1, 2, 1), mark(1), LIMITS, 1_000);
    let Appended::Stored { frame, .. } = appended else { panic!("{appended:?}") };
    assert_eq!(frame, FrameId { millis: 5_000, number: 2 });
}

#[test]
fn an_empty_segment_is_not_sealed() {
    let mut partition = Partition::default();
    assert_eq!(partition.seal(1, None), (Sealing::Empty, None));
    partition.append(request(1, 1, 3), mark(0), LIMITS, 0);
    let (sealing, sealed) = partition.seal(1, None);
    assert!(matches!(sealed, Some(Sealed::Waits(Totals { entries: 3, .. }))));
    assert_eq!(sealing, Sealing::Sealed);
    assert_eq!(partition.seal(1, None), (Sealing::AlreadySealed, None));
    assert_eq!(partition.seal(2, None), (Sealing::Empty, None));
    let late = partition.append(request(1, 4, 1), mark(3), LIMITS, 0);
    assert_eq!(late, Appended::NotOpen { open: 2 });
}

#[test]
fn the_gate_asks_for_a_sealed_segment_the_right_counts_and_the_newest_token() {
    let mut partition = Partition::default();
    partition.append(request(1, 1, 3), mark(0), LIMITS, 7_000);
    assert_eq!(partition.gate(1, None, 1, &proof(2)), Gate::NotSealed);
    let (_, sealed) = partition.seal(1, None);
    let Some(Sealed::Waits(totals)) = sealed else { panic!("{sealed:?}") };
    let totals = Some(totals);
    assert_eq!(partition.gate(1, totals, 1, &proof(1)), Gate::Fenced { newest: 2 });
    assert_eq!(partition.gate(1, totals, 0, &proof(2)), Gate::Mismatch);
    let wrong = ArchiveProof { entries: 2, ..proof(2) };
    assert_eq!(partition.gate(1, totals, 1, &wrong), Gate::Mismatch);
    assert_eq!(partition.head, None);
    assert_eq!(partition.gate(1, totals, 1, &proof(2)), Gate::Archived { expires_at: 67_000 });
    assert_eq!(partition.gate(1, None, 1, &proof(2)), Gate::AlreadyArchived);
    assert_eq!(partition.head.map(|head| head.number), Some(1));
}

#[test]
fn the_gate_asks_for_the_newest_holds_and_gives_a_held_segment_no_life() {
    let mut partition = Partition { holds: Uuid::from_u128(2), ..Partition::default() };
    partition.append(request(1, 1, 3), mark(0), LIMITS, 7_000);
    let (_, sealed) = partition.seal(1, None);
    let Some(Sealed::Waits(totals)) = sealed else { panic!("{sealed:?}") };
    assert_eq!(partition.gate(1, Some(totals), 1, &proof(2)), Gate::HoldsChanged);
    assert_eq!(partition.head, None, "nothing was done");
    let held = ArchiveProof { holds: partition.holds, is_held: true, ..proof(2) };
    assert_eq!(partition.gate(1, Some(totals), 1, &held), Gate::Held);
    assert_eq!(partition.head.as_ref().map(|head| head.number), Some(1));
    let free = ArchiveProof { is_held: false, ..held };
    assert_eq!(partition.gate(1, Some(totals), 1, &free), Gate::Archived { expires_at: 67_000 });
}

#[test]
fn a_held_segment_gets_the_life_it_would_have_had() {
    let holds = Uuid::from_u128(2);
    let partition = Partition { holds, ..Partition::default() };
    let ttl = Duration::from_secs(60);
    let resumed = partition.resume(Some(7_000), ttl, holds);
    assert_eq!(resumed, Resuming::Resumed { expires_at: 67_000 });
    assert_eq!(partition.resume(None, ttl, holds), Resuming::NotHeld);
    assert_eq!(partition.resume(Some(7_000), ttl, Uuid::nil()), Resuming::HoldsChanged);
}

#[test]
fn a_life_is_given_only_while_nobody_archives() {
    let ttl = Some(Duration::from_secs(60));
    let mut partition = Partition::default();
    partition.append(request(1, 1, 3), mark(0), LIMITS, 7_000);
    assert_eq!(partition.seal(1, ttl).1, Some(Sealed::Expires { at: 67_000 }));
    assert_eq!(partition.unarchived, 1);
    partition.raise_fence(1);
    partition.append(request(2, 4, 1), mark(3), LIMITS, 8_000);
    assert!(matches!(partition.seal(2, ttl).1, Some(Sealed::Waits(_))));
    assert_eq!(partition.unarchived, 1);
}

#[test]
fn the_fence_only_rises() {
    let mut partition = Partition::default();
    assert_eq!(partition.raise_fence(3), 3);
    assert_eq!(partition.raise_fence(2), 3);
}

#[test]
fn references_read_back() {
    let reference = ManifestRef { number: 7, sha256: "ab".repeat(32) };
    assert_eq!(reference.to_string().parse::<ManifestRef>().unwrap(), reference);
    assert!("7:xyz".parse::<ManifestRef>().is_err());
    let frame = FrameId { millis: 5, number: 6 };
    assert_eq!(frame.to_string().parse::<FrameId>().unwrap(), frame);
    assert!("5".parse::<FrameId>().is_err());
}
