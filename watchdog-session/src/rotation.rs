//! What becomes of a refresh token: the verdict, and the header after it.
//!
//! Everything here is pure. The script `session.rotate.v2` says the same in Lua, and a property
//! test holds it against this file.

#[cfg(test)]
mod tests;

use crate::record::{Header, Millis};

/// Most uses of one grace period. Beyond it a token is refused, and the session lives on.
pub const GRACE_LIMIT: u16 = 64;
/// Most generations a token may be ahead of the store: what a failover may have lost.
pub const REPAIR_DISTANCE: u32 = 8;

/// How late a repeated call may come in and still be judged by when it was first made, in
/// milliseconds.
pub const REPEAT_WINDOW: Millis = 10_000;

/// What a genuine refresh token led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// The current token: replaced by its successor.
    Rotated,
    /// The current token, and rotation is off: it stays.
    Kept,
    /// The token just replaced, within its grace period and from the same client: the same
    /// successor once more.
    Grace,
    /// A token ahead of the store, which lost writes in a failover: taken over, replaced.
    Repaired,
    /// A token replaced before: somebody else has it too. The session is revoked.
    Reuse,
    /// A replaced token, in a call made before the last rotation that arrives after it: an echo of
    /// whoever held the token then. Nothing changed.
    Late,
    /// The session is over by idleness or age, and removed.
    Expired,
    /// There is no such session. Nothing changed.
    Gone,
    /// Another client than the one the session was issued to. Nothing changed.
    Mismatch,
    /// The grace period was used [`GRACE_LIMIT`] times. Nothing changed.
    Exhausted,
    /// More than [`REPAIR_DISTANCE`] ahead of the store. Nothing changed.
    Ahead,
}

impl Verdict {
    /// The name used by scripts, events and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rotated => "rotated",
            Self::Kept => "kept",
            Self::Grace => "grace",
            Self::Repaired => "repaired",
            Self::Reuse => "reuse",
            Self::Late => "late",
            Self::Expired => "expired",
            Self::Gone => "gone",
            Self::Mismatch => "mismatch",
            Self::Exhausted => "exhausted",
            Self::Ahead => "ahead",
        }
    }

    /// The verdict of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        const ALL: [Verdict; 11] = [
            Verdict::Rotated,
            Verdict::Kept,
            Verdict::Grace,
            Verdict::Repaired,
            Verdict::Reuse,
            Verdict::Late,
            Verdict::Expired,
            Verdict::Gone,
            Verdict::Mismatch,
            Verdict::Exhausted,
            Verdict::Ahead,
        ];
        ALL.into_iter().find(|verdict| verdict.as_str() == name)
    }

    /// Whether the caller gets new tokens.
    pub const fn is_granted(self) -> bool {
        matches!(self, Self::Rotated | Self::Kept | Self::Grace | Self::Repaired)
    }
}

/// What a caller presents: digests only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presented {
    /// The generation of the token.
    pub generation: u32,
    /// SHA-256 of its value.
    pub digest: [u8; 32],
    /// SHA-256 of its successor's value.
    pub successor: [u8; 32],
    /// Keyed digest of the client.
    pub client: [u8; 16],
    /// Random mark of this call.
    pub nonce: [u8; 8],
    /// When this call was made, by the caller's idea of the store's time; `u64::MAX` when it
    /// has none. A repeat carries the same, so that it does not fall out of the grace period on its
    /// way. Believed for [`REPEAT_WINDOW`].
    pub made_at: Millis,
    /// Keyed digest of the address, when it must be the one the session was issued to.
    pub ip: Option<[u8; 16]>,
    /// Keyed digest of the agent family.
    pub agent_tag: [u8; 16],
    /// Whether the agent family must be the one the session was issued to.
    pub bind_agent: bool,
    /// The family of the address: 4, 6, or 0 when it is not known.
    pub family: u8,
}

/// The rules in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether the current token is replaced.
    pub rotate: bool,
    /// How long a replaced token keeps its successor, in milliseconds.
    pub grace: Millis,
    /// Most uses of one grace period.
    pub grace_limit: u16,
}

