use super::*;

#[test]
fn ids_are_stable_distinct_and_version_seven() {
    let keys = EventKeys::new(&RootKeys::ephemeral().unwrap()).unwrap();
    let seed = keys.outbox(&Client::unknown(), None, 1_767_225_600_000).unwrap().seed;
    let ids: Vec<_> = (0..4).map(|index| entry_id(seed, index, "rotated")).collect();
    let again: Vec<_> = (0..4).map(|index| entry_id(seed, index, "rotated")).collect();
    assert_eq!(ids, again);
    // A rotation whose answer was lost, and the theft that its repeat looks like.
    assert!(!ids.contains(&entry_id(seed, 0, "reuse")));
    for (position, id) in ids.iter().enumerate() {
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(id.get_timestamp().unwrap().to_unix().0, 1_767_225_600);
        assert!(!ids[..position].contains(id));
    }
}

#[test]
fn an_event_that_cannot_be_opened_is_an_entry_all_the_same() {
    let keys = EventKeys::new(&RootKeys::ephemeral().unwrap()).unwrap();
    let event = Event {
        action: "reuse".into(),
        occurred_at: u64::MAX,
        session: crate::SessionId::from_bytes([1; 16]),
        user: [2; 16],
        seed: [3; 16],
        index: 1,
        sealed: b"garbage".to_vec(),
        client: Vec::new(),
        details: vec![("age".into(), "7".into()), ("reason".into(), "x".into())],
    };
    let entry = keys.entry(9, &event);
    assert_eq!(entry.actor, Actor::service("watchdog-session"));
    assert_eq!(entry.action, "session.refresh_token_reused");
    assert_eq!(entry.outcome, Outcome::Denied);
    assert_eq!(entry.details["age"], 7);
    assert_eq!(entry.details["reason"], "x");
}

const SEED: [u8; 16] = [3; 16];

fn event(keys: &EventKeys, action: &str, reason: Option<&str>) -> Event {
    let identity = Identity {
        user: "alice".into(),
        roles: Vec::new(),
        ip: None,
        user_agent: None,
        created_at: 1,
        absolute_deadline: 2,
        idle_timeout: 1,
        auth_time: None,
        label: None,
        level: None,
        origin: None,
    };
    let mut event = Event {
        action: action.into(),
        occurred_at: 1,
        session: crate::SessionId::from_bytes([1; 16]),
        user: [2; 16],
        seed: SEED,
        index: 0,
        sealed: Vec::new(),
        client: Vec::new(),
        details: reason.map(|reason| ("reason".into(), reason.into())).into_iter().collect(),
    };
    event.sealed = identity.seal(&keys.records, event.place(9)).unwrap();
    event
}

/// As a call would, that was made by somebody.
fn made_by(keys: &EventKeys, mut event: Event, by: &Actor) -> Event {
    let outbox = keys.outbox(&Client::unknown(), Some(by), 1).unwrap();
    (event.seed, event.client) = (outbox.seed, outbox.client);
    event
}

fn who(keys: &EventKeys, event: &Event) -> (Actor, Option<String>) {
    let entry = keys.entry(9, event);
    let owner = entry.details.get("owner").map(|owner| owner.as_str().unwrap().to_owned());
    (entry.actor, owner)
}

const OWN: [&str; 6] = ["issued", "rotated", "kept", "grace", "repaired", "regenerated"];
const OF_NOBODY: [&str; 4] = ["expired", "evicted", "reuse", "binding_mismatch"];

#[test]
fn only_what_the_user_did_has_the_user_as_its_actor() {
    let keys = EventKeys::new(&RootKeys::ephemeral().unwrap()).unwrap();
    let actor = |action, reason: Option<RevokeReason>| {
        who(&keys, &event(&keys, action, reason.map(RevokeReason::as_str)))
    };
    let own = (Actor::user("alice"), None);
    for action in OWN {
        assert_eq!(actor(action, None), own, "{action}");
    }
    assert_eq!(actor("revoked", Some(RevokeReason::Logout)), own);
    assert_eq!(actor("revoked", Some(RevokeReason::User)), own);
    let not_own = (Actor::service("watchdog-session"), Some("alice".into()));
    for action in OF_NOBODY.into_iter().chain(["revoked", "everybody_revoked"]) {
        assert_eq!(actor(action, None), not_own, "{action}");
    }
    assert_eq!(actor("revoked", Some(RevokeReason::Administrator)), not_own);
    assert_eq!(actor("revoked", Some(RevokeReason::CredentialsChanged)), not_own);
}

