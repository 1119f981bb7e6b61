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
    let call = Presented { made_at: NOW, ..previous() };
    assert_eq!(decide(&header, &call, &rules, NOW).verdict, Verdict::Reuse);
}

/// A call hangs on its way. Its caller asks elsewhere, and goes on from there, before it arrives.
#[test]
fn a_call_made_before_the_last_rotation_is_late_and_no_theft() {
    let mut header = header();
    header.rotated_at = NOW;
    let old = Presented { generation: 5, digest: [5; 32], successor: [4; 32], ..current() };
    let made_at = |made_at| Presented { made_at, ..old };
    for now in [NOW, NOW + 9_999] {
        let decision = decide(&header, &made_at(NOW - 1), &RULES, now);
        assert_eq!(decision, Decision { verdict: Verdict::Late, repeated: false });
        assert_eq!(apply(decision, &header, &made_at(NOW - 1), now), Some(header));
        for thief in [made_at(NOW), made_at(NOW + 1), made_at(Millis::MAX)] {
            assert_eq!(verdict(&header, &thief, now), Verdict::Reuse);
        }
    }
    // Nobody's word is taken for longer.
    assert_eq!(verdict(&header, &made_at(NOW - 1), NOW + 10_000), Verdict::Reuse);
    assert_eq!(verdict(&header, &made_at(0), NOW + 10_000), Verdict::Reuse);
    // A clock that went back cannot tell what came first.
    for made_at in [made_at(0), made_at(NOW - 2), made_at(NOW), made_at(Millis::MAX)] {
        assert_eq!(verdict(&header, &made_at, NOW - 1), Verdict::Reuse);
    }
}

#[test]
fn a_late_call_has_its_grace_where_there_is_one_and_is_refused_to_a_stranger() {
    let mut header = header();
    header.rotated_at = NOW;
    let late = Presented { made_at: NOW - 1, ..previous() };
    assert_eq!(verdict(&header, &late, NOW), Verdict::Grace);
    let rules = Rules { grace: 0, ..RULES };
    assert_eq!(decide(&header, &late, &rules, NOW).verdict, Verdict::Late);
    let elsewhere = Presented { client: [8; 16], ..late };
    assert_eq!(verdict(&header, &elsewhere, NOW), Verdict::Late);
    let stranger = Presented { ip: Some([0; 16]), ..elsewhere };
    assert_eq!(verdict(&header, &stranger, NOW), Verdict::Late);
    header.grace_used = 64;
    assert_eq!(verdict(&header, &late, NOW), Verdict::Exhausted);
    // With the current token nobody is late.
    let first = Presented { made_at: NOW - 1, ..current() };
    assert_eq!(verdict(&header, &first, NOW), Verdict::Rotated);
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
    for stranger in
        [Presented { ip: Some([0; 16]), ..at_home }, Presented { agent_tag: [0; 16], ..at_home }]
    {
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
        "late",
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
