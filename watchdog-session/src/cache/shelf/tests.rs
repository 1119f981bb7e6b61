use super::*;
use crate::cache::shard::tests::{known, place, token};

/// Long after the shelf was restored.
fn later() -> Instant {
    Instant::now() + SETTLING * 2
}

fn standing(capacity: u32) -> Shelf {
    let shelf = Shelf::new(capacity);
    shelf.restored();
    shelf
}

fn keep(shelf: &Shelf, ticket: Option<Ticket>) -> bool {
    let here = place(1, 1);
    if let Some(ticket) = ticket {
        shelf.keep(&ticket, token(1), &known(here), 100, 0);
    }
    shelf.find(here, &token(1), 0).is_some()
}

fn begin(shelf: &Shelf, at: Instant) -> Option<Ticket> {
    shelf.begin(place(1, 1).location, at)
}

#[test]
fn nothing_is_kept_before_the_store_tells_of_changes() {
    let shelf = Shelf::new(1000);
    assert!(!shelf.is_standing());
    assert!(begin(&shelf, later()).is_none());
    shelf.restored();
    assert!(shelf.is_standing());
    assert!(begin(&shelf, Instant::now()).is_none(), "stamps may be old for a moment");
    assert!(keep(&shelf, begin(&shelf, later())));
}

#[test]
fn a_change_removes_and_a_read_under_way_is_not_kept() {
    let shelf = standing(1000);
    let location = place(1, 1).location;
    assert!(keep(&shelf, begin(&shelf, later())));
    let under_way = begin(&shelf, later());
    shelf.changed(Changed::User(location));
    assert!(!keep(&shelf, None));
    assert!(!keep(&shelf, under_way));
    assert!(keep(&shelf, begin(&shelf, later())));
    shelf.changed(Changed::Everybody { bucket: location.bucket });
    assert!(!keep(&shelf, begin(&shelf, Instant::now())));
    assert!(keep(&shelf, begin(&shelf, later())));
}

/// T51: on doubt the cache is empty before the next hit, and a read that began before or during
/// the gap is not kept after it.
#[test]
fn a_gap_empties_it_and_taints_what_was_being_read() {
    let shelf = standing(1000);
    assert!(keep(&shelf, begin(&shelf, later())));
    let before = begin(&shelf, later());
    shelf.lost();
    assert!(!shelf.is_standing());
    assert!(!keep(&shelf, None));
    assert!(begin(&shelf, later()).is_none());
    shelf.lost();
    shelf.restored();
    assert!(!keep(&shelf, before));
    assert!(keep(&shelf, begin(&shelf, later())));
}

#[test]
fn the_shards_hold_what_was_asked_for_in_sum() {
    for capacity in [1, 63, 64, 65, 1000] {
        let shelf = standing(capacity);
        let mut kept = 0;
        for user in 0..=255 {
            for session in 0..40 {
                let here = place(user, session);
                let ticket = shelf.begin(here.location, later()).unwrap();
                shelf.keep(&ticket, token(session), &known(here), 100, 0);
            }
        }
        for user in 0..=255 {
            let found =
                |&session: &u8| shelf.find(place(user, session), &token(session), 0).is_some();
            kept += (0..40).filter(found).count();
        }
        assert_eq!(kept, capacity as usize);
    }
}