#[test]
fn who_made_the_call_is_the_actor_of_what_the_call_did() {
    let keys = EventKeys::new(&RootKeys::ephemeral().unwrap()).unwrap();
    let root = Actor::user("root");
    let by_root = (root.clone(), Some("alice".to_owned()));
    for reason in ["administrator", "credentials_changed", "logout", "user"] {
        let event = made_by(&keys, event(&keys, "revoked", Some(reason)), &root);
        assert_eq!(who(&keys, &event), by_root, "{reason}");
    }
    for action in ["regenerated", "everybody_revoked"] {
        let event = made_by(&keys, event(&keys, action, None), &root);
        assert_eq!(who(&keys, &event), by_root, "{action}");
    }
    // The administrator's call found an expired session; that is not the administrator's doing.
    for action in OF_NOBODY {
        let event = made_by(&keys, event(&keys, action, None), &root);
        let service = (Actor::service("watchdog-session"), Some("alice".to_owned()));
        assert_eq!(who(&keys, &event), service, "{action}");
    }
    let policy = made_by(&keys, event(&keys, "revoked", Some("binding_mismatch")), &root);
    assert_eq!(who(&keys, &policy).0, Actor::service("watchdog-session"));
    let own = made_by(&keys, event(&keys, "revoked", Some("administrator")), &Actor::user("alice"));
    assert_eq!(who(&keys, &own), (Actor::user("alice"), None));
}

#[test]
fn events_of_the_release_before_open_and_new_ones_open_there() {
    let keys = EventKeys::new(&RootKeys::ephemeral().unwrap()).unwrap();
    let client = Client::new("192.0.2.7".parse().ok(), Some("Firefox".into()));
    let mut old = event(&keys, "revoked", Some("administrator"));
    old.client = keys.clients.seal(&SEED, &serde_json::to_vec(&client).unwrap()).unwrap();
    let entry = keys.entry(9, &old);
    assert_eq!((entry.client, entry.actor), (client.clone(), Actor::service("watchdog-session")));
    let outbox = keys.outbox(&client, Some(&Actor::user("root")), 1).unwrap();
    let plain = keys.clients.open(&outbox.seed, &outbox.client).unwrap();
    assert_eq!(serde_json::from_slice::<Client>(&plain).unwrap(), client);
    assert!(!String::from_utf8_lossy(&outbox.client).contains("root"));
}

#[test]
fn every_event_has_its_name_outcome_and_resource() {
    let keys = EventKeys::new(&RootKeys::ephemeral().unwrap()).unwrap();
    let session = crate::SessionId::from_bytes([1; 16]).to_string();
    let entry = |action: &str, details: &[(&str, &str)]| {
        let mut event = event(&keys, action, None);
        event.details = details.iter().map(|&(a, b)| (a.to_owned(), b.to_owned())).collect();
        let entry = keys.entry(9, &event);
        (entry.action, entry.outcome, entry.resource.kind, entry.resource.id)
    };
    for (action, name, outcome) in [
        ("issued", "session.issued", Outcome::Success),
        ("rotated", "session.rotated", Outcome::Success),
        ("kept", "session.refreshed", Outcome::Success),
        ("grace", "session.grace_used", Outcome::Success),
        ("repaired", "session.repaired", Outcome::Success),
        ("reuse", "session.refresh_token_reused", Outcome::Denied),
        ("expired", "session.expired", Outcome::Success),
        ("revoked", "session.revoked", Outcome::Success),
        ("evicted", "session.evicted", Outcome::Success),
        ("regenerated", "session.regenerated", Outcome::Success),
        ("binding_mismatch", "session.binding_mismatch", Outcome::Denied),
    ] {
        let wanted = (name.to_owned(), outcome, "session".to_owned(), session.clone());
        assert_eq!(entry(action, &[]), wanted);
    }
    assert_eq!(entry("binding_mismatch", &[("action", "log")]).1, Outcome::Success);
    assert_eq!(entry("binding_mismatch", &[("action", "refuse")]).1, Outcome::Denied);
    let (name, outcome, kind, id) = entry("everybody_revoked", &[]);
    assert_eq!((&*name, outcome), ("session.everybody_revoked", Outcome::Success));
    assert_eq!((&*kind, &*id), ("session", "*"));
    let (name, outcome, kind, id) = entry("events_dropped", &[("count", "7")]);
    assert_eq!((&*name, outcome), ("session.events_dropped", Outcome::Failure));
    assert_eq!((&*kind, &*id), ("session_events", "9"));
}
