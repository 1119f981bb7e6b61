//! Holds in the bucket.

use std::collections::BTreeSet;

use watchdog_core::Timestamp;
use watchdog_core::audit::{Actor, Category, Entry, Resource};

use super::document::{HOLD_FORMAT, HeldSubject, HoldDocument, RELEASE_FORMAT, ReleaseDocument};
use super::{HOLD_RESOURCE, Hold, Holds, LegalHold, PLACED, Trust};
use crate::archive::Archive;
use crate::error::{Error, ErrorKind, Result};
use crate::hex;
use crate::merkle::sha256;
use crate::personal::{Sealed, SubjectKeys};
use crate::signed::encode;
use crate::writer_id::WriterId;

pub(crate) const HOLDS: &str = "audit/v1/holds/";
const HOLD: &str = ".json";
const RELEASE: &str = ".released.json";

/// The key of a hold.
pub(crate) fn hold_key(id: &str) -> String {
    format!("{HOLDS}{id}{HOLD}")
}

fn release_key(id: &str) -> String {
    format!("{HOLDS}{id}{RELEASE}")
}

/// The ids of the holds that are in the bucket, released or not.
pub(crate) async fn placed(archive: &Archive) -> Result<BTreeSet<String>> {
    Ok(ids(&archive.keys(HOLDS, None).await?).map(str::to_owned).collect())
}

/// Whether a key of the log has signed the hold in the bucket.
pub(crate) async fn is_genuine(archive: &Archive, trust: &Trust<'_>, id: &str) -> Result<bool> {
    let object = archive.read(&hold_key(id)).await?;
    Ok(object.is_some_and(|object| trust.read::<HoldDocument>(&object, id).is_some()))
}

/// The ids in a listing.
fn ids(names: &[String]) -> impl Iterator<Item = &str> {
    // `<id>.released.json` ends as `<id>.json` does, and no id has a dot.
    names
        .iter()
        .filter_map(|key| key.strip_prefix(HOLDS)?.strip_suffix(HOLD))
        .filter(|id| !id.contains('.'))
}

/// The holds that are placed and not released. What stands in the place of a hold and is none that
/// this log has signed holds everything until somebody mends it; a release that does not count is
/// ignored.
pub(crate) async fn in_force(archive: &Archive, keys: Option<&dyn SubjectKeys>) -> Result<Holds> {
    let names = archive.keys(HOLDS, None).await?;
    let mut holds = Vec::new();
    if names.is_empty() {
        return Ok(Holds(holds));
    }
    let trust = Trust::of(archive).await?;
    for id in ids(&names).collect::<BTreeSet<_>>() {
        let Some(object) = archive.read(&hold_key(id)).await? else { continue };
        let is_released =
            names.contains(&release_key(id)) && is_released(archive, &trust, id, &object).await?;
        if is_released {
            continue;
        }
        holds.push(match trust.read::<HoldDocument>(&object, id) {
            Some(document) => read(document, keys).await?,
            None => {
                tracing::error!(
                    hold = id,
                    "a legal hold does not verify: everything is held until it is mended"
                );
                let reason = "it does not verify, so it holds everything";
                let terms = LegalHold::new(id, reason);
                Hold { terms, handles: Vec::new(), since: Timestamp::MAX }
            }
        });
    }
    Ok(Holds(holds))
}

/// The release of a hold as it stands in the bucket, when a key of the log has signed it.
async fn released(
    archive: &Archive,
    trust: &Trust<'_>,
    id: &str,
    hold: &[u8],
) -> Result<Option<ReleaseDocument>> {
    let Some(object) = archive.read(&release_key(id)).await? else { return Ok(None) };
    let release = trust.read::<ReleaseDocument>(&object, id);
    Ok(release.filter(|release| release.hold == hex::encode(&sha256(&[hold]))))
}

async fn is_released(archive: &Archive, trust: &Trust<'_>, id: &str, hold: &[u8]) -> Result<bool> {
    let counts = match released(archive, trust, id, hold).await? {
        Some(release) => trust.counts(&release).await?,
        None => false,
    };
    if !counts {
        tracing::error!(
            hold = id,
            "the release of a legal hold is ignored: no key of the log has signed it, or one that \
             was replaced has and no archived entry tells of it"
        );
    }
    Ok(counts)
}

