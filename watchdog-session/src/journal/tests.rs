use super::*;
use crate::place::SessionId;

const SECOND: Duration = Duration::from_secs(1);

fn place(user: u8, session: u8) -> Place {
    let location = Location { bucket: 3, user: [user; 16] };
    Place { location, session: SessionId::from_bytes([session; 16]) }
}

fn numbered(number: usize) -> Ended {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    Ended::Session(Place { session: SessionId::from_bytes(id), ..place(1, 0) })
}

fn cause() -> Cause {
    Cause { reason: "logout", outbox: None }
}

fn one(journal: &mut Journal, now: Instant) -> Ticket {
    let due = journal.take_due(9, now);
    assert_eq!(due.len(), 1);
    due[0].ticket
}

#[test]
fn what_was_ended_is_covered_and_nothing_else() {
    let (mut journal, now) = (Journal::default(), Instant::now());
    assert!(journal.is_empty() && !journal.covers(&place(1, 1), 0));
    journal.note(Ended::Session(place(1, 1)), cause(), now);
    assert!(journal.covers(&place(1, 1), Millis::MAX));
    assert!(!journal.covers(&place(1, 2), 0) && !journal.covers(&place(2, 1), 0));
    journal.note(Ended::User { location: place(2, 0).location, up_to: 50 }, cause(), now);
    assert!(journal.covers(&place(2, 9), 50));
    assert!(!journal.covers(&place(2, 9), 51) && !journal.covers(&place(3, 9), 50));
    journal.note(Ended::Everybody { up_to: 40 }, cause(), now);
    assert!(journal.covers(&place(3, 9), 40) && !journal.covers(&place(3, 9), 41));
    assert!(!journal.is_empty());
}

/// An earlier stamp that is noted later does not take a later one back.
#[test]
fn there_is_one_entry_for_each_and_the_later_stamp_counts() {
    let (mut journal, now) = (Journal::default(), Instant::now());
    let location = place(1, 0).location;
    for up_to in [50, 40] {
        journal.note(Ended::User { location, up_to }, cause(), now);
        journal.note(Ended::Everybody { up_to: up_to - 30 }, cause(), now);
        journal.note(Ended::Session(place(4, 4)), cause(), now);
    }
    assert!(journal.covers(&place(1, 1), 50) && journal.covers(&place(2, 1), 20));
    journal.reconnected(now);
    let due: Vec<_> = journal.take_due(9, now).into_iter().map(|it| it.ended).collect();
    let wanted = [
        Ended::User { location, up_to: 50 },
        Ended::Everybody { up_to: 20 },
        Ended::Session(place(4, 4)),
    ];
    assert_eq!(due, wanted);
}

#[test]
fn the_oldest_goes_when_there_are_too_many() {
    let (mut journal, now) = (Journal::default(), Instant::now());
    let covers = |journal: &Journal, number| match numbered(number) {
        Ended::Session(place) => journal.covers(&place, 0),
        _ => false,
    };
    for number in 0..MOST_ENTRIES {
        assert!(journal.note(numbered(number), cause(), now));
    }
    // Noted again, the first is the youngest, and nothing had to go.
    assert!(journal.note(numbered(0), cause(), now));
    assert!(!journal.note(numbered(MOST_ENTRIES), cause(), now));
    assert_eq!(journal.entries.len(), MOST_ENTRIES);
    assert_eq!(journal.order.len(), MOST_ENTRIES);
    assert!(covers(&journal, 0) && !covers(&journal, 1) && covers(&journal, 2));
}

#[test]
fn an_entry_is_asserted_once_at_the_end_of_its_life_and_forgotten() {
    let (mut journal, start) = (Journal::default(), Instant::now());
    assert_eq!(journal.next_due(), None);
    journal.note(Ended::Session(place(1, 1)), cause(), start);
    let end = start + JOURNAL_LIFE;
    assert_eq!(journal.next_due(), Some(end));
    assert!(journal.take_due(9, end - SECOND).is_empty());
    let ticket = one(&mut journal, end);
    assert!(journal.take_due(9, end).is_empty() && journal.next_due().is_none());
    assert!(journal.covers(&place(1, 1), 0));
    journal.answered(ticket, end);
    assert!(journal.is_empty());
    // A second answer finds nothing.
    journal.answered(ticket, end);
    journal.failed(ticket, end);
}

#[test]
fn an_outage_ages_nothing_out() {
    let (mut journal, start) = (Journal::default(), Instant::now());
    journal.note(Ended::Session(place(1, 1)), cause(), start);
    let mut now = start + JOURNAL_LIFE;
    let mut pauses = Vec::new();
    for _ in 0..9 {
        let ticket = one(&mut journal, now);
        journal.failed(ticket, now);
        let due = journal.next_due().unwrap();
        pauses.push((due - now).as_millis());
        now = due;
    }
    assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
    now += 10 * JOURNAL_LIFE;
    assert!(journal.covers(&place(1, 1), 0));
    journal.reconnected(now);
    let ticket = one(&mut journal, now);
    journal.answered(ticket, now);
    // Once more, for a second step of the failover; then it may go.
    assert_eq!(journal.next_due(), Some(now + AGAIN_AFTER));
    let ticket = one(&mut journal, now + AGAIN_AFTER);
    journal.answered(ticket, now + AGAIN_AFTER);
    assert!(journal.is_empty());
}

#[test]
fn a_young_entry_stays_after_it_was_asserted() {
    let (mut journal, start) = (Journal::default(), Instant::now());
    journal.note(Ended::Session(place(1, 1)), cause(), start);
    journal.reconnected(start + SECOND);
    for after in [SECOND, SECOND + AGAIN_AFTER] {
        let ticket = one(&mut journal, start + after);
        journal.answered(ticket, start + after);
    }
    assert_eq!(journal.next_due(), Some(start + JOURNAL_LIFE));
}

/// The answer may be that of the primary which was replaced.
#[test]
fn an_answer_from_before_a_new_connection_does_not_count() {
    let (mut journal, start) = (Journal::default(), Instant::now());
    journal.note(Ended::Session(place(1, 1)), cause(), start);
    let end = start + JOURNAL_LIFE;
    let early = one(&mut journal, end);
    journal.reconnected(end);
    let late = one(&mut journal, end);
    journal.answered(early, end);
    journal.failed(early, end);
    assert!(journal.take_due(9, end).is_empty(), "the second try is still under way");
    journal.answered(late, end);
    assert_eq!(journal.next_due(), Some(end + AGAIN_AFTER));
    // So is the answer to an entry that was noted anew meanwhile.
    let ticket = one(&mut journal, end + AGAIN_AFTER);
    journal.note(Ended::Session(place(1, 1)), cause(), end + AGAIN_AFTER);
    journal.answered(ticket, end + AGAIN_AFTER);
    assert_eq!(journal.next_due(), Some(end + AGAIN_AFTER + JOURNAL_LIFE));
}

#[test]
fn no_more_is_taken_than_asked_for() {
    let (mut journal, now) = (Journal::default(), Instant::now());
    for number in 0..5 {
        journal.note(numbered(number), cause(), now);
    }
    journal.reconnected(now);
    let due = journal.take_due(3, now);
    assert_eq!(due.iter().map(|it| it.ended).collect::<Vec<_>>(), [0, 1, 2].map(numbered));
    assert_eq!(journal.take_due(3, now).len(), 2);
}
