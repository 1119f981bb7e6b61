use uuid::Uuid;
use watchdog_core::Timestamp;
use watchdog_core::audit::{Entry, Resource};

use super::*;
use crate::entry::Place;
use crate::manifest::TimeRange;
use crate::writer_id::WriterId;
use crate::zone::ZoneBuilder;

fn frame(entries: &[(Category, &str)]) -> Frame {
    let writer = WriterId::from_bytes([1; 16]);
    let recorded_at = Timestamp::UNIX_EPOCH;
    let mut frame = Frame::new(writer, 1);
    for (sequence, (category, actor)) in (1..).zip(entries) {
        let resource = Resource::new("note", "1");
        let actor = Actor::user(*actor);
        let entry = Entry::new(Uuid::nil(), recorded_at, *category, actor, "note.read", resource);
        let line = Line::plain(Place { writer, sequence, recorded_at }, entry);
        frame.push(&line.encode().unwrap(), 0).unwrap();
    }
    frame
}

fn holds(terms: impl IntoIterator<Item = LegalHold>) -> Holds {
    Holds(
        terms
            .into_iter()
            .map(|terms| Hold { terms, handles: Vec::new(), since: Timestamp::UNIX_EPOCH })
            .collect(),
    )
}

fn hold() -> LegalHold {
    LegalHold::new("case-7", "litigation")
}

#[test]
fn a_hold_covers_by_category_and_subject_and_without_both_everything() {
    let entries = [frame(&[(Category::Access, "alice"), (Category::Database, "bob")])];
    for (terms, covers) in [
        (hold(), true),
        (hold().with_category(Category::Access), true),
        (hold().with_category(Category::Security), false),
        (hold().with_subject(Actor::user("bob")), true),
        (hold().with_subject(Actor::user("carol")), false),
        (hold().with_subject(Actor::service("bob")), false),
        (hold().with_subject(Actor::user("bob")).with_category(Category::Database), true),
        (hold().with_subject(Actor::user("bob")).with_category(Category::Access), false),
    ] {
        assert_eq!(holds([terms.clone()]).cover(&entries), covers, "{terms:?}");
    }
    assert!(!holds([]).cover(&entries));
    let both = [hold().with_category(Category::Security), hold().with_category(Category::Access)];
    assert!(holds(both).cover(&entries), "one of several is enough");
}

/// An object with the entries of one category, as its manifest tells of it.
fn object(category: Category, actors: &[&str]) -> ArchivedObject {
    let entries: Vec<_> = actors.iter().map(|actor| (category, *actor)).collect();
    let mut zone = ZoneBuilder::default();
    frame(&entries).lines().for_each(|line| zone.push(&Line::decode(line).unwrap()));
    let recorded = TimeRange { from: Timestamp::UNIX_EPOCH, to: Timestamp::UNIX_EPOCH };
    ArchivedObject {
        key: String::new(),
        category,
        entries: 0,
        bytes: 0,
        raw_bytes: 0,
        sha256: String::new(),
        root: String::new(),
        recorded,
        occurred: recorded,
        zone: zone.finish(),
    }
}

#[test]
fn what_a_manifest_tells_agrees_with_the_entries() {
    let found = object(Category::Access, &["alice", "bob"]);
    let by = |actor| hold().with_subject(Actor::user(actor));
    for (terms, known, unknown) in [
        (hold(), Coverage::Covered, Coverage::Covered),
        (hold().with_category(Category::Access), Coverage::Covered, Coverage::Unknown),
        (hold().with_category(Category::Security), Coverage::Free, Coverage::Unknown),
        (by("alice"), Coverage::Unknown, Coverage::Unknown),
        (by("carol"), Coverage::Free, Coverage::Unknown),
        (by("alice").with_category(Category::Access), Coverage::Unknown, Coverage::Unknown),
        (by("alice").with_category(Category::Security), Coverage::Free, Coverage::Unknown),
    ] {
        let holds = holds([terms.clone()]);
        assert_eq!(holds.cover_object(&found), known, "{terms:?}");
        assert_eq!(holds.cover_unknown(), unknown, "{terms:?}");
    }
    assert_eq!(holds([]).cover_unknown(), Coverage::Free);
    let both = holds([by("alice"), hold().with_category(Category::Access)]);
    assert_eq!(both.cover_object(&found), Coverage::Covered, "the strongest counts");
    let mut forgotten = found;
    forgotten.zone.forget();
    assert_eq!(
        holds([by("carol")]).cover_object(&forgotten),
        Coverage::Unknown,
        "it denies nothing"
    );
}

#[test]
fn a_hold_concerns_the_categories_and_subjects_it_may_cover() {
    let access = holds([hold().with_category(Category::Access)]);
    assert!(access.concern(Category::Access) && !access.concern(Category::Database));
    let alice = holds([hold().with_subject(Actor::user("alice"))]);
    assert!(alice.concern(Category::Database), "her entries may be anywhere");
    assert!(alice.0[0].concerns(&Actor::user("alice"), &[]));
    assert!(!alice.0[0].concerns(&Actor::user("bob"), &[]));
    assert!(access.0[0].concerns(&Actor::user("bob"), &[]), "bob may have entries in it");
    let [own, other] = [1, 2].map(|byte| SubjectHandle::from_bytes(&[byte; 16]));
    let unreadable = Hold {
        terms: hold().with_subject(Actor::user("")),
        handles: vec![own.clone()],
        since: Timestamp::UNIX_EPOCH,
    };
    let alice = Actor::user("alice");
    assert!(unreadable.concerns(&alice, std::slice::from_ref(&own)), "its name cannot be read");
    assert!(!unreadable.concerns(&alice, std::slice::from_ref(&other)));
    assert!(unreadable.keeps(&own) && !unreadable.keeps(&other));
    assert!(access.0[0].keeps(&other), "everybody");
    let terms = hold().with_subject(alice);
    assert!(unreadable.has(&terms, &[own]) && !unreadable.has(&terms, &[other]));
    assert!(!unreadable.has(&hold(), &[]), "another hold");
}

#[test]
fn ids_and_reasons_are_bounded() {
    assert!(hold().check().is_ok());
    for id in ["", "Case", "a/b", "a.b", &"x".repeat(65)] {
        let refused = LegalHold::new(id, "").check().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Misuse, "{id}");
    }
    let refused = LegalHold::new("a", "x".repeat(1025)).check().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TooLarge);
}