async fn read(document: HoldDocument, keys: Option<&dyn SubjectKeys>) -> Result<Hold> {
    let mut handles = Vec::new();
    let mut subject = None;
    if let Some(held) = document.subject {
        handles = held.handles;
        let opened = match (&held.sealed, keys) {
            (Some(sealed), Some(keys)) => sealed.open(keys, document.writer, 0).await?,
            _ => None,
        };
        let id = opened.map(|personal| personal.actor).or(held.id);
        if let (Some(id), Some(keys)) = (&id, keys) {
            // A root key may have been added since: new entries stand under its handle.
            let actor = Actor { kind: held.kind.clone(), id: id.clone() };
            for handle in keys.handles(&actor).await? {
                if !handles.contains(&handle) {
                    handles.push(handle);
                }
            }
        }
        subject = Some(Actor { kind: held.kind, id: id.unwrap_or_default() });
    }
    let terms = LegalHold {
        id: document.id,
        category: document.category,
        subject,
        reason: document.reason,
    };
    Ok(Hold { terms, handles, since: document.placed_at })
}

/// Creates the object of a hold. Placing the same hold again changes nothing.
pub(super) async fn place(
    archive: &Archive,
    keys: Option<&dyn SubjectKeys>,
    terms: &LegalHold,
    now: Timestamp,
) -> Result<()> {
    let key = hold_key(&terms.id);
    if let Some(object) = archive.read(&key).await? {
        let trust = Trust::of(archive).await?;
        let held = match trust.read::<HoldDocument>(&object, &terms.id) {
            Some(document) => read(document, keys).await?,
            None => return Err(taken(&terms.id)),
        };
        let is_released = archive.read(&release_key(&terms.id)).await?.is_some();
        let handles = match (&terms.subject, keys) {
            (Some(subject), Some(keys)) => keys.handles(subject).await?,
            _ => Vec::new(),
        };
        let is_same = held.has(terms, &handles) && !is_released;
        return if is_same { Ok(()) } else { Err(taken(&terms.id)) };
    }
    let writer = WriterId::random()?;
    let subject = match &terms.subject {
        Some(actor) => Some(held_subject(keys, actor, writer, now).await?),
        None => None,
    };
    let document = HoldDocument {
        format: HOLD_FORMAT.into(),
        id: terms.id.clone(),
        category: terms.category,
        subject,
        reason: terms.reason.clone(),
        placed_at: now,
        writer,
        key: archive.signer().public_key().id(),
    };
    let content = encode(&document, archive.signer())?;
    archive.create(&key, content.into()).await
}

async fn held_subject(
    keys: Option<&dyn SubjectKeys>,
    actor: &Actor,
    writer: WriterId,
    now: Timestamp,
) -> Result<HeldSubject> {
    let kind = actor.kind.clone();
    let Some(keys) = keys else {
        let id = Some(actor.id.clone());
        return Ok(HeldSubject { kind, id, sealed: None, handles: Vec::new() });
    };
    let (action, resource) = (PLACED, Resource::new(HOLD_RESOURCE, ""));
    let id = uuid::Uuid::nil();
    let entry = Entry::new(id, now, Category::Security, actor.clone(), action, resource);
    let sealed = Sealed::seal(&keys.current(actor).await?, writer, 0, &entry)?;
    let handles = keys.handles(actor).await?;
    Ok(HeldSubject { kind, id: None, sealed: Some(sealed), handles })
}

/// Creates the object that releases a hold. Releasing it again changes nothing.
pub(super) async fn release(archive: &Archive, id: &str, now: Timestamp) -> Result<()> {
    let Some(object) = archive.read(&hold_key(id)).await? else {
        let context = format_args!("there is no legal hold {id}");
        return Err(Error::new(ErrorKind::Misuse, context));
    };
    let trust = Trust::of(archive).await?;
    if released(archive, &trust, id, &object).await?.is_some() {
        return Ok(());
    }
    let document = ReleaseDocument {
        format: RELEASE_FORMAT.into(),
        id: id.into(),
        hold: hex::encode(&sha256(&[&object])),
        released_at: now,
        key: trust.release_key(),
    };
    let content = encode(&document, archive.signer())?;
    archive.create(&release_key(id), content.into()).await
}

fn taken(id: &str) -> Error {
    Error::new(
        ErrorKind::Misuse,
        format_args!("a legal hold {id} exists with other terms or was released: take another id"),
    )
}
