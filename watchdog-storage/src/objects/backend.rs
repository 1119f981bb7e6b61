//! Where the objects are: memory, a directory, or S3.

use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;

use super::{Budget, S3Config, key};
use crate::error::{Error, ErrorKind, Result};

#[cfg(feature = "s3")]
mod s3;

/// The bound of a call on memory and directories, which have no tries to count.
const LOCAL_DEADLINE: Duration = Duration::from_secs(60);

/// Where the objects are. No `Debug`: that of the S3 client prints credentials.
pub(super) enum Backend {
    Memory(InMemory),
    Local {
        store: LocalFileSystem,
        directory: PathBuf,
    },
    #[cfg(feature = "s3")]
    S3(Box<s3::Clients>),
}

impl Backend {
    pub(super) fn memory() -> Self {
        Self::Memory(InMemory::new())
    }

    pub(super) fn local(directory: &FilePath) -> Result<Self> {
        let refused = |source: Box<dyn std::error::Error + Send + Sync>| {
            let context = format!("cannot use the storage directory {}", directory.display());
            Error::new(ErrorKind::Config, context).with_source(source)
        };
        make_private(directory).map_err(|source| refused(source.into()))?;
        let store = LocalFileSystem::new_with_prefix(directory)
            .map_err(|source| refused(source.into()))?
            .with_fsync(true);
        Ok(Self::Local { store, directory: directory.to_owned() })
    }

    #[cfg(feature = "s3")]
    pub(super) fn s3(config: &S3Config) -> Result<Self> {
        s3::Clients::new(config).map(Box::new).map(Self::S3)
    }

    #[cfg(not(feature = "s3"))]
    pub(super) fn s3(_: &S3Config) -> Result<Self> {
        Err(Error::new(ErrorKind::Config, "storage of type s3 needs the crate's feature `s3`"))
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
            Self::Local { .. } => "local",
            #[cfg(feature = "s3")]
            Self::S3(_) => "s3",
        }
    }

    #[cfg_attr(not(feature = "s3"), expect(unused_variables, reason = "only S3 has budgets"))]
    pub(super) fn store(&self, budget: Budget) -> &dyn ObjectStore {
        match self {
            Self::Memory(store) => store,
            Self::Local { store, .. } => store,
            #[cfg(feature = "s3")]
            Self::S3(clients) => clients.of(budget),
        }
    }

    #[cfg(feature = "s3")]
    pub(super) fn paginated(&self, budget: Budget) -> Option<&object_store::aws::AmazonS3> {
        match self {
            Self::S3(clients) => Some(clients.of(budget)),
            _ => None,
        }
    }

    /// The client of the bucket's own settings, where there are any.
    #[cfg(feature = "s3")]
    pub(super) fn settings(&self) -> Option<&s3::SettingsClient> {
        match self {
            Self::S3(clients) => Some(clients.settings()),
            _ => None,
        }
    }

    #[cfg_attr(not(feature = "s3"), expect(unused_variables, reason = "only S3 has budgets"))]
    pub(super) fn deadline(&self, budget: Budget) -> Duration {
        match self {
            Self::Memory(_) | Self::Local { .. } => LOCAL_DEADLINE,
            #[cfg(feature = "s3")]
            Self::S3(clients) => clients.deadline(budget),
        }
    }

    /// The directory of a local bucket.
    pub(super) fn directory(&self) -> Option<&FilePath> {
        match self {
            Self::Local { directory, .. } => Some(directory),
            _ => None,
        }
    }

    /// Whether a write can mark its object, and may need to: only S3 loses replies.
    pub(super) fn has_marks(&self) -> bool {
        !matches!(self, Self::Memory(_) | Self::Local { .. })
    }

    /// The path of a valid key.
    pub(super) fn path(&self, key: &str) -> Result<Path> {
        let parsed = match self {
            Self::Local { .. } => Path::parse(key::to_file(key)),
            _ => Path::parse(key),
        };
        parsed.map_err(|source| {
            Error::new(ErrorKind::Misuse, format!("object key {key:?} cannot be used"))
                .with_source(source)
        })
    }

    /// The key at a path, `None` when it is not one of ours.
    pub(super) fn key(&self, path: &Path) -> Option<String> {
        match self {
            Self::Local { .. } => key::from_file(path.as_ref()),
            _ => Some(path.as_ref().to_owned()),
        }
    }

    /// What a create means that met a conflict time after time and found no object.
    pub(super) fn conflict_with_nothing(&self, key: &str) -> Error {
        match self {
            Self::Local { .. } => Error::new(
                ErrorKind::Misuse,
                format!("object \"{key}\" is the beginning of other objects' keys"),
            ),
            _ => Error::new(
                ErrorKind::Unavailable,
                format!("the store reports a conflict for object \"{key}\" and holds none"),
            ),
        }
    }
}

/// Makes a directory that nobody else can read; one that exists keeps its mode.
fn make_private(directory: &FilePath) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}
