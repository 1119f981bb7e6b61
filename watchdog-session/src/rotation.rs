//! What becomes of a refresh token: the verdict, and the header after it.
//!
//! Everything here is pure. The script `session.rotate.v1` says the same in Lua, and a property
//! test holds it against this file.

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
            Self::Expired => "expired",
            Self::Gone => "gone",
            Self::Mismatch => "mismatch",
            Self::Exhausted => "exhausted",
            Self::Ahead => "ahead",
        }
    }

    /// The verdict of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        const ALL: [Verdict; 10] = [
            Verdict::Rotated,
            Verdict::Kept,
            Verdict::Grace,
            Verdict::Repaired,
            Verdict::Reuse,
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
    match (just_replaced && in_grace, header.grace_used < rules.grace_limit) {
        (true, true) => Verdict::Grace,
        (true, false) => Verdict::Exhausted,
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
        Verdict::Mismatch | Verdict::Exhausted | Verdict::Ahead | Verdict::Gone => {
            return Some(next);
        }
        Verdict::Reuse | Verdict::Expired => return None,
    }
    next.common.last_seen = next.common.last_seen.max(now);
    Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_600_000;
    const RULES: Rules = Rules { rotate: true, grace: 10_000, grace_limit: 64 };

    /// Generation 7, current value 3, previous value 4, rotated by client 7.
    fn header() -> Header {
        let mut header = crate::record::tests::header();
        header.grace_used = 0;
        header
    }

    fn current() -> Presented {
        Presented {
            generation: 7,
            digest: [3; 32],
            successor: [30; 32],
            client: [7; 16],
            nonce: [9; 8],
            made_at: Millis::MAX,
            ip: None,
            agent_tag: [6; 16],
            bind_agent: false,
            family: 0,
        }
    }

    fn previous() -> Presented {
        Presented { generation: 6, digest: [4; 32], successor: [3; 32], ..current() }
    }

    fn verdict(header: &Header, presented: &Presented, now: Millis) -> Verdict {
        let decision = decide(header, presented, &RULES, now);
        assert!(!decision.repeated);
        decision.verdict
    }

    #[test]
    fn the_current_token_is_rotated() {
        let decision = decide(&header(), &current(), &RULES, NOW);
        assert_eq!(decision.verdict, Verdict::Rotated);
        let next = apply(decision, &header(), &current(), NOW).unwrap();
        assert_eq!((next.generation, next.current_digest), (8, [30; 32]));
        assert_eq!((next.previous_digest, next.rotated_at), ([3; 32], NOW));
        assert_eq!((next.rotated_by, next.nonce, next.grace_used), ([7; 16], [9; 8], 0));
        assert_eq!(next.common.last_seen, NOW);
        assert_eq!(next.secret_digest, header().secret_digest);
    }

    #[test]
    fn the_current_token_stays_when_rotation_is_off() {
        let rules = Rules { rotate: false, ..RULES };
        let decision = decide(&header(), &current(), &rules, NOW);
        assert_eq!(decision.verdict, Verdict::Kept);
        let mut expected = header();
        expected.common.last_seen = NOW;
        assert_eq!(apply(decision, &header(), &current(), NOW), Some(expected));
    }

    #[test]
    fn the_same_call_once_more_gets_the_same_answer_and_changes_nothing() {
        let rotated = apply(decide(&header(), &current(), &RULES, NOW), &header(), &current(), NOW);
        let rotated = rotated.unwrap();
        let again = decide(&rotated, &current(), &RULES, NOW + 60_000);
        assert_eq!(again, Decision { verdict: Verdict::Rotated, repeated: true });
        assert_eq!(apply(again, &rotated, &current(), NOW + 60_000), Some(rotated));
        let mut repaired = rotated;
        repaired.set_repaired(true);
        let again = decide(&repaired, &current(), &RULES, NOW);
        assert_eq!(again, Decision { verdict: Verdict::Repaired, repeated: true });
    }

    #[test]
    fn a_nonce_without_the_successor_proves_nothing() {
        let mut other = previous();
        other.nonce = header().nonce;
        other.successor = [8; 32];
        assert_eq!(verdict(&header(), &other, NOW), Verdict::Reuse);
    }

    #[test]
    fn the_token_just_replaced_has_its_grace_and_no_longer() {
        let mut header = header();
        header.rotated_at = NOW;
        let decision = decide(&header, &previous(), &RULES, NOW + 9_999);
        assert_eq!(decision.verdict, Verdict::Grace);
        let next = apply(decision, &header, &previous(), NOW + 9_999).unwrap();
        assert_eq!((next.grace_used, next.generation, next.nonce), (1, 7, header.nonce));
        assert_eq!(verdict(&header, &previous(), NOW + 10_000), Verdict::Reuse);
    }

    /// The token is presented 9.9 s after its replacement, the answer is lost, and the same call
    /// comes in again 0.2 s later: no theft.
    #[test]
    fn a_call_made_within_the_grace_period_is_judged_by_when_it_was_made() {
        let mut header = header();
        header.rotated_at = NOW;
        let call = Presented { made_at: NOW + 9_900, ..previous() };
        assert_eq!(verdict(&header, &call, NOW + 9_900), Verdict::Grace);
        assert_eq!(verdict(&header, &call, NOW + 10_100), Verdict::Grace);
        assert_eq!(verdict(&header, &call, NOW + 19_999), Verdict::Grace);
        // Nobody's word is taken for longer, nor for a time to come.
        assert_eq!(verdict(&header, &call, NOW + 20_000), Verdict::Reuse);
        let later = Presented { made_at: NOW + 10_000, ..previous() };
        assert_eq!(verdict(&header, &later, NOW + 9_999), Verdict::Grace);
        assert_eq!(verdict(&header, &later, NOW + 10_000), Verdict::Reuse);
        let rules = Rules { grace: 0, ..RULES };
        let early = Presented { made_at: NOW - 1, ..previous() };
        assert_eq!(decide(&header, &early, &rules, NOW).verdict, Verdict::Reuse);
    }

    #[test]
    fn without_a_grace_period_the_token_just_replaced_is_reuse() {
        let mut header = header();
        header.rotated_at = NOW;
        let rules = Rules { grace: 0, ..RULES };
        assert_eq!(decide(&header, &previous(), &rules, NOW).verdict, Verdict::Reuse);
    }

    #[test]
    fn a_clock_that_went_back_does_not_end_the_grace() {
        let mut header = header();
        header.rotated_at = NOW + 5_000;
        assert_eq!(verdict(&header, &previous(), NOW), Verdict::Grace);
    }

    #[test]
    fn grace_from_another_client_is_reuse() {
        let mut header = header();
        header.rotated_at = NOW;
        let thief = Presented { client: [8; 16], ..previous() };
        assert_eq!(verdict(&header, &thief, NOW), Verdict::Reuse);
    }

    /// A host with both families rotates over one, loses the answer, and asks over the other.
    #[test]
    fn grace_follows_a_host_from_one_address_family_to_the_other() {
        let mut header = header();
        header.rotated_at = NOW;
        let elsewhere = |family| Presented { client: [8; 16], family, ..previous() };
        for (then, now, wanted) in [
            (4, 6, Verdict::Grace),
            (6, 4, Verdict::Grace),
            (4, 4, Verdict::Reuse),
            (6, 6, Verdict::Reuse),
            (0, 6, Verdict::Reuse),
            (4, 0, Verdict::Reuse),
            (4, 5, Verdict::Reuse),
        ] {
            header.set_family(then);
            assert_eq!(verdict(&header, &elsewhere(now), NOW), wanted, "{then} to {now}");
        }
        header.set_family(4);
        let other_agent = Presented { agent_tag: [9; 16], ..elsewhere(6) };
        assert_eq!(verdict(&header, &other_agent, NOW), Verdict::Reuse);
        let next = apply(decide(&header, &current(), &RULES, NOW), &header, &current(), NOW);
        assert_eq!(next.unwrap().family(), 0);
    }

    #[test]
    fn grace_beyond_its_count_is_refused_without_revoking() {
        let mut header = header();
        header.rotated_at = NOW;
        header.grace_used = 63;
        assert_eq!(verdict(&header, &previous(), NOW), Verdict::Grace);
        header.grace_used = 64;
        let decision = decide(&header, &previous(), &RULES, NOW);
        assert_eq!(decision.verdict, Verdict::Exhausted);
        assert_eq!(apply(decision, &header, &previous(), NOW), Some(header));
        // Out of the grace period it is theft all the same.
        assert_eq!(verdict(&header, &previous(), NOW + 10_000), Verdict::Reuse);
    }

    #[test]
    fn two_generations_back_is_reuse_inside_the_grace_period_too() {
        let mut header = header();
        header.rotated_at = NOW;
        let old = Presented { generation: 5, digest: [5; 32], successor: [4; 32], ..current() };
        let decision = decide(&header, &old, &RULES, NOW);
        assert_eq!(decision.verdict, Verdict::Reuse);
        assert_eq!(apply(decision, &header, &old, NOW), None);
    }

    #[test]
    fn a_genuine_token_that_does_not_fit_its_generation_is_reuse() {
        let odd = Presented { digest: [99; 32], ..current() };
        assert_eq!(verdict(&header(), &odd, NOW), Verdict::Reuse);
        let mut fresh = header();
        fresh.rotated_at = NOW;
        let odd = Presented { successor: [99; 32], ..previous() };
        assert_eq!(verdict(&fresh, &odd, NOW), Verdict::Reuse);
        let odd = Presented { digest: [99; 32], ..previous() };
        assert_eq!(verdict(&fresh, &odd, NOW), Verdict::Reuse);
    }

    #[test]
    fn a_token_ahead_of_the_store_repairs_it_up_to_a_distance() {
        let ahead = |by| Presented { generation: 7 + by, digest: [50; 32], ..current() };
        for by in [1, 8] {
            let decision = decide(&header(), &ahead(by), &RULES, NOW);
            assert_eq!(decision.verdict, Verdict::Repaired);
            let next = apply(decision, &header(), &ahead(by), NOW).unwrap();
            assert_eq!((next.generation, next.previous_digest), (8 + by, [50; 32]));
            assert!(next.is_repaired());
        }
        let decision = decide(&header(), &ahead(9), &RULES, NOW);
        assert_eq!(decision.verdict, Verdict::Ahead);
        assert_eq!(apply(decision, &header(), &ahead(9), NOW), Some(header()));
    }

    #[test]
    fn an_expired_session_is_expired_whatever_is_presented() {
        for presented in [current(), previous()] {
            assert_eq!(verdict(&header(), &presented, 2_800_000), Verdict::Expired);
        }
        let decision = decide(&header(), &current(), &RULES, 2_800_000);
        assert_eq!(apply(decision, &header(), &current(), 2_800_000), None);
    }

    #[test]
    fn a_stranger_is_refused_with_a_live_token_and_caught_with_a_dead_one() {
        let at_home = Presented { ip: Some([5; 16]), bind_agent: true, ..current() };
        assert_eq!(verdict(&header(), &at_home, NOW), Verdict::Rotated);
        for stranger in [
            Presented { ip: Some([0; 16]), ..at_home },
            Presented { agent_tag: [0; 16], ..at_home },
        ] {
            let decision = decide(&header(), &stranger, &RULES, NOW);
            assert_eq!(decision.verdict, Verdict::Mismatch);
            assert_eq!(apply(decision, &header(), &stranger, NOW), Some(header()));
            let old = Presented { generation: 5, ..stranger };
            assert_eq!(verdict(&header(), &old, NOW), Verdict::Reuse);
        }
    }

    #[test]
    fn last_use_never_moves_back() {
        let mut header = header();
        header.common.last_seen = NOW + 1;
        let decision = decide(&header, &current(), &RULES, NOW);
        assert_eq!(apply(decision, &header, &current(), NOW).unwrap().common.last_seen, NOW + 1);
    }

    #[test]
    fn verdicts_read_back_by_name() {
        for name in [
            "rotated",
            "kept",
            "grace",
            "repaired",
            "reuse",
            "expired",
            "gone",
            "mismatch",
            "exhausted",
            "ahead",
        ] {
            assert_eq!(Verdict::from_name(name).map(Verdict::as_str), Some(name));
        }
        assert_eq!(Verdict::from_name("ROTATED"), None);
    }
}
