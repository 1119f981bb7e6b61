//! What is known of the revocations in one bucket. No I/O, no clock.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::{MAX_BEHIND, Standing};
use crate::marker::Marker;
use crate::place::SessionId;
use crate::record::Millis;

/// Most markers of a bucket that are kept.
pub(super) const MAX_MARKERS: u32 = 4096;

/// Whose access token is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) user: [u8; 16],
    pub(super) session: SessionId,
    /// By the clock of the store.
    pub(super) issued_at: Millis,
}

/// What a reading of a bucket found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Markers {
    sessions: HashSet<([u8; 16], SessionId)>,
    /// Everything issued up to then is revoked.
    users: HashMap<[u8; 16], Millis>,
    everybody: Millis,
    /// About what was issued before, a marker may be missing.
    complete_from: Millis,
}

impl Markers {
    /// Reads the newest markers with their scores, newest first, one more than are kept; and the
    /// stamp of everybody.
    pub(super) fn parse<'a>(
        entries: impl IntoIterator<Item = (&'a [u8], i64)>,
        stamp: Option<&[u8]>,
    ) -> Self {
        let mut markers =
            Self { everybody: stamp.map(stamp_of).unwrap_or_default(), ..Self::default() };
        for (count, (member, score)) in entries.into_iter().enumerate() {
            let is_kept = count < MAX_MARKERS as usize && markers.add(member);
            if !is_kept {
                // Too many, or written by a later release: whoever was issued a token before
                // this may be revoked.
                let score = Millis::try_from(score).unwrap_or(0);
                markers.complete_from = markers.complete_from.max(score.saturating_add(1));
            }
        }
        markers
    }

    /// Whether the marker can be read.
    fn add(&mut self, member: &[u8]) -> bool {
        match std::str::from_utf8(member).ok().and_then(Marker::parse) {
            Some((user, Marker::User { up_to })) => {
                let known = self.users.entry(user).or_default();
                *known = up_to.max(*known);
            }
            Some((user, Marker::Session(session))) => {
                self.sessions.insert((user, session));
            }
            None => return false,
        }
        true
    }

    fn revoke(&self, claim: &Claim) -> bool {
        self.everybody >= claim.issued_at
            || self.users.get(&claim.user).is_some_and(|&stamp| stamp >= claim.issued_at)
            || self.sessions.contains(&(claim.user, claim.session))
    }
}

/// A stamp nobody can read revokes everything: the safe side.
fn stamp_of(text: &[u8]) -> Millis {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(Millis::MAX)
}

/// How far the markers of a bucket are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Knowledge {
    /// They were never read.
    None,
    /// Up to then; something changed since, or may have.
    Until(Instant),
    /// As far as the store has told.
    Current,
}

/// One bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    markers: Markers,
    knowledge: Knowledge,
    /// Counts what makes a reading under way worthless.
    version: u64,
}

impl Bucket {
    pub(super) fn new() -> Self {
        Self { markers: Markers::default(), knowledge: Knowledge::None, version: 0 }
    }

    /// Something changed, or may have, after `known`.
    pub(super) fn changed(&mut self, known: Option<Instant>) {
        self.version += 1;
        self.knowledge = match (self.knowledge, known) {
            (Knowledge::None, _) | (_, None) => Knowledge::None,
            (Knowledge::Until(since), Some(known)) => Knowledge::Until(since.min(known)),
            (Knowledge::Current, Some(known)) => Knowledge::Until(known),
        };
    }

    /// What a reading has to hand in with its answer.
    pub(super) fn begin(&self) -> u64 {
        self.version
    }

    /// Takes over what a reading found that began at `begun`. Whether the bucket is current now.
    pub(super) fn apply(&mut self, version: u64, begun: Instant, markers: Markers) -> bool {
        // In any case newer than what was there: readings of one bucket do not overlap.
        self.markers = markers;
        let is_current = version == self.version;
        self.knowledge = match self.knowledge {
            _ if is_current => Knowledge::Current,
            // A change came meanwhile; nothing before the reading is missing.
            Knowledge::Until(_) => Knowledge::Until(begun),
            unknown => unknown,
        };
        is_current
    }

    /// How a token stands, given until when the store has proved that it told everything.
    pub(super) fn judge(
        &self,
        claim: &Claim,
        confirmed: Option<Instant>,
        now: Instant,
    ) -> Standing {
        if self.markers.revoke(claim) {
            return Standing::Revoked;
        }
        let known = match self.knowledge {
            Knowledge::None => None,
            Knowledge::Until(since) => confirmed.map(|confirmed| confirmed.min(since)),
            Knowledge::Current => confirmed,
        };
        let is_known = known
            .is_some_and(|known| now.saturating_duration_since(known) <= MAX_BEHIND)
            && claim.issued_at >= self.markers.complete_from;
        if is_known { Standing::Live } else { Standing::Unknown }
    }
}

#[cfg(test)]
mod tests;
