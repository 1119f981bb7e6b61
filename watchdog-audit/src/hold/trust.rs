//! Whose signature counts under a hold, and under its release.
//!
//! A hold keeps: any key of the log may have signed it, of today or of before. A release lets go: a
//! key that was replaced may have been stolen, so what it has signed counts only when the log tells
//! of it.

use std::sync::Arc;

use watchdog_core::audit::Outcome;

use super::document::{HoldObject, ReleaseDocument, decode};
use super::{HOLD_RESOURCE, RELEASED};
use crate::archive::Archive;
use crate::chain::Chain;
use crate::entry::Line;
use crate::error::Result;
use crate::manifest::ArchivedObject;
use crate::pack::split;
use crate::rotation::signing;
use crate::signing::PublicKey;

/// The keys of a log, as the sound part of its chain and the settings have them.
#[derive(Debug)]
pub(crate) struct Trust<'a> {
    archive: &'a Archive,
    chain: Arc<Chain>,
}

impl<'a> Trust<'a> {
    pub(crate) async fn of(archive: &'a Archive) -> Result<Self> {
        Ok(Self { archive, chain: archive.sound_part().await? })
    }

    /// Reads the object of the hold `id`, `None` when it is not one that a key of the log has
    /// signed: one that the chain vouches for, or one of the settings.
    pub(super) fn read<T: HoldObject>(&self, bytes: &[u8], id: &str) -> Option<T> {
        let signer = self.archive.signer();
        decode(bytes, id, |key| self.chain.key(key).or_else(|| signer.accepted(key)))
    }

    /// The id of the key to sign a release with: one that counts by itself, if there is one here.
    pub(super) fn release_key(&self) -> String {
        let signer = self.archive.signer();
        let own = || signer.public_key();
        signing(&self.chain, signer).map_or_else(|_| own(), |signing| signing.next).id()
    }

    /// Whether a release counts.
    pub(super) async fn counts(&self, release: &ReleaseDocument) -> Result<bool> {
        Ok(self.signs_now(&release.key).is_some() || self.is_told(&release.id).await?)
    }

    /// The key of an id, when it signs the log now or may be the next to.
    fn signs_now(&self, id: &str) -> Option<PublicKey> {
        let signer = self.archive.signer();
        match self.chain.active_key() {
            None => signer.accepted(id),
            Some(active) if active.id() == id => Some(active),
            Some(_) if self.chain.key(id).is_some() => None,
            Some(_) => signer.successor(id),
        }
    }

    /// Whether an archived entry tells that a hold was released.
    async fn is_told(&self, id: &str) -> Result<bool> {
        let mut told = self.archive.told().lock().await;
        let searched = told.entry(id.to_owned()).or_insert(Some(0));
        let Some(from) = *searched else { return Ok(true) };
        for manifest in self.chain.manifests().iter().skip(from) {
            for object in manifest.objects.iter().filter(|object| may_tell(object, id)) {
                if self.tells(object, id).await? {
                    *searched = None;
                    return Ok(true);
                }
            }
        }
        *searched = Some(self.chain.manifests().iter().count().max(from));
        Ok(false)
    }

    async fn tells(&self, object: &ArchivedObject, id: &str) -> Result<bool> {
        // What is gone or altered tells nothing.
        let Ok(lines) = self.archive.lines(object).await? else { return Ok(false) };
        // One that failed, or was not seen to its end, may have released nothing.
        let tells = |line: Line| {
            let is_released = line.action == RELEASED && line.outcome == Outcome::Success;
            is_released && line.resource.kind == HOLD_RESOURCE && line.resource.id == id
        };
        Ok(split(&lines).any(|bytes| Line::decode(bytes).is_ok_and(tells)))
    }
}

fn may_tell(object: &ArchivedObject, id: &str) -> bool {
    object.zone.may_hold_action(RELEASED) && object.zone.may_hold_resource(HOLD_RESOURCE, Some(id))
}
