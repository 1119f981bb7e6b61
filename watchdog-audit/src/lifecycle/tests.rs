use proptest::prelude::*;
use watchdog_core::Timestamp;
use watchdog_core::audit::Actor;

use super::*;
use crate::hold::{Hold, LegalHold};

fn holds(category: Option<Category>, subject: Option<Actor>) -> Holds {
    let terms = LegalHold { id: "case-1".into(), category, subject, reason: String::new() };
    Holds(vec![Hold { terms, handles: Vec::new(), since: Timestamp::UNIX_EPOCH }])
}

fn terms(holds: &Holds) -> Terms<'_> {
    let (retention, lifecycle) = (ArchiveRetention::default(), LifecycleConfig::default());
    Terms { retention, lifecycle, holds }
}

fn found(rules: Vec<LifecycleRule>) -> Found {
    let aes = DefaultEncryption { algorithm: "AES256".into() };
    Found { rules, versioning: Some(Versioning::Enabled), encryption: Some(Some(aes)) }
}

fn kinds(findings: &[LifecycleFinding]) -> Vec<(LifecycleFindingKind, &str)> {
    findings.iter().map(|finding| (finding.kind, finding.subject.as_str())).collect()
}

#[test]
fn the_defaults_make_the_rules_of_the_documentation() {
    let none = Holds::default();
    let plan: Vec<_> = terms(&none).plan().iter().map(words).collect();
    let uploads = "incomplete uploads removed after 7 d";
    let old = "old versions removed after 30 d";
    for (category, expected) in [
        // 90 days would be paid for, and 60 used.
        ("application", "expiry after 90 d"),
        ("database", "expiry after 30 d"),
        ("access", "GLACIER after 30 d, expiry after 365 d"),
        ("security", "GLACIER after 30 d, no expiry"),
    ] {
        let rule = format!("\"audit/v1/category={category}/\" ({expected}, {old}, {uploads})");
        assert!(plan.contains(&rule), "{rule} in {plan:?}");
    }
    assert_eq!(plan.len(), 4);
}

#[test]
fn nothing_expires_in_a_category_that_a_hold_may_concern() {
    let access = holds(Some(Category::Access), None);
    let subject = holds(None, Some(Actor::user("alice")));
    let both = holds(Some(Category::Access), Some(Actor::user("alice")));
    for (holds, is_held) in [(&access, false), (&subject, true), (&both, false)] {
        for (rule, category) in terms(holds).plan().iter().zip(Category::ALL) {
            let is_held = is_held || category == Category::Access;
            let expires = rule.expiration().is_some() || rule.noncurrent_days().is_some();
            assert!(!(is_held && expires), "{}", words(rule));
            assert!(is_held || rule.noncurrent_days().is_some(), "{}", words(rule));
        }
    }
}

#[test]
fn every_difference_is_named() {
    use LifecycleFindingKind as Kind;
    let none = Holds::default();
    let terms = terms(&none);
    assert!(terms.findings(&found(terms.plan())).is_empty());
    let mut rules = terms.plan();
    let moved = rules.remove(0);
    let id = moved.id().to_owned();
    assert_eq!(kinds(&terms.findings(&found(rules.clone()))), [(Kind::MissingRule, id.as_str())]);
    rules.push(moved.with_expiration_days(1));
    let findings = terms.findings(&found(rules));
    assert_eq!(kinds(&findings), [(Kind::DifferentRule, id.as_str())]);
    assert!(findings[0].is_harmful());
    let mut rules = terms.plan();
    rules.push(LifecycleRule::new("watchdog-audit-tape", "audit/v1/category=tape/"));
    let findings = terms.findings(&found(rules));
    assert_eq!(kinds(&findings), [(Kind::LeftoverRule, "watchdog-audit-tape")]);
    // A name like ours does not make a rule harmless.
    let mut rules = terms.plan();
    rules.push(LifecycleRule::new("watchdog-audit-x", "audit/v1/").with_expiration_days(1));
    let findings = terms.findings(&found(rules));
    let named = [Kind::ForeignExpiry, Kind::LeftoverRule].map(|kind| (kind, "watchdog-audit-x"));
    assert_eq!(kinds(&findings), named);
    assert!(findings[0].is_harmful());
    for versioning in [None, Some(Versioning::Off), Some(Versioning::Suspended)] {
        let found = Found { versioning, ..found(terms.plan()) };
        assert_eq!(kinds(&terms.findings(&found)), [(Kind::VersioningOff, "")]);
    }
    for encryption in [None, Some(None)] {
        let found = Found { encryption, ..found(terms.plan()) };
        assert_eq!(kinds(&terms.findings(&found)), [(Kind::EncryptionOff, "")]);
    }
}

