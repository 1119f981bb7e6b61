//! Subject keys that a vault keeps, with those in use in memory.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, timeout};
use watchdog_core::audit::Actor;
use watchdog_core::{Clock, RootKeys, Secret, SystemClock, Timestamp};

use crate::error::{Error, ErrorKind, Result};
use crate::millis::millis_of;
use crate::personal::{SubjectHandle, SubjectKey, SubjectKeys};
use crate::progress::OnProgress;
use crate::subjects::cache::Cache;
use crate::subjects::freshness::{Freshness, Need};
use crate::subjects::rewrap::{self, Rewrapped};
use crate::subjects::wrapping::{HandleKey, Wrapping, handle_of_handles, made_at};
use crate::subjects::{KeyVault, WrappedKey};

/// Subjects whose keys a process has in memory at most, to seal and again to open.
pub const CACHED_SUBJECTS: usize = 16_384;

/// After this long a key in memory is compared with its vault again.
const KEY_LIFE: Duration = Duration::from_secs(60);

/// A vault that takes longer to answer is taken for away.
const VAULT_PATIENCE: Duration = Duration::from_secs(2);

/// How often a key is made anew when an erasure overtakes it.
const ATTEMPTS: usize = 8;

/// Data keys of subjects: random, made when a subject is first heard of, wrapped under the
/// encryption root, and kept in a [`KeyVault`] that can destroy them.
///
/// See [`subjects`](crate::subjects) for what erasing means.
pub struct StoredSubjectKeys {
    shared: Arc<Shared>,
    wrapping: Wrapping,
    clock: Arc<dyn Clock>,
}

/// What a question to the vault outlives its caller with.
struct Shared {
    vault: Arc<dyn KeyVault>,
    state: Mutex<State>,
    /// Held by who asks for the generation: one at a time.
    turn: tokio::sync::Mutex<()>,
}

struct State {
    freshness: Freshness,
    sealing: Cache<Actor, Held>,
    opening: Cache<(SubjectHandle, String), (Option<SubjectKey>, Instant)>,
    pseudonyms: Option<Pseudonyms>,
    /// Rises when the keys are dropped: what was read before does not go in after.
    epoch: u64,
}

/// A key in memory, with what its vault has of it.
#[derive(Clone)]
struct Held {
    key: SubjectKey,
    wrapped: Arc<WrappedKey>,
    until: Instant,
}

/// The key that pseudonyms are made with, and what its vault has of it. It never changes.
#[derive(Clone)]
struct Pseudonyms {
    key: Arc<HandleKey>,
    wrapped: Arc<WrappedKey>,
    /// When the vault is to be asked again whether it still has it.
    until: Instant,
}

impl fmt::Debug for StoredSubjectKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredSubjectKeys")
            .field("vault", &self.shared.vault)
            .finish_non_exhaustive()
    }
}

impl StoredSubjectKeys {
    /// Keys in a vault, wrapped under the encryption root.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Key`] when the root keys cannot be used.
    pub fn new(vault: Arc<dyn KeyVault>, encryption: &RootKeys) -> Result<Self> {
        let state = State {
            freshness: Freshness::default(),
            sealing: Cache::new(CACHED_SUBJECTS),
            opening: Cache::new(CACHED_SUBJECTS),
            pseudonyms: None,
            epoch: 0,
        };
        Ok(Self {
            shared: Arc::new(Shared { vault, state: Mutex::new(state), turn: Default::default() }),
            wrapping: Wrapping::new(encryption)?,
            clock: Arc::new(SystemClock),
        })
    }

