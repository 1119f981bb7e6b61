//! What every bucket must do: the conformance suite of [`Objects`].

use std::sync::Arc;

use bytes::Bytes;

use crate::error::ErrorKind;
use crate::objects::{Objects, Put};

/// Holds a bucket to the contract of [`Objects`], one call at a time.
///
/// Works under the prefix `conformance/`, which must be empty, and leaves it empty. Whether creates
/// exclude each other at the same instant is for [`create_race`].
///
/// # Panics
///
/// When the bucket breaks the contract.
pub async fn conformance(objects: &Objects) {
    write_and_read(objects).await;
    create_only(objects).await;
    verified(objects).await;
    odd_keys(objects).await;
    refused_keys(objects).await;
    listing(objects).await;
    assert!(ok(objects.probe_create_only().await), "create-only is honoured");
    assert_eq!(keys(objects, "", "everything was deleted").await, Vec::<String>::new());
}

/// Lets 64 tasks create one object at the same instant, twenty times over: one wins each time.
///
/// # Panics
///
/// When none or more than one wins, or when what is stored is not the winner's.
pub async fn create_race(objects: &Objects) {
    for round in 0..20 {
        let key = format!("conformance/race/{round}");
        let start = Arc::new(tokio::sync::Barrier::new(64));
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..64 {
            let (objects, key, start) = (objects.clone(), key.clone(), Arc::clone(&start));
            tasks.spawn(async move {
                start.wait().await;
                (number, objects.put_if_absent(&key, content(number)).await)
            });
        }
        let mut winners = Vec::new();
        while let Some(task) = tasks.join_next().await {
            let (number, put) = ok(task);
            if ok(put) == Put::Created {
                winners.push(number);
            }
        }
        assert_eq!(winners.len(), 1, "one winner of 64, not {winners:?}");
        assert_eq!(ok(objects.get(&key).await), content(winners[0]));
        ok(objects.delete(&key).await);
    }
}

fn content(number: usize) -> Bytes {
    Bytes::from(format!("content of {number}"))
}

async fn write_and_read(objects: &Objects) {
    let key = "conformance/object";
    assert_eq!(kind(objects.get(key).await), ErrorKind::NotFound);
    assert_eq!(ok(objects.head(key).await), None);
    ok(objects.delete(key).await);

    ok(objects.put(key, content(1)).await);
    assert_eq!(ok(objects.get(key).await), content(1));
    let meta = ok(objects.head(key).await).map(|meta| (meta.key, meta.size));
    assert_eq!(meta, Some((key.into(), content(1).len() as u64)));
    ok(objects.put(key, content(22)).await);
    assert_eq!(ok(objects.get(key).await), content(22), "a put replaces");
    ok(objects.put(key, Bytes::new()).await);
    assert_eq!(ok(objects.get(key).await), Bytes::new(), "an empty object is an object");

    let bounded = objects.clone().with_max_size(3);
    assert_eq!(kind(bounded.put(key, content(1)).await), ErrorKind::Misuse);
    ok(objects.put(key, content(1)).await);
    let message = bounded.get(key).await.err().map(|error| (error.kind(), error.to_string()));
    let expected = format!("object \"{key}\" has 12 bytes, more than the 3 allowed");
    assert_eq!(message, Some((ErrorKind::Precondition, expected)));

    ok(objects.delete(key).await);
    assert_eq!(kind(objects.get(key).await), ErrorKind::NotFound);
}

async fn create_only(objects: &Objects) {
    let key = "conformance/once";
    assert_eq!(ok(objects.put_if_absent(key, content(1)).await), Put::Created);
    assert_eq!(ok(objects.put_if_absent(key, content(2)).await), Put::AlreadyExists);
    assert_eq!(
        ok(objects.put_if_absent(key, content(1)).await),
        Put::AlreadyExists,
        "the same bytes of another call are another call's"
    );
    assert_eq!(ok(objects.get(key).await), content(1), "the first stays");
    ok(objects.delete(key).await);
    assert_eq!(ok(objects.put_if_absent(key, content(3)).await), Put::Created);
    ok(objects.delete(key).await);
}

async fn verified(objects: &Objects) {
    let key = "conformance/verified";
    assert_eq!(ok(objects.put_verified(key, content(1)).await), Put::Created);
    assert_eq!(ok(objects.put_verified(key, content(1)).await), Put::AlreadyExists);
    let error = objects.put_verified(key, content(2)).await.err();
    let error = error.map(|error| (error.kind(), error.to_string().contains(key)));
    assert_eq!(error, Some((ErrorKind::Precondition, true)), "the error names the key");
    assert_eq!(ok(objects.get(key).await), content(1), "the first stays");
    ok(objects.delete(key).await);
}