#[test]
fn rules_of_others_are_named_when_they_reach_into_the_archive() {
    use LifecycleFindingKind as Kind;
    let none = Holds::default();
    let held = holds(Some(Category::Access), None);
    let rule = |prefix: &str| LifecycleRule::new("theirs", prefix);
    let access = "audit/v1/category=access/";
    for (holds, rule, expected) in [
        (&none, rule("logs/").with_expiration_days(1), None),
        (&none, rule("audit/v2/").with_expiration_days(1), None),
        (&none, rule("").with_expiration_days(100_000), Some(Kind::ForeignExpiry)),
        (&none, rule("audit/").with_expiration_days(3650), Some(Kind::ForeignExpiry)),
        (&none, rule("audit/v1/man").with_expiration_days(3650), Some(Kind::ForeignExpiry)),
        (&none, rule("audit/v1/manifest/0").with_noncurrent_days(9), Some(Kind::ForeignExpiry)),
        (&none, rule("audit/v1/holds/").with_expiration_days(1), Some(Kind::ForeignExpiry)),
        (&none, rule(access).with_expiration_days(364), Some(Kind::ForeignExpiry)),
        (&none, rule(access).with_expiration_days(365), None),
        (&held, rule(access).with_expiration_days(365), Some(Kind::ForeignExpiry)),
        (&held, rule(access).with_noncurrent_days(1), Some(Kind::ForeignExpiry)),
        (
            &none,
            rule("audit/v1/category=security/date=2026").with_expiration_days(9999),
            Some(Kind::ForeignExpiry),
        ),
        (&none, rule(access).with_transition(1, "DEEP_ARCHIVE"), None),
        (&none, rule("audit/v1/").with_transition(1, "GLACIER"), Some(Kind::ForeignTransition)),
        (&none, rule("audit/v1/").with_transition(1, "STANDARD_IA"), None),
        (&none, rule("audit/v1/").with_abort_multipart_days(1), None),
    ] {
        let terms = terms(holds);
        let what = words(&rule);
        let mut rules = terms.plan();
        rules.insert(0, rule);
        let found: Vec<_> =
            terms.findings(&found(rules)).into_iter().map(|finding| finding.kind).collect();
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{what}");
    }
}

fn retention() -> impl Strategy<Value = ArchiveRetention> {
    let days = || prop_oneof![Just(0_u32), 1_u32..200, 200_u32..4000];
    (days(), days(), days(), days()).prop_map(
        |(application_days, database_days, access_days, security_days)| ArchiveRetention {
            application_days,
            database_days,
            access_days,
            security_days,
        },
    )
}

fn some_holds() -> impl Strategy<Value = Holds> {
    let category = prop::option::of(prop::sample::select(Category::ALL.to_vec()));
    let hold = (category, any::<bool>()).prop_map(|(category, has_subject)| {
        holds(category, has_subject.then(|| Actor::user("alice"))).0.remove(0)
    });
    prop::collection::vec(hold, 0..3).prop_map(Holds)
}

fn foreign() -> impl Strategy<Value = Vec<LifecycleRule>> {
    let rule = ("[a-z]{1,6}", "[a-z/]{0,6}", 1_u32..500)
        .prop_map(|(id, prefix, days)| LifecycleRule::new(id, prefix).with_expiration_days(days));
    prop::collection::vec(rule, 0..4)
}

proptest! {
    #[test]
    fn the_plan_removes_nothing_early_and_never_a_proof(
        retention in retention(),
        glacier_days in 0_u32..400,
        noncurrent_days in 0_u32..400,
        holds in some_holds(),
        foreign in foreign(),
    ) {
        let lifecycle = LifecycleConfig { apply: true, glacier_days, noncurrent_days };
        let terms = Terms { retention, lifecycle, holds: &holds };
        let plan = terms.plan();
        for (rule, category) in plan.iter().zip(Category::ALL) {
            for proof in PROOFS {
                let proof = format!("{PREFIX}{proof}");
                prop_assert!(!overlap(rule.prefix(), &proof));
            }
            prop_assert_eq!(rule.prefix(), prefix(category));
            let kept = retention.of(category).map(|kept| kept.as_secs() / 86_400);
            match rule.expiration() {
                Some(Expiration::Days(days)) => prop_assert_eq!(Some(u64::from(*days)), kept),
                None => prop_assert!(kept.is_none() || holds.concern(category)),
                other => prop_assert!(false, "{:?}", other),
            }
            prop_assert!(!(holds.concern(category) && removes(rule)));
            for to in rule.transitions() {
                let moved = u64::from(to.days.unwrap());
                prop_assert!(kept.is_none_or(|kept| kept >= moved + 90), "paid for and not used");
            }
        }
        // What is applied is as planned, applying it again changes nothing, others' rules stay.
        let merged = terms.merged(&foreign);
        prop_assert_eq!(&merged[..foreign.len()], &foreign[..]);
        prop_assert_eq!(&terms.merged(&merged), &merged);
        let own = |finding: &LifecycleFinding| matches!(
            finding.kind,
            LifecycleFindingKind::MissingRule
                | LifecycleFindingKind::DifferentRule
                | LifecycleFindingKind::LeftoverRule
        );
        prop_assert!(!terms.findings(&found(merged)).iter().any(own));
    }
}
