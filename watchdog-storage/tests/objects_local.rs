//! `Objects` in a local directory and in memory, beyond the contract of every back end.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::path::Path;

use watchdog_core::HealthCheck as _;
use watchdog_core::health::Status;
use watchdog_storage::ErrorKind;
use watchdog_storage::objects::{Objects, StorageConfig, StorageType};

fn local(directory: &Path) -> Objects {
    Objects::local(directory).unwrap()
}

#[tokio::test]
async fn the_default_is_a_local_directory_that_survives_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let local_path = directory.path().join("a/b");
    let config = StorageConfig { local_path: local_path.clone(), ..StorageConfig::default() };
    assert_eq!(config.kind, StorageType::Local);
    Objects::from_config(&config).unwrap().put("x/y", "1".into()).await.unwrap();
    assert_eq!(local(&local_path).get("x/y").await.unwrap(), "1");
    assert_eq!(std::fs::read(local_path.join("x/y")).unwrap(), b"1");
}

#[cfg(unix)]
#[test]
fn a_directory_that_is_made_is_private() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let made = directory.path().join("made");
    local(&made);
    assert_eq!(std::fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_directory_that_cannot_be_made_is_a_configuration_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Objects::local(file.join("below")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("below"), "{error}");
}

#[tokio::test]
async fn a_key_cannot_be_the_beginning_of_another() {
    let directory = tempfile::tempdir().unwrap();
    let objects = local(directory.path());
    objects.put("a", "1".into()).await.unwrap();
    assert_eq!(objects.put("a/b", "2".into()).await.unwrap_err().kind(), ErrorKind::Misuse);
    assert_eq!(objects.get("a/b").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(objects.head("a/b").await.unwrap(), None);
    objects.delete("a/b").await.unwrap();
    objects.put("c/d", "1".into()).await.unwrap();
    assert_eq!(objects.put("c", "2".into()).await.unwrap_err().kind(), ErrorKind::Misuse);
    let created = objects.put_if_absent("c", "2".into()).await;
    assert_eq!(created.unwrap_err().kind(), ErrorKind::Misuse);
    assert_eq!(objects.get("c").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(objects.head("c").await.unwrap(), None);
    objects.delete("c").await.unwrap();
    assert_eq!(objects.get("c/d").await.unwrap(), "1");
}

#[tokio::test]
async fn what_a_crash_left_behind_is_not_an_object() {
    let directory = tempfile::tempdir().unwrap();
    let objects = local(directory.path());
    std::fs::write(directory.path().join("a#1"), "half").unwrap();
    std::fs::write(directory.path().join("not%2fours"), "").unwrap();
    objects.put("a", "1".into()).await.unwrap();
    let page = objects.list("", None, 10).await.unwrap();
    let keys: Vec<_> = page.objects.into_iter().map(|object| object.key).collect();
    assert_eq!(keys, ["a"]);
}

#[tokio::test]
async fn many_objects_are_listed_page_by_page() {
    let directory = tempfile::tempdir().unwrap();
    let many = directory.path().join("many");
    std::fs::create_dir(&many).unwrap();
    let all: Vec<String> = (0..2500).map(|number| format!("many/{number:05}")).collect();
    for number in (0..2500).rev() {
        std::fs::write(many.join(format!("{number:05}")), "1").unwrap();
    }
    let objects = local(directory.path());
    let mut keys = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = objects.list("many/", after.as_deref(), 700).await.unwrap();
        keys.extend(page.objects.into_iter().map(|object| object.key));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(keys, all);
}

#[tokio::test]
async fn health_looks_at_the_directory_and_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bucket");
    let objects = local(&path);
    assert_eq!(objects.health().check().await.status, Status::Pass);
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);

    let mut permissions = std::fs::metadata(&path).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&path, permissions).unwrap();
    assert_eq!(objects.health().check().await.status, Status::Fail);
    std::fs::remove_dir(&path).unwrap();
    assert_eq!(objects.health().check().await.status, Status::Fail);
    std::fs::write(&path, "").unwrap();
    assert_eq!(objects.health().check().await.status, Status::Fail);

    assert_eq!(Objects::memory().health().check().await.status, Status::Pass);
}