    /// Takes the time that labels carry from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    fn vault(&self) -> &dyn KeyVault {
        self.shared.vault.as_ref()
    }

    async fn handle(&self, subject: &Actor) -> Result<SubjectHandle> {
        Ok(self.handle_key().await?.handle(subject))
    }

    /// The key that pseudonyms are made with. A vault that lost it has it again, before the next
    /// process makes another: a subject with two pseudonyms could not be erased by one of them.
    async fn handle_key(&self) -> Result<Arc<HandleKey>> {
        let (held, is_failing) = {
            let state = self.shared.state();
            (state.pseudonyms.clone(), state.freshness.is_failing())
        };
        if let Some(held) = &held
            && (Instant::now() < held.until || is_failing)
        {
            return Ok(Arc::clone(&held.key));
        }
        let wrapped = held.as_ref().map(|held| held.wrapped.as_ref());
        let (key, wrapped) = match (self.create(&handle_of_handles(), wrapped).await, held) {
            (Ok((key, stands)), None) => (Arc::new(HandleKey::new(&key)), Arc::new(stands)),
            (Ok((_, stands)), Some(held)) => {
                let is_other = stands.label != held.wrapped.label;
                if is_other {
                    tracing::error!(
                        "the vault of subject keys was emptied and another process makes other \
                         pseudonyms now: restore the vault, and restart every process"
                    );
                }
                (held.key, if is_other { held.wrapped } else { Arc::new(stands) })
            }
            (Err(error), Some(held)) if error.is_retryable() => return Ok(held.key),
            (Err(error), _) => return Err(error),
        };
        let until = Instant::now() + KEY_LIFE;
        let pseudonyms = Pseudonyms { key: Arc::clone(&key), wrapped, until };
        self.shared.state().pseudonyms = Some(pseudonyms);
        Ok(key)
    }

    /// The key that stands for a handle, made if there is none: again under the label and in the
    /// form of `held` as long as that was not erased, so that a vault which lost it has it again.
    async fn create(
        &self,
        handle: &SubjectHandle,
        held: Option<&WrappedKey>,
    ) -> Result<(Secret<Vec<u8>>, WrappedKey)> {
        let mut offered = match held {
            Some(held) => (self.wrapping.open(handle, held)?, held.clone()),
            None => self.wrapping.make(handle, self.clock.now())?,
        };
        for _ in 0..ATTEMPTS {
            let (_, wrapped) = &offered;
            let creating = self.vault().create(handle, &wrapped.label, &wrapped.wrapped);
            match in_time(self.vault(), creating).await {
                Ok(stands) if stands == *wrapped => return Ok(offered),
                Ok(stands) => return Ok((self.wrapping.open(handle, &stands)?, stands)),
                Err(error) if error.kind() == ErrorKind::Busy => {
                    offered = self.wrapping.make(handle, self.clock.now())?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(ErrorKind::Busy, "a subject is erased again and again"))
    }

    /// Asks the vault for its generation as far as it is needed now.
    async fn settle(&self, need: Need) {
        if need == Need::Nothing {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let failures = shared.state().freshness.failures();
        // Whoever does not wait any longer leaves the answer to those who come after.
        let asking = tokio::spawn(async move { shared.ask(failures).await });
        if need == Need::Answer {
            drop(asking.await);
        }
    }

    /// A key of memory or of the vault, to seal with.
    async fn renewed(&self, subject: &Actor, held: Option<Held>, epoch: u64) -> Result<SubjectKey> {
        let handle = self.handle(subject).await?;
        let wrapped = held.as_ref().map(|held| held.wrapped.as_ref());
        let (key, stands) = self.create(&handle, wrapped).await?;
        let key = subject_key(handle, &stands.label, &key)?;
        let until = Instant::now() + KEY_LIFE;
        let held = Held { key: key.clone(), wrapped: Arc::new(stands), until };
        let mut state = self.shared.state();
        if state.epoch == epoch {
            state.sealing.insert(subject.clone(), held);
        }
        Ok(key)
    }

    /// The key that stands under a label, opened; `None` when it is gone or no root opens it.
    async fn opened(&self, handle: &SubjectHandle, label: &str) -> Result<Option<SubjectKey>> {
        let finding = self.vault().find(handle, label);
        let Some(stands) = in_time(self.vault(), finding).await? else { return Ok(None) };
        match self.wrapping.open(handle, &stands) {
            Ok(key) => subject_key(handle.clone(), label, &key).map(Some),
            Err(error) => {
                tracing::error!(%error, subject = handle.as_str(), "personal fields stay sealed");
                Ok(None)
            }
        }
    }
}

fn subject_key(handle: SubjectHandle, label: &str, key: &Secret<Vec<u8>>) -> Result<SubjectKey> {
    let key = key.expose().first_chunk().ok_or_else(|| Error::corrupt("a subject's key is cut"))?;
    Ok(SubjectKey::new(handle, label, key))
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for the generation, unless somebody who was before has heard of it meanwhile, or has
    /// failed to.
    async fn ask(&self, failures: u64) {
        let _turn = self.turn.lock().await;
        let asked = Instant::now();
        if self.state().freshness.is_settled(asked, failures) {
            return;
        }
        let answer = in_time(self.vault.as_ref(), self.vault.generation()).await;
        let mut state = self.state();
        match answer {
            Ok(generation) => {
                if state.freshness.answered(asked, generation) {
                    state.forget();
                }
            }
            Err(error) => {
                if !state.freshness.is_failing() {
                    tracing::warn!(%error, "the vault of subject keys does not answer");
                }
                state.freshness.failed();
            }
        }
    }
}

impl State {
    /// Drops every key in memory.
    fn forget(&mut self) {
        self.sealing.clear();
        self.opening.clear();
        self.epoch += 1;
        // The generation also changes when the vault was emptied.
        if let Some(pseudonyms) = &mut self.pseudonyms {
            pseudonyms.until = Instant::now();
        }
    }
}

async fn in_time<T>(vault: &dyn KeyVault, asking: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(VAULT_PATIENCE, asking).await.unwrap_or_else(|_| Err(unanswered(vault)))
}

fn unanswered(vault: &dyn KeyVault) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format_args!("the vault of subject keys ({}) does not answer", vault.name()),
    )
}

