//! A disk that takes no more, and then does again.
//!
//! The limit of a process on the size of a file stands in for the disk: a write beyond it fails,
//! on any machine and without rights. The signal that comes with it is ignored.

use std::process::Command;

use watchdog_audit::{EmbeddedVault, KeyVault as _, SubjectHandle};
use watchdog_storage::testing::{require, test_name};

use crate::archive::assert_kept;
use crate::child::{Child, Work};
use crate::ledger;
use crate::place::Place;

/// Sets the limit of a process, in bytes; `None` for none.
fn limit(child: &Child, bytes: Option<u64>) {
    let size = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
    let status = Command::new("prlimit")
        .args([format!("--pid={}", child.id()), format!("--fsize={size}:unlimited")])
        .status();
    assert!(status.unwrap().success());
}

/// Reads what the process says until it has said so many times that this became of an entry, and
/// answers those.
fn hears(child: &mut Child, what: &str, times: usize) -> Vec<String> {
    let mut heard = Vec::new();
    while heard.len() < times {
        let told = child.hears().unwrap_or_default();
        assert!(!told.is_empty(), "it ended before it said {what}");
        if told.starts_with(what) {
            heard.push(told);
        }
    }
    heard
}

#[tokio::test]
async fn a_full_disk_refuses_and_loses_nothing_and_is_used_again_when_there_is_room() {
    if !require("prlimit", &test_name()) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let place = Place::file(&directory);
    let there = place.clone();
    let filling = tokio::task::spawn_blocking(move || {
        let work = Work::Fill { base: 0, bytes: 8000 };
        let mut child = Child::start_after("trap '' XFSZ", &there, &work);
        hears(&mut child, "acknowledged", 5);
        limit(&child, Some(4 * 1024 * 1024));
        hears(&mut child, "refused", 3);
        assert!(child.is_running(), "a full disk ends no process");
        limit(&child, None);
        hears(&mut child, "acknowledged", 20);
        child.kill();
    });
    filling.await.unwrap();
    let kept = assert_kept(&place.log().await, &place).await;
    assert_eq!(kept, ledger::read(&place.ledger()).len());
}

#[tokio::test]
async fn a_full_disk_refuses_keys_of_subjects_and_takes_them_when_there_is_room() {
    if !require("prlimit", &test_name()) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let place = Place::file(&directory);
    let there = place.clone();
    let filling = tokio::task::spawn_blocking(move || {
        let mut child = Child::start_after("trap '' XFSZ", &there, &Work::Keys { bytes: 8000 });
        let mut kept = hears(&mut child, "acknowledged", 5);
        limit(&child, Some(4 * 1024 * 1024));
        hears(&mut child, "refused Unavailable", 3);
        assert!(child.is_running(), "a full disk ends no process");
        limit(&child, None);
        kept.append(&mut hears(&mut child, "acknowledged", 20));
        child.kill();
        kept
    });
    let kept = filling.await.unwrap();
    let vault = EmbeddedVault::open(place.keys()).unwrap();
    for told in kept {
        let n: u128 = told.split_once(' ').unwrap().1.parse().unwrap();
        let handle = SubjectHandle::from_bytes(&n.to_be_bytes());
        let stands = vault.find(&handle, "label").await.unwrap();
        assert_eq!(stands.map(|stands| stands.wrapped.len()), Some(8000), "{told}");
    }
}
