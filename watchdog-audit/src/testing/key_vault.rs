//! The conformance suite every [`KeyVault`] runs.

#![expect(clippy::unwrap_used, reason = "a suite states what it expects")]

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::personal::SubjectHandle;
use crate::subjects::{KeyVault, MAX_LABEL_BYTES, MAX_WRAPPED_BYTES, WrappedKey};

/// Holds an empty vault against the contract of [`KeyVault`].
///
/// # Panics
///
/// When the vault does not keep the contract.
pub async fn key_vault(vault: Arc<dyn KeyVault>) {
    vault.preflight().await.unwrap();
    assert!(vault.list(None, 10).await.unwrap().is_empty(), "the suite needs an empty vault");
    the_first_of_two_keys_wins(vault.as_ref()).await;
    one_key_replaces_another_by_comparison(vault.as_ref()).await;
    an_erased_key_stays_erased(vault.as_ref()).await;
    a_list_has_every_key_once_and_in_order(vault.as_ref()).await;
    of_many_at_once_one_wins(&vault).await;
    keys_as_long_as_they_may_be(vault.as_ref()).await;
}

fn handle(number: u8) -> SubjectHandle {
    // The first and the last digits differ, wherever a vault cuts its buckets.
    let mut bytes = [number; 16];
    bytes[0] = number.wrapping_mul(37);
    SubjectHandle::from_bytes(&bytes)
}

fn key(label: &str, wrapped: &[u8]) -> WrappedKey {
    WrappedKey { label: label.into(), wrapped: wrapped.to_vec() }
}

async fn the_first_of_two_keys_wins(vault: &dyn KeyVault) {
    let one = handle(1);
    assert_eq!(vault.current(&one).await.unwrap(), None);
    assert_eq!(vault.find(&one, "a").await.unwrap(), None);
    let first = key("a", b"\0first\xff\n");
    assert_eq!(vault.create(&one, "a", &first.wrapped).await.unwrap(), first);
    assert_eq!(vault.create(&one, "a", &first.wrapped).await.unwrap(), first, "a replay");
    assert_eq!(vault.create(&one, "b", b"second").await.unwrap(), first);
    assert_eq!(vault.create(&one, "a", b"second").await.unwrap(), first);
    assert_eq!(vault.current(&one).await.unwrap().as_ref(), Some(&first));
    assert_eq!(vault.find(&one, "a").await.unwrap(), Some(first));
    assert_eq!(vault.find(&one, "b").await.unwrap(), None);
    assert_eq!(vault.current(&handle(2)).await.unwrap(), None, "another handle has none");
}

async fn one_key_replaces_another_by_comparison(vault: &dyn KeyVault) {
    let one = handle(1);
    let old = vault.current(&one).await.unwrap().unwrap();
    assert!(!vault.replace(&one, "a", b"not what stands", b"new").await.unwrap());
    assert!(!vault.replace(&one, "b", &old.wrapped, b"new").await.unwrap(), "another label");
    assert!(!vault.replace(&handle(2), "a", &old.wrapped, b"new").await.unwrap(), "none stands");
    assert_eq!(vault.current(&one).await.unwrap().as_ref(), Some(&old));
    let before = vault.generation().await.unwrap();
    assert!(vault.replace(&one, "a", &old.wrapped, b"new").await.unwrap());
    assert!(vault.replace(&one, "a", &old.wrapped, b"new").await.unwrap(), "a replay");
    assert_eq!(vault.current(&one).await.unwrap(), Some(key("a", b"new")));
    assert_eq!(vault.generation().await.unwrap(), before, "nothing was erased");
}

async fn an_erased_key_stays_erased(vault: &dyn KeyVault) {
    let (one, three) = (handle(1), handle(3));
    vault.create(&three, "a", b"other").await.unwrap();
    let mut generation = vault.generation().await.unwrap();
    for destroyed in [1, 0, 0] {
        assert_eq!(vault.erase(&one).await.unwrap(), destroyed);
        let now = vault.generation().await.unwrap();
        assert_ne!(now, generation, "every erasure is seen");
        generation = now;
        assert_eq!(vault.current(&one).await.unwrap(), None);
        assert_eq!(vault.find(&one, "a").await.unwrap(), None);
    }
    assert_eq!(vault.erase(&handle(4)).await.unwrap(), 0, "a subject nobody ever saw");
    let late = vault.create(&one, "a", b"new").await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Busy, "a late call does not bring a label back");
    assert!(!vault.replace(&one, "a", b"new", b"newer").await.unwrap(), "nor does a re-wrap");
    assert_eq!(vault.current(&one).await.unwrap(), None);
    let next = key("c", b"next");
    assert_eq!(vault.create(&one, "c", b"next").await.unwrap(), next);
    assert_eq!(vault.create(&one, "a", b"new").await.unwrap(), next, "the one that stands");
    assert_eq!(vault.find(&one, "a").await.unwrap(), None, "not the erased one");
    assert_eq!(vault.erase(&one).await.unwrap(), 1);
    for label in ["a", "c"] {
        let late = vault.create(&one, label, b"new").await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Busy, "every erased label is remembered");
    }
    assert_eq!(vault.current(&three).await.unwrap(), Some(key("a", b"other")));
    assert_eq!(vault.erase(&three).await.unwrap(), 1);
}

