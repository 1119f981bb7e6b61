//! How far the archive has a writer, by its committed manifests.

#[cfg(feature = "objects")]
use std::sync::Arc;

#[cfg(feature = "objects")]
use crate::archiver::Archiver;
use crate::error::Result;
use crate::writer_id::WriterId;

/// Asks the archive, where there is one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watermark {
    #[cfg(feature = "objects")]
    pub(crate) archiver: Option<Arc<Archiver>>,
}

impl Watermark {
    /// The last archived number of a writer; 0 without an archive.
    ///
    /// It comes from the signed manifests: somebody who can write to the store cannot make a spool
    /// let go.
    pub(crate) async fn of(&self, writer: &WriterId) -> Result<u64> {
        #[cfg(feature = "objects")]
        if let Some(archiver) = &self.archiver {
            return archiver.archive().high_water(writer).await;
        }
        let _ = writer;
        Ok(0)
    }
}