#[async_trait]
impl SubjectKeys for StoredSubjectKeys {
    async fn preflight(&self) -> Result<()> {
        self.vault().preflight().await?;
        self.handle(&Actor::anonymous()).await.map(drop)
    }

    async fn current(&self, subject: &Actor) -> Result<SubjectKey> {
        let now = Instant::now();
        let need = self.shared.state().freshness.sealing_need(now);
        self.settle(need).await;
        let (held, epoch) = {
            let mut state = self.shared.state();
            let (epoch, is_failing) = (state.epoch, state.freshness.is_failing());
            match state.sealing.get(subject) {
                Some(held) if now < held.until || is_failing => return Ok(held.key.clone()),
                None if is_failing => return Err(unanswered(self.vault())),
                held => (held.cloned(), epoch),
            }
        };
        let before = held.as_ref().map(|held| held.key.clone());
        match (self.renewed(subject, held, epoch).await, before) {
            (Err(error), Some(key)) if error.is_retryable() => Ok(key),
            (outcome, _) => outcome,
        }
    }

    async fn find(&self, handle: &SubjectHandle, label: &str) -> Result<Option<SubjectKey>> {
        let now = Instant::now();
        let need = self.shared.state().freshness.opening_need(now);
        self.settle(need).await;
        let place = (handle.clone(), label.to_owned());
        let epoch = {
            let mut state = self.shared.state();
            if need == Need::Answer && state.freshness.is_failing() {
                return Err(unanswered(self.vault()));
            }
            if let Some((key, until)) = state.opening.get(&place)
                && now < *until
            {
                return Ok(key.clone());
            }
            state.epoch
        };
        let key = self.opened(handle, label).await?;
        let mut state = self.shared.state();
        if state.epoch == epoch {
            state.opening.insert(place, (key.clone(), now + KEY_LIFE));
        }
        Ok(key)
    }

    async fn handles(&self, subject: &Actor) -> Result<Vec<SubjectHandle>> {
        Ok(vec![self.handle(subject).await?])
    }

    async fn erase(&self, subject: &Actor) -> Result<u64> {
        let handle = self.handle(subject).await?;
        let destroyed = self.vault().erase(&handle).await;
        // Also when it is not known whether the key is gone.
        self.shared.state().forget();
        destroyed
    }

    async fn erase_made_before(&self, handle: &SubjectHandle, before: Timestamp) -> Result<u64> {
        if *handle == handle_of_handles() {
            return Ok(0);
        }
        let stands = self.vault().current(handle).await?;
        let made = stands.and_then(|stands| made_at(&stands.label));
        if made.is_none_or(|made| made > millis_of(before)) {
            return Ok(0);
        }
        let destroyed = self.vault().erase(handle).await;
        self.shared.state().forget();
        destroyed
    }

    async fn rewrap(&self, on_progress: &OnProgress<'_>) -> Result<Rewrapped> {
        rewrap::all(self.vault(), &self.wrapping, on_progress).await
    }
}