/// A verdict, and whether it only repeats the answer to a call that was made before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The verdict.
    pub verdict: Verdict,
    /// Whether this very call was answered before: nothing changes and nothing is reported.
    pub repeated: bool,
}

/// Decides on a genuine token for an existing session.
pub fn decide(header: &Header, presented: &Presented, rules: &Rules, now: Millis) -> Decision {
    let first = |verdict| Decision { verdict, repeated: false };
    if header.common.is_expired(now) {
        return first(Verdict::Expired);
    }
    if header.nonce == presented.nonce && header.current_digest == presented.successor {
        let verdict = if header.is_repaired() { Verdict::Repaired } else { Verdict::Rotated };
        return Decision { verdict, repeated: true };
    }
    let verdict = by_lineage(header, presented, rules, now);
    let stranger = presented.ip.is_some_and(|ip| ip != header.origin_ip)
        || (presented.bind_agent && presented.agent_tag != header.origin_agent);
    // A stranger with a replaced token is a thief found out; with a live one, only refused.
    first(if verdict.is_granted() && stranger { Verdict::Mismatch } else { verdict })
}

fn by_lineage(header: &Header, presented: &Presented, rules: &Rules, now: Millis) -> Verdict {
    if presented.generation > header.generation {
        return if presented.generation - header.generation <= REPAIR_DISTANCE {
            Verdict::Repaired
        } else {
            Verdict::Ahead
        };
    }
    if presented.generation == header.generation && presented.digest == header.current_digest {
        return if rules.rotate { Verdict::Rotated } else { Verdict::Kept };
    }
    let just_replaced = presented.generation.checked_add(1) == Some(header.generation)
        && presented.digest == header.previous_digest
        && presented.successor == header.current_digest;
    let made_at = presented.made_at.clamp(now.saturating_sub(REPEAT_WINDOW), now);
    let in_grace = made_at.saturating_sub(header.rotated_at) < rules.grace
        && (presented.client == header.rotated_by || changed_family(header, presented));
    // A clock that went back cannot tell what came first.
    let is_late = made_at < header.rotated_at && header.rotated_at <= now;
    match (just_replaced && in_grace, header.grace_used < rules.grace_limit) {
        (true, true) => Verdict::Grace,
        (true, false) => Verdict::Exhausted,
        (false, _) if is_late => Verdict::Late,
        (false, _) => Verdict::Reuse,
    }
}

/// Whether the last rotation came over IPv4 and this call over IPv6, or the other way round, from
/// the agent family the session was issued to. One host has both, and takes now this, now that
/// (RFC 8305); its two networks cannot be held against each other.
fn changed_family(header: &Header, presented: &Presented) -> bool {
    let families = (header.family(), presented.family);
    matches!(families, (4, 6) | (6, 4)) && presented.agent_tag == header.origin_agent
}

/// The header after a decision; `None` when the session ends by it.
pub fn apply(
    decision: Decision,
    header: &Header,
    presented: &Presented,
    now: Millis,
) -> Option<Header> {
    let mut next = *header;
    if decision.repeated {
        return Some(next);
    }
    match decision.verdict {
        Verdict::Rotated | Verdict::Repaired => {
            next.set_repaired(decision.verdict == Verdict::Repaired);
            next.generation = presented.generation.saturating_add(1);
            next.previous_digest = presented.digest;
            next.current_digest = presented.successor;
            next.rotated_at = now;
            next.rotated_by = presented.client;
            next.set_family(presented.family);
            next.nonce = presented.nonce;
            next.grace_used = 0;
        }
        Verdict::Grace => next.grace_used += 1,
        Verdict::Kept => {}
        Verdict::Mismatch | Verdict::Exhausted | Verdict::Ahead | Verdict::Gone | Verdict::Late => {
            return Some(next);
        }
        Verdict::Reuse | Verdict::Expired => return None,
    }
    next.common.last_seen = next.common.last_seen.max(now);
    Some(next)
}