async fn odd_keys(objects: &Objects) {
    let odd = [
        "conformance/odd/#1",
        "conformance/odd/%23 %25%",
        "conformance/odd/a b+c&d=e?f",
        "conformance/odd/a#1",
        "conformance/odd/category=access/date=2026-01-31",
        "conformance/odd/quote\"'<>`{|}\\^~[]",
        "conformance/odd/ü漢字😀",
        "conformance/odd/…/.hidden",
    ];
    for (number, key) in odd.iter().enumerate() {
        ok(objects.put(key, content(number)).await);
    }
    let mut sorted: Vec<String> = odd.iter().map(ToString::to_string).collect();
    sorted.sort_unstable();
    assert_eq!(keys(objects, "odd/", "odd keys are listed as they are").await, sorted);
    for (number, key) in odd.iter().enumerate() {
        assert_eq!(ok(objects.get(key).await), content(number), "{key}");
        assert_eq!(ok(objects.put_if_absent(key, content(0)).await), Put::AlreadyExists, "{key}");
        ok(objects.delete(key).await);
        assert_eq!(ok(objects.head(key).await), None, "{key}");
    }
}

async fn refused_keys(objects: &Objects) {
    for key in ["", "/a", "a/", "a//b", "../a", "a/./b", "a\n", " a", &"a".repeat(1025)] {
        assert_eq!(kind(objects.put(key, content(1)).await), ErrorKind::Misuse, "{key:?}");
        assert_eq!(kind(objects.get(key).await), ErrorKind::Misuse, "{key:?}");
        assert_eq!(kind(objects.delete(key).await), ErrorKind::Misuse, "{key:?}");
    }
    assert_eq!(kind(objects.list("/", None, 1).await), ErrorKind::Misuse);
    assert_eq!(kind(objects.list("", Some("/"), 1).await), ErrorKind::Misuse);
    assert_eq!(kind(objects.list("", None, 0).await), ErrorKind::Misuse);
}

async fn listing(objects: &Objects) {
    // In the order of their bytes: "-" < "." < "/" < "0" < "B" < "a".
    let all: Vec<String> = ["a-b/1", "a.b", "a/B", "a/a/1", "a/a/2", "a/b", "a0", "b"]
        .map(|name| format!("conformance/list/{name}"))
        .into();
    for key in all.iter().rev() {
        ok(objects.put(key, content(1)).await);
    }
    assert_eq!(keys(objects, "list/", "all in order").await, all);
    assert_eq!(keys(objects, "list/a/", "a folder").await, all[2..6]);
    assert_eq!(keys(objects, "list/a", "a prefix is a string").await, all[..7]);
    assert_eq!(keys(objects, "list/a/a", "within a folder").await, all[3..5]);
    assert_eq!(keys(objects, "list/c", "nothing").await, Vec::<String>::new());
    assert_eq!(keys(objects, "none/at/all", "no folder").await, Vec::<String>::new());

    let prefix = "conformance/list/";
    for limit in 1..=all.len() + 1 {
        let mut paged = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = ok(objects.list(prefix, after.as_deref(), limit).await);
            assert!(page.objects.len() <= limit);
            paged.extend(page.objects.into_iter().map(|object| object.key));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(paged, all, "in pages of {limit}");
    }
    let between = format!("{prefix}a/a/10");
    let page = ok(objects.list(prefix, Some(&between), 2).await);
    let found: Vec<String> = page.objects.into_iter().map(|object| object.key).collect();
    assert_eq!(found, all[4..6], "after a key that does not exist");
    for key in &all {
        ok(objects.delete(key).await);
    }
}

async fn keys(objects: &Objects, prefix: &str, what: &str) -> Vec<String> {
    let page = ok(objects.list(&format!("conformance/{prefix}"), None, 1000).await);
    assert_eq!(page.next, None, "{what}");
    page.objects.into_iter().map(|object| object.key).collect()
}

#[expect(clippy::panic, reason = "a suite reports by panicking")]
#[track_caller]
fn ok<T, E: std::error::Error>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}: {:?}", error.source()))
}

#[expect(clippy::panic, reason = "a suite reports by panicking")]
#[track_caller]
fn kind<T: std::fmt::Debug>(result: crate::Result<T>) -> ErrorKind {
    match result {
        Ok(value) => panic!("expected an error, got {value:?}"),
        Err(error) => error.kind(),
    }
}
