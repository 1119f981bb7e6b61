//! Subject keys that follow from the encryption root.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use watchdog_core::audit::Actor;
use watchdog_core::{KeyId, MacKeys, RootKeys};

use crate::error::{Error, ErrorKind, Result};
use crate::personal::{SubjectHandle, SubjectKey, SubjectKeys, subject_bytes};
use crate::subjects::CACHED_SUBJECTS;
use crate::subjects::cache::Cache;

const PURPOSE: &str = "audit/subject/v1";

/// Subject keys derived from the root keys: nothing is stored, so nothing can be erased.
///
/// A retired root key that leaves the list takes the personal fields sealed under it along.
#[derive(Debug)]
pub struct DerivedSubjectKeys {
    keys: MacKeys,
    /// Current first.
    ids: Vec<KeyId>,
    /// Those that were derived lately, to seal with.
    held: Mutex<Cache<Actor, SubjectKey>>,
}

impl DerivedSubjectKeys {
    /// Subject keys below the encryption root.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Key`] when the root keys cannot be used.
    pub fn new(encryption: &RootKeys) -> Result<Self> {
        let ids = encryption.derive(PURPOSE)?.into_iter().map(|(id, _)| id).collect();
        let held = Mutex::new(Cache::new(CACHED_SUBJECTS));
        Ok(Self { keys: encryption.mac(PURPOSE)?, ids, held })
    }

    fn held(&self) -> MutexGuard<'_, Cache<Actor, SubjectKey>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, id: KeyId, subject: &Actor) -> Option<SubjectHandle> {
        let tag = self.keys.tag_with(id, &subject_bytes(subject))?;
        tag.first_chunk::<16>().map(SubjectHandle::from_bytes)
    }

    fn key(&self, id: KeyId, handle: SubjectHandle) -> Option<SubjectKey> {
        let message = [b"key\0", handle.as_str().as_bytes()].concat();
        let key = self.keys.tag_with(id, &message)?;
        Some(SubjectKey::new(handle, id.to_string(), &key))
    }
}

#[async_trait]
impl SubjectKeys for DerivedSubjectKeys {
    async fn current(&self, subject: &Actor) -> Result<SubjectKey> {
        if let Some(key) = self.held().get(subject) {
            return Ok(key.clone());
        }
        let id = self.keys.current();
        let key = self.handle(id, subject).and_then(|handle| self.key(id, handle));
        let gone = || Error::new(ErrorKind::Key, "the current key does not derive");
        let key = key.ok_or_else(gone)?;
        self.held().insert(subject.clone(), key.clone());
        Ok(key)
    }

    async fn find(&self, handle: &SubjectHandle, label: &str) -> Result<Option<SubjectKey>> {
        let id = crate::hex::decode::<4>(label).map(KeyId::from_bytes);
        Ok(id.and_then(|id| self.key(id, handle.clone())))
    }

    async fn handles(&self, subject: &Actor) -> Result<Vec<SubjectHandle>> {
        Ok(self.ids.iter().filter_map(|id| self.handle(*id, subject)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchdog_core::Secret;

    const A: &str = "0123456789abcdef0123456789abcdef";
    const B: &str = "fedcba9876543210fedcba9876543210";

    fn keys(current: &str, previous: &[&str]) -> DerivedSubjectKeys {
        let previous: Vec<_> = previous.iter().map(|&text| Secret::from(text)).collect();
        DerivedSubjectKeys::new(&RootKeys::new(&Secret::from(current), &previous).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn no_two_subjects_share_a_handle() {
        let keys = keys(A, &[]);
        let one = Actor { kind: "user".into(), id: "sx".into() };
        let two = Actor { kind: "users".into(), id: "x".into() };
        assert_ne!(keys.handles(&one).await.unwrap(), keys.handles(&two).await.unwrap());
    }

    #[tokio::test]
    async fn a_retired_root_keeps_its_handles_until_it_leaves_the_list() {
        let alice = Actor::user("alice");
        let old = keys(A, &[]).handles(&alice).await.unwrap();
        let both = keys(B, &[A]).handles(&alice).await.unwrap();
        assert_eq!((old.len(), both.len()), (1, 2));
        assert!(both.contains(&old[0]));
        assert_eq!(keys(B, &[]).handles(&alice).await.unwrap(), both[..1]);
    }

    #[tokio::test]
    async fn what_is_not_kept_is_neither_erased_nor_wrapped_anew() {
        let keys = keys(A, &[]);
        let alice = Actor::user("alice");
        let handle = keys.handles(&alice).await.unwrap().remove(0);
        let refused = [
            keys.erase(&alice).await.unwrap_err(),
            keys.erase_made_before(&handle, watchdog_core::Timestamp::MAX).await.unwrap_err(),
            keys.rewrap(&|_| {}).await.unwrap_err(),
        ];
        for error in refused {
            assert_eq!(error.kind(), ErrorKind::Misuse);
            assert!(error.to_string().contains("WATCHDOG_AUDIT_SUBJECT_KEYS"), "{error}");
        }
    }
}
