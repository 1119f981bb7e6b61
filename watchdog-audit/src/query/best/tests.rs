#![cfg(feature = "objects")]

use uuid::Uuid;
use watchdog_core::Timestamp;
use watchdog_core::audit::{Actor, Category, Entry, Resource};

use super::*;
use crate::entry::Place;
use crate::query::Query;
use crate::writer_id::WriterId;

/// Line `n`, at a time of its own, of nearly the greatest length.
fn line(n: u64) -> Vec<u8> {
    let at = Timestamp::new(1_767_225_600 + i64::try_from(n).unwrap(), 0).unwrap();
    let place = Place { writer: WriterId::from_bytes([1; 16]), sequence: n + 1, recorded_at: at };
    let resource = Resource::new("note", n.to_string());
    let actor = Actor::user("alice");
    let entry = Entry::new(Uuid::nil(), at, Category::Access, actor, "note.read", resource)
        .with_detail("text", "x".repeat(60_000));
    Line::plain(place, entry).encode().unwrap()
}

/// The numbers of one page, offered in an order of their own through branches or not.
fn page(query: &Query, lines: &[Vec<u8>], branches: usize) -> (Vec<u64>, Option<Cursor>) {
    let mut best = Best::new(Arc::new(Filter::new(query, Vec::new())));
    let most = |best: &Best| assert!(best.bytes <= PAGE_BYTES, "{} bytes", best.bytes);
    let mut parts: Vec<_> = (0..branches).map(|_| best.branch()).collect();
    for (place, line) in lines.iter().enumerate() {
        let part = if branches == 0 { &mut best } else { &mut parts[place % branches] };
        part.offer(line).unwrap();
        most(part);
    }
    for part in parts {
        best.merge(part);
        most(&best);
    }
    let (hits, next) = best.finish();
    (hits.iter().map(|hit| hit.line.sequence - 1).collect(), next)
}

#[test]
fn a_page_of_long_lines_is_short_and_the_pages_together_are_whole() {
    const COUNT: u64 = 700;
    let lines: Vec<_> = (0..COUNT).map(|n| line(n * 257 % COUNT)).collect();
    for (order, branches) in
        [(Order::NewestFirst, 0), (Order::OldestFirst, 3), (Order::NewestFirst, 4)]
    {
        let mut query = Query::new().with_order(order).with_limit(1000);
        let (mut found, mut pages) = (Vec::new(), 0);
        loop {
            let (numbers, next) = page(&query, &lines, branches);
            found.extend(numbers);
            pages += 1;
            match next {
                Some(next) => query = query.with_cursor(next),
                None => break,
            }
        }
        let mut wanted: Vec<_> = (0..COUNT).collect();
        if order == Order::NewestFirst {
            wanted.reverse();
        }
        assert_eq!(found, wanted, "{order:?} {branches}");
        assert!((3..=COUNT / 10).contains(&pages), "{pages} pages");
    }
}
