//! Legal holds: what they cover, without I/O.
//!
//! A hold is an object of the bucket, created once and never changed; its release is another. While
//! a hold is in force no segment of the store with an entry it covers has a life that ends, and no
//! subject it may concern can be erased.

mod document;
mod erasing;
mod log;
mod objects;
mod trust;

use serde::{Deserialize, Serialize};
use watchdog_core::Timestamp;
use watchdog_core::audit::{Actor, Category};

use crate::entry::Line;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::manifest::ArchivedObject;
use crate::personal::SubjectHandle;

pub(crate) use erasing::{Erasing, WITHIN};
pub(crate) use objects::{hold_key, in_force, is_genuine, placed};
pub(crate) use trust::Trust;

/// The action of the entry that tells of a hold.
pub(crate) const PLACED: &str = "audit.hold_placed";
/// The action of the entry that tells of a release.
const RELEASED: &str = "audit.hold_released";
/// What such an entry is about.
pub(crate) const HOLD_RESOURCE: &str = "audit_hold";

/// Longest id of a hold, in bytes.
const MAX_ID_BYTES: usize = 64;
/// Longest reason of a hold, in bytes.
const MAX_REASON_BYTES: usize = 1024;

/// A legal hold: entries that neither expire nor lose their personal fields until it is released.
///
/// Without category and subject it covers every entry; with both, the entries of the subject in the
/// category. A subject is the actor of an entry: entries of others that only mention it are covered
/// by a hold of their category.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegalHold {
    /// The name of the hold: 1 to 64 of `a-z 0-9 - _`, never used again, also after the release.
    pub id: String,
    /// The category it covers; every one without it.
    pub category: Option<Category>,
    /// The actor whose entries it covers; everybody's without it. The id is empty when it was
    /// sealed under a key that is gone.
    pub subject: Option<Actor>,
    /// Why, for those who read the log: at most 1024 bytes. It stands in the bucket in the clear.
    pub reason: String,
}

impl LegalHold {
    /// A hold that covers every entry.
    pub fn new(id: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { id: id.into(), category: None, subject: None, reason: reason.into() }
    }

    /// Covers entries of this category only.
    #[must_use]
    pub fn with_category(mut self, category: Category) -> Self {
        self.category = Some(category);
        self
    }

    /// Covers entries of this actor only.
    #[must_use]
    pub fn with_subject(mut self, subject: Actor) -> Self {
        self.subject = Some(subject);
        self
    }

    fn check(&self) -> Result<()> {
        let is_id = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        if !(1..=MAX_ID_BYTES).contains(&self.id.len()) || !self.id.bytes().all(is_id) {
            let context = "the id of a legal hold is 1 to 64 of a-z, 0-9, - and _";
            return Err(Error::new(ErrorKind::Misuse, context));
        }
        if self.reason.len() > MAX_REASON_BYTES {
            let context = "the reason of a legal hold takes at most 1024 bytes";
            return Err(Error::new(ErrorKind::TooLarge, context));
        }
        Ok(())
    }
}

/// A hold in force, with the handles its subject stands under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) terms: LegalHold,
    pub(crate) handles: Vec<SubjectHandle>,
    /// When it was placed.
    pub(crate) since: Timestamp,
}

impl Hold {
    /// Whether the key under a handle must stay.
    pub(crate) fn keeps(&self, handle: &SubjectHandle) -> bool {
        self.terms.subject.is_none() || self.handles.contains(handle)
    }

    /// Whether the hold may cover entries of a subject, so that its keys must stay. The handles tell
    /// as well: the key that its own name is sealed under may have been destroyed as it was placed.
    pub(crate) fn concerns(&self, subject: &Actor, handles: &[SubjectHandle]) -> bool {
        self.terms.subject.as_ref().is_none_or(|held| {
            held == subject || self.handles.iter().any(|handle| handles.contains(handle))
        })
    }

    /// Whether it has these terms, whose subject has these handles.
    fn has(&self, terms: &LegalHold, handles: &[SubjectHandle]) -> bool {
        let is_subject = match &terms.subject {
            Some(subject) => self.terms.subject.is_some() && self.concerns(subject, handles),
            None => self.terms.subject.is_none(),
        };
        let rest = |hold: &LegalHold| (hold.id.clone(), hold.category, hold.reason.clone());
        is_subject && rest(&self.terms) == rest(terms)
    }

    /// Whether it covers the entry of a line.
    fn covers(&self, line: &Line) -> bool {
        self.terms.category.is_none_or(|category| category == line.category)
            && self.covers_actor(line)
    }

    fn covers_actor(&self, line: &Line) -> bool {
        let Some(subject) = &self.terms.subject else { return true };
        match &line.sealed {
            Some(sealed) => self.handles.contains(&sealed.subject),
            None => {
                *line.actor.kind == *subject.kind && line.actor.id.as_deref() == Some(&subject.id)
            }
        }
    }

    /// Whether it covers an entry of a segment that nothing is known of.
    fn covers_unknown(&self) -> Coverage {
        match (self.terms.category, &self.terms.subject) {
            (None, None) => Coverage::Covered,
            _ => Coverage::Unknown,
        }
    }

    /// Whether it covers an entry of an object, as far as the manifest tells.
    fn covers_object(&self, object: &ArchivedObject) -> Coverage {
        if self.terms.category.is_some_and(|category| category != object.category) {
            return Coverage::Free;
        }
        let Some(subject) = &self.terms.subject else { return Coverage::Covered };
        let zone = &object.zone;
        let may_be_there = zone.may_hold_actor(subject)
            || self.handles.iter().any(|handle| zone.may_hold_handle(handle));
        if may_be_there { Coverage::Unknown } else { Coverage::Free }
    }
}

/// Whether a hold covers an entry of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Coverage {
    /// No hold does.
    Free,
    /// Its entries must be read to tell.
    Unknown,
    /// One does.
    Covered,
}

/// The holds in force, in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holds(pub(crate) Vec<Hold>);

impl Holds {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a hold covers an entry of these frames. What cannot be read is covered.
    pub(crate) fn cover<'a>(&self, frames: impl IntoIterator<Item = &'a Frame>) -> bool {
        !self.is_empty()
            && frames.into_iter().flat_map(Frame::lines).any(|bytes| {
                Line::decode(bytes)
                    .map_or(true, |line| self.0.iter().any(|hold| hold.covers(&line)))
            })
    }

    /// Whether a hold covers an entry of a segment that nothing is known of.
    pub(crate) fn cover_unknown(&self) -> Coverage {
        self.0.iter().map(Hold::covers_unknown).max().unwrap_or(Coverage::Free)
    }

    /// Whether a hold covers an entry of an object, as far as the manifest tells.
    pub(crate) fn cover_object(&self, object: &ArchivedObject) -> Coverage {
        self.0.iter().map(|hold| hold.covers_object(object)).max().unwrap_or(Coverage::Free)
    }

    /// Since when a hold may cover entries of a category.
    pub(crate) fn since(&self, category: Category) -> Option<Timestamp> {
        let holds = self.0.iter();
        let holds = holds.filter(|hold| hold.terms.category.is_none_or(|held| held == category));
        holds.map(|hold| hold.since).min()
    }

    /// Whether a hold may cover entries of a category, so that its objects must not expire.
    pub(crate) fn concern(&self, category: Category) -> bool {
        self.0.iter().any(|hold| hold.terms.category.is_none_or(|held| held == category))
    }
}

#[cfg(test)]
mod tests;