async fn a_list_has_every_key_once_and_in_order(vault: &dyn KeyVault) {
    assert!(vault.list(None, 10).await.unwrap().is_empty(), "erased keys are not listed");
    let mut wanted = Vec::new();
    for number in 10..40 {
        let wrapped = key(&format!("label-{number}"), &[number; 65]);
        vault.create(&handle(number), &wrapped.label, &wrapped.wrapped).await.unwrap();
        wanted.push((handle(number), wrapped));
    }
    wanted.sort_by(|one, other| one.0.cmp(&other.0));
    for limit in [1, 7, 30, 1000] {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = vault.list(after, limit).await.unwrap();
            assert!(page.len() <= limit);
            let Some((handle, key)) = page.last() else { break };
            after = Some((handle.clone(), key.label.clone()));
            found.extend(page);
        }
        assert_eq!(found, wanted, "{limit} at a time");
    }
    // Who resumes after a key that was erased meanwhile goes on behind it.
    let (gone, label) = (&wanted[4].0, &wanted[4].1.label);
    assert_eq!(vault.erase(gone).await.unwrap(), 1);
    let rest = vault.list(Some((gone.clone(), label.clone())), 1000).await.unwrap();
    assert_eq!(rest, wanted[5..]);
    for (handle, _) in &wanted {
        vault.erase(handle).await.unwrap();
    }
}

async fn of_many_at_once_one_wins(vault: &Arc<dyn KeyVault>) {
    let start = Arc::new(tokio::sync::Barrier::new(16));
    let callers = (0..16_u8).map(|number| {
        let (vault, start) = (Arc::clone(vault), Arc::clone(&start));
        tokio::spawn(async move {
            start.wait().await;
            let label = format!("l{number}");
            let mut patience = 5;
            loop {
                match vault.create(&handle(50), &label, &[number]).await {
                    Err(error) if may_repeat(&error, &mut patience) => {}
                    answer => break answer.unwrap(),
                }
            }
        })
    });
    let mut answers = BTreeSet::new();
    for caller in callers.collect::<Vec<_>>() {
        let key = caller.await.unwrap();
        answers.insert((key.label, key.wrapped));
    }
    assert_eq!(answers.len(), 1, "everybody has the same key");
    let erasers = (0..8).map(|_| {
        let vault = Arc::clone(vault);
        tokio::spawn(async move {
            let mut patience = 5;
            loop {
                match vault.erase(&handle(50)).await {
                    Err(error) if may_repeat(&error, &mut patience) => {}
                    answer => break answer.unwrap(),
                }
            }
        })
    });
    let mut destroyed = 0;
    for eraser in erasers.collect::<Vec<_>>() {
        destroyed += eraser.await.unwrap();
    }
    assert_eq!(destroyed, 1, "it is destroyed once");
}

/// A busy machine may not give so many callers a connection at once; each call may be repeated.
fn may_repeat(error: &Error, patience: &mut u32) -> bool {
    let is_left = *patience > 0;
    *patience = patience.saturating_sub(1);
    is_left && error.kind() == ErrorKind::Unavailable
}

async fn keys_as_long_as_they_may_be(vault: &dyn KeyVault) {
    let longest = key(&"z".repeat(MAX_LABEL_BYTES), &vec![0xfe; MAX_WRAPPED_BYTES]);
    let made = vault.create(&handle(60), &longest.label, &longest.wrapped).await.unwrap();
    assert_eq!(made, longest);
    assert_eq!(vault.find(&handle(60), &longest.label).await.unwrap(), Some(longest));
    assert_eq!(vault.erase(&handle(60)).await.unwrap(), 1);
}
