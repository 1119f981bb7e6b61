//! Wrapped subject keys in one local file.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use redb::{
    Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, TableDefinition,
    WriteTransaction,
};

use crate::error::{Error, ErrorKind, Result};
use crate::personal::SubjectHandle;
use crate::store::{DatabaseFile, failed, off_the_runtime};
use crate::subjects::{KeyVault, WrappedKey};

/// Handle → label and wrapped key.
const KEYS: TableDefinition<'_, [u8; 16], (&str, &[u8])> = TableDefinition::new("keys_v1");
/// Handle and label of every key that was erased.
const ERASED: TableDefinition<'_, ([u8; 16], &str), ()> = TableDefinition::new("erased_v1");
/// The generation, under 0.
const GENERATION: TableDefinition<'_, u8, u64> = TableDefinition::new("generation_v1");

/// Wrapped subject keys in a local file, each commit synced to the disk before it is acknowledged.
///
/// The file is locked: a second process that opens it is refused.
#[derive(Clone)]
pub struct EmbeddedVault {
    file: Arc<DatabaseFile>,
}

impl fmt::Debug for EmbeddedVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedVault").finish_non_exhaustive()
    }
}

impl EmbeddedVault {
    /// Opens the file `subject_keys.redb` in a directory, which is made when it is missing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] when the directory or the file cannot be used: no permission, or
    /// another process has it open.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        Self::with_file(DatabaseFile::open(&directory.as_ref().join("subject_keys.redb"))?)
    }

    /// A vault that forgets everything when it is dropped, for tests and examples.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] when there is no memory for it.
    pub fn memory() -> Result<Self> {
        Self::with_file(DatabaseFile::memory()?)
    }

    fn with_file(file: DatabaseFile) -> Result<Self> {
        file.with(make_tables)?;
        Ok(Self { file: Arc::new(file) })
    }

    async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let file = Arc::clone(&self.file);
        off_the_runtime(move || {
            file.with(|database| {
                let transaction = database.begin_write().map_err(failed)?;
                let outcome = change(&transaction)?;
                transaction.commit().map_err(failed)?;
                Ok(outcome)
            })
        })
        .await
    }

    async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&ReadTransaction) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let file = Arc::clone(&self.file);
        off_the_runtime(move || file.with(|database| look(&database.begin_read().map_err(failed)?)))
            .await
    }
}

#[async_trait]
impl KeyVault for EmbeddedVault {
    fn name(&self) -> &'static str {
        "embedded"
    }

    async fn preflight(&self) -> Result<()> {
        self.read(|_| Ok(())).await
    }

    async fn create(
        &self,
        handle: &SubjectHandle,
        label: &str,
        wrapped: &[u8],
    ) -> Result<WrappedKey> {
        // Most callers ask for a key that stands: that needs no commit.
        if let Some(stands) = self.current(handle).await? {
            return Ok(stands);
        }
        let handle = bytes_of(handle)?;
        let made = WrappedKey { label: label.to_owned(), wrapped: wrapped.to_vec() };
        self.write(move |transaction| {
            let mut keys = transaction.open_table(KEYS).map_err(failed)?;
            if let Some(stands) = keys.get(handle).map_err(failed)? {
                return Ok(key_from(stands.value()));
            }
            let erased = transaction.open_table(ERASED).map_err(failed)?;
            if erased.get((handle, made.label.as_str())).map_err(failed)?.is_some() {
                return Err(Error::new(ErrorKind::Busy, "the subject was erased meanwhile"));
            }
            keys.insert(handle, (made.label.as_str(), made.wrapped.as_slice())).map_err(failed)?;
            Ok(made)
        })
        .await
    }

    async fn current(&self, handle: &SubjectHandle) -> Result<Option<WrappedKey>> {
        let handle = bytes_of(handle)?;
        self.read(move |transaction| {
            let keys = transaction.open_table(KEYS).map_err(failed)?;
            let stands = keys.get(handle).map_err(failed)?;
            Ok(stands.map(|stands| key_from(stands.value())))
        })
        .await
    }

    async fn replace(
        &self,
        handle: &SubjectHandle,
        label: &str,
        old: &[u8],
        new: &[u8],
    ) -> Result<bool> {
        let handle = bytes_of(handle)?;
        let [old, new] = [old, new].map(<[u8]>::to_vec);
        let label = label.to_owned();
        self.write(move |transaction| {
            let mut keys = transaction.open_table(KEYS).map_err(failed)?;
            let stands = keys.get(handle).map_err(failed)?.map(|stands| key_from(stands.value()));
            match stands {
                Some(stands) if stands.label != label => Ok(false),
                Some(stands) if stands.wrapped == new => Ok(true),
                Some(stands) if stands.wrapped == old => {
                    keys.insert(handle, (label.as_str(), new.as_slice())).map_err(failed)?;
                    Ok(true)
                }
                _ => Ok(false),
            }
        })
        .await
    }

    async fn erase(&self, handle: &SubjectHandle) -> Result<u64> {
        let handle = bytes_of(handle)?;
        self.write(move |transaction| {
            let mut keys = transaction.open_table(KEYS).map_err(failed)?;
            let gone = keys.remove(handle).map_err(failed)?.map(|key| key_from(key.value()));
            if let Some(gone) = &gone {
                let mut erased = transaction.open_table(ERASED).map_err(failed)?;
                erased.insert((handle, gone.label.as_str()), ()).map_err(failed)?;
            }
            let mut generation = transaction.open_table(GENERATION).map_err(failed)?;
            let before = generation.get(0).map_err(failed)?.map_or(0, |held| held.value());
            generation.insert(0, before + 1).map_err(failed)?;
            Ok(u64::from(gone.is_some()))
        })
        .await
    }

    async fn generation(&self) -> Result<u64> {
        self.read(|transaction| {
            let generation = transaction.open_table(GENERATION).map_err(failed)?;
            Ok(generation.get(0).map_err(failed)?.map_or(0, |held| held.value()))
        })
        .await
    }

    async fn list(
        &self,
        after: Option<(SubjectHandle, String)>,
        limit: usize,
    ) -> Result<Vec<(SubjectHandle, WrappedKey)>> {
        let after = after.map(|(handle, _)| bytes_of(&handle)).transpose()?;
        self.read(move |transaction| {
            let keys = transaction.open_table(KEYS).map_err(failed)?;
            let mut page = Vec::new();
            for row in keys.range(after.unwrap_or_default()..).map_err(failed)? {
                let (handle, key) = row.map_err(failed)?;
                if page.len() == limit {
                    break;
                }
                if Some(handle.value()) != after {
                    page.push((SubjectHandle::from_bytes(&handle.value()), key_from(key.value())));
                }
            }
            Ok(page)
        })
        .await
    }
}

/// Readers find every table, also before the first key.
fn make_tables(database: &Database) -> Result<()> {
    let transaction = database.begin_write().map_err(failed)?;
    transaction.open_table(KEYS).map_err(failed)?;
    transaction.open_table(ERASED).map_err(failed)?;
    transaction.open_table(GENERATION).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    Ok(())
}

fn key_from((label, wrapped): (&str, &[u8])) -> WrappedKey {
    WrappedKey { label: label.to_owned(), wrapped: wrapped.to_vec() }
}

fn bytes_of(handle: &SubjectHandle) -> Result<[u8; 16]> {
    handle.to_bytes().ok_or_else(|| Error::corrupt("a subject's handle is malformed"))
}
