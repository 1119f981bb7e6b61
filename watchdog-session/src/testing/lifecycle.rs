use super::suite::{actions, record_of, sample, stored, verdict};
use super::{Sample, events_of, random_location, time_of};
use crate::config::LimitPolicy;
use crate::record::Header;
use crate::rotation::Verdict;
use crate::store::{Create, Created, Life, RegenerateOutcome, RevokeAll, SessionStore};

async fn lives(store: &dyn SessionStore, sample: &Sample) -> bool {
    let reading = store.read(&sample.place).await.unwrap();
    reading.record.is_some_and(|record| {
        let common = Header::decode(&record).unwrap().common;
        common.created_at > reading.not_before && !common.is_expired(reading.now)
    })
}

async fn outcome(store: &dyn SessionStore, old: &Sample, new: &Sample) -> RegenerateOutcome {
    store.regenerate(&old.regenerate(new)).await.unwrap().outcome
}

/// With the policy for it, the session that was not used for the longest time goes first.
pub async fn the_least_recently_used_is_evicted_by_that_policy(store: &dyn SessionStore) {
    let (location, now) = (random_location(), time_of(store).await);
    let mut samples: Vec<_> =
        (0..4).map(|age| Sample::new(location, now).older_by(30_000 - age * 1000)).collect();
    for (sample, unused) in samples.iter_mut().zip([0, 3000, 1000, 3000]) {
        sample.header.common.last_seen = now - unused;
        stored(store, sample).await;
    }
    let policy = LimitPolicy::EvictLeastRecentlyUsed;
    let last = Sample::new(location, now);
    let created = store.create(&Create { policy, ..last.create(3) }).await.unwrap();
    assert!(matches!(created, Created::Stored { evicted: 2, .. }), "{created:?}");
    for (sample, stays) in samples.iter().zip([true, false, true, false]) {
        assert_eq!(record_of(store, sample).await.is_some(), stays);
    }
    let events = events_of(store, location).await;
    let evicted = events.iter().filter(|event| event.action == "evicted");
    let evicted: Vec<_> = evicted.map(|event| event.session).collect();
    // Of two as long unused the older one goes first.
    assert_eq!(evicted, [samples[1].place.session, samples[3].place.session]);
}

/// With the policy for it, a login beyond the limit is refused; what has expired does not count.
pub async fn a_login_beyond_the_limit_is_refused_by_that_policy(store: &dyn SessionStore) {
    let (location, now) = (random_location(), time_of(store).await);
    let with = |sample: &Sample| Create { policy: LimitPolicy::Reject, ..sample.create(2) };
    let (first, old) = (Sample::new(location, now), Sample::new(location, now).expired());
    stored(store, &first).await;
    stored(store, &old).await;
    let second = Sample::new(location, now);
    let created = store.create(&with(&second)).await.unwrap();
    assert!(matches!(created, Created::Stored { expired: 1, evicted: 0, .. }), "{created:?}");
    let third = Sample::new(location, now);
    let refused = store.create(&with(&third)).await.unwrap();
    assert!(matches!(refused, Created::Refused { held: 2, .. }), "{refused:?}");
    assert_eq!(record_of(store, &third).await, None);
    let again = store.create(&with(&second)).await.unwrap();
    assert!(matches!(again, Created::Stored { .. }), "{again:?}");
    assert_eq!(actions(store, &first).await, ["issued", "issued", "expired", "issued"]);
}

/// A new id and a new record, the attributes moved, and the old session dead in the same step.
pub async fn a_regenerated_session_takes_the_place_of_the_old(store: &dyn SessionStore) {
    let mut old = sample(store).await;
    old.header.common.last_seen -= 5;
    stored(store, &old).await;
    store.update(&old.update(&[("a", Some(b"1"))])).await.unwrap();
    let mut new = old.successor();
    new.header.common.last_seen -= 10_000;
    let request = old.regenerate(&new);
    for _ in 0..2 {
        let regenerated = store.regenerate(&request).await.unwrap();
        assert_eq!(regenerated.outcome, RegenerateOutcome::Done);
    }
    assert_eq!(record_of(store, &old).await, None);
    assert_eq!(verdict(store, &old, 0).await, Verdict::Gone);
    // The last use does not go back.
    new.header.common.last_seen = old.header.common.last_seen;
    assert_eq!(record_of(store, &new).await, Some(new.record()));
    let moved = store.attributes(&new.place).await.unwrap();
    assert_eq!((moved.version, &*moved.values[0].value), (1, &b"1"[..]));
    assert_eq!(store.attributes(&old.place).await.unwrap().values, []);
    let events = events_of(store, old.place.location).await;
    let successor = ("successor".to_owned(), new.place.session.to_string());
    assert_eq!(events.len(), 2);
    assert_eq!((&*events[1].action, events[1].session), ("regenerated", old.place.session));
    assert_eq!(events[1].details, [successor]);
}

/// Not a revoked one, not an expired one, not one that never was; nor by a repeated login.
pub async fn only_a_living_session_is_regenerated(store: &dyn SessionStore) {
    let old = sample(store).await;
    let new = old.successor();
    assert_eq!(outcome(store, &old, &new).await, RegenerateOutcome::Gone);
    let login = old.create(5);
    store.create(&login).await.unwrap();
    let request = old.regenerate(&new);
    assert_eq!(store.regenerate(&request).await.unwrap().outcome, RegenerateOutcome::Done);
    assert_eq!(outcome(store, &old, &old.successor()).await, RegenerateOutcome::Gone);
    assert!(matches!(store.create(&login).await.unwrap(), Created::Skewed { .. }));
    store.revoke(&new.revoke()).await.unwrap();
    assert_eq!(store.regenerate(&request).await.unwrap().outcome, RegenerateOutcome::Gone);
    assert_eq!((lives(store, &old).await, lives(store, &new).await), (false, false));

    let expired = sample(store).await.expired();
    stored(store, &expired).await;
    let successor = expired.successor();
    assert_eq!(outcome(store, &expired, &successor).await, RegenerateOutcome::Expired);
    assert_eq!(outcome(store, &expired, &successor).await, RegenerateOutcome::Gone);
    assert_eq!(record_of(store, &successor).await, None);
}

/// A record of another creation time, or under the id of another session, changes nothing.
pub async fn an_unfit_successor_changes_nothing(store: &dyn SessionStore) {
    let old = sample(store).await;
    stored(store, &old).await;
    let mut other = old.successor();
    other.header.common.created_at -= 1;
    assert_eq!(outcome(store, &old, &other).await, RegenerateOutcome::Unfit);
    let taken = Sample::new(old.place.location, time_of(store).await);
    stored(store, &taken).await;
    let mut thief = old.successor();
    thief.place = taken.place;
    assert_eq!(outcome(store, &old, &thief).await, RegenerateOutcome::Unfit);
    assert_eq!(record_of(store, &old).await, Some(old.record()));
    assert_eq!(record_of(store, &taken).await, Some(taken.record()));
}

/// A caller whose clock is ahead is told so, and nothing changes: its deadlines would be too late.
pub async fn a_successor_seen_in_the_future_changes_nothing(store: &dyn SessionStore) {
    let old = sample(store).await;
    stored(store, &old).await;
    let mut ahead = old.successor();
    ahead.header.common.last_seen += 90_000;
    assert_eq!(outcome(store, &old, &ahead).await, RegenerateOutcome::Skewed);
    assert_eq!(record_of(store, &old).await, Some(old.record()));
    assert_eq!(record_of(store, &ahead).await, None);
    assert_eq!(outcome(store, &old, &old.successor()).await, RegenerateOutcome::Done);
}

/// All end, each with its event; a repeat spares who came later, and no login under way comes back.
pub async fn all_sessions_of_a_user_end_at_once(store: &dyn SessionStore) {
    let (location, now) = (random_location(), time_of(store).await);
    let samples: Vec<_> = (1..4).map(|age| Sample::new(location, now).older_by(age)).collect();
    let stranger = sample(store).await;
    let logins: Vec<_> = samples.iter().map(|sample| sample.create(100)).collect();
    for login in &logins {
        store.create(login).await.unwrap();
    }
    stored(store, &stranger).await;
    store.update(&samples[0].update(&[("a", Some(b"1"))])).await.unwrap();
    let request = samples[0].revoke_all();
    let revoked = store.revoke_all(&request).await.unwrap();
    assert_eq!(revoked.sessions, 3);
    for (sample, login) in samples.iter().zip(&logins) {
        assert_eq!(record_of(store, sample).await, None);
        assert!(matches!(store.create(login).await.unwrap(), Created::Skewed { .. }));
        assert_eq!(verdict(store, sample, 0).await, Verdict::Gone);
    }
    assert_eq!(store.attributes(&samples[0].place).await.unwrap().values, []);
    assert!(lives(store, &stranger).await);
    let later = Sample::new(location, revoked.now + 1);
    stored(store, &later).await;
    assert_eq!(store.revoke_all(&request).await.unwrap().sessions, 0);
    assert!(lives(store, &later).await);
    let revoked = ["issued", "issued", "issued", "revoked", "revoked", "revoked", "issued"];
    assert_eq!(actions(store, &later).await, revoked);
}

/// One stays, the others end; those that had expired are not counted.
pub async fn all_sessions_but_one_end(store: &dyn SessionStore) {
    let (location, now) = (random_location(), time_of(store).await);
    let [kept, other, old] = [3, 2, 1].map(|age| Sample::new(location, now).older_by(age));
    let old = old.expired();
    for sample in [&kept, &other, &old] {
        stored(store, sample).await;
    }
    let request = kept.revoke_others();
    assert_eq!(store.revoke_all(&request).await.unwrap().sessions, 1);
    assert_eq!(store.revoke_all(&request).await.unwrap().sessions, 0);
    assert_eq!(record_of(store, &kept).await, Some(kept.record()));
    assert_eq!((record_of(store, &other).await, record_of(store, &old).await), (None, None));
    assert!(matches!(store.create(&other.create(9)).await.unwrap(), Created::Skewed { .. }));
    let wanted = ["issued", "issued", "issued", "revoked", "expired"];
    assert_eq!(actions(store, &kept).await, wanted);
}

/// Asserted again, the end of all sessions spares who came later, and changes nothing where nothing
/// was lost.
pub async fn an_end_asserted_again_spares_later_sessions(store: &dyn SessionStore) {
    let (location, now) = (random_location(), time_of(store).await);
    let [old, lost, later] = [30, 20, 10].map(|age| Sample::new(location, now).older_by(age));
    for sample in [&old, &lost, &later] {
        stored(store, sample).await;
    }
    // As on a replica that never heard of the first call.
    let again = RevokeAll { up_to: Some(now - 20), ..old.revoke_all() };
    let revoked = store.revoke_all(&again).await.unwrap();
    assert_eq!((revoked.sessions, revoked.up_to, &*revoked.singly), (2, now - 20, &[][..]));
    for _ in 0..2 {
        let revoked = store.revoke_all(&again).await.unwrap();
        assert_eq!((revoked.sessions, revoked.up_to), (0, now - 20));
    }
    let earlier = RevokeAll { up_to: Some(now - 25), ..old.revoke_all() };
    assert_eq!(store.revoke_all(&earlier).await.unwrap().up_to, now - 20);
    assert_eq!((lives(store, &lost).await, lives(store, &later).await), (false, true));
    assert!(matches!(store.create(&lost.create(9)).await.unwrap(), Created::Skewed { .. }));
    let wanted = ["issued", "issued", "issued", "revoked", "revoked"];
    assert_eq!(actions(store, &later).await, wanted);
    // Of all but one, those that no stamp tells of are named.
    let kept = Sample::new(location, time_of(store).await);
    stored(store, &kept).await;
    let others = store.revoke_all(&kept.revoke_others()).await.unwrap();
    assert_eq!((others.sessions, others.singly), (1, vec![later.place.session]));
    // A later call of its own is not taken for a repeat.
    let all = kept.revoke_all();
    assert_eq!(store.revoke_all(&all).await.unwrap().sessions, 1);
    store.revoke_all(&again).await.unwrap();
    assert_eq!(store.revoke_all(&all).await.unwrap().sessions, 0);
}

/// The records of a user, and nobody else's.
pub async fn a_list_has_all_records_of_a_user(store: &dyn SessionStore) {
    let (location, now) = (random_location(), time_of(store).await);
    assert_eq!(store.list(location).await.unwrap().records, []);
    let mut samples: Vec<_> = (0..3).map(|_| Sample::new(location, now)).collect();
    samples[2] = samples[2].clone().expired();
    for sample in &samples {
        stored(store, sample).await;
    }
    stored(store, &sample(store).await).await;
    samples.sort_by_key(|sample| sample.place.session);
    let listing = store.list(location).await.unwrap();
    let wanted: Vec<_> =
        samples.iter().map(|sample| (sample.place.session, sample.record())).collect();
    assert_eq!((listing.records, listing.not_before), (wanted, 0));
    let revoked = store.revoke_all(&samples[0].revoke_all()).await.unwrap();
    let listing = store.list(location).await.unwrap();
    assert_eq!((listing.records, listing.not_before), (Vec::new(), revoked.now));
}

/// A living session is reported, once for each call; any other is not.
pub async fn only_of_a_living_session_is_anything_reported(store: &dyn SessionStore) {
    let sample = sample(store).await;
    assert_eq!(store.report(&sample.report()).await.unwrap().life, Life::Gone);
    stored(store, &sample).await;
    let request = sample.report();
    assert_eq!(store.report(&request).await.unwrap().life, Life::Alive);
    assert_eq!(record_of(store, &sample).await, Some(sample.record()));
    store.revoke(&sample.revoke()).await.unwrap();
    assert_eq!(store.report(&request).await.unwrap().life, Life::Gone);
    let events = events_of(store, sample.place.location).await;
    let names: Vec<_> = events.iter().map(|event| &*event.action).collect();
    assert_eq!(names, ["issued", "binding_mismatch", "revoked"]);
    let mut details = events[1].details.clone();
    details.sort();
    let wanted = [("action", "log"), ("part", "ip")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(details, wanted);
}

/// Over from one address family to the other, grace follows the host, not another agent.
pub async fn grace_follows_a_host_to_its_other_address_family(store: &dyn SessionStore) {
    for (family, agent, wanted) in
        [(6, [6; 16], Verdict::Grace), (4, [6; 16], Verdict::Reuse), (6, [9; 16], Verdict::Reuse)]
    {
        let sample = sample(store).await;
        stored(store, &sample).await;
        let mut over_four = sample.rotate(0);
        over_four.presented.family = 4;
        assert_eq!(store.rotate(&over_four).await.unwrap().verdict, Verdict::Rotated);
        let mut again = sample.rotate(0);
        (again.presented.client, again.presented.family) = ([8; 16], family);
        again.presented.agent_tag = agent;
        assert_eq!(store.rotate(&again).await.unwrap().verdict, wanted);
    }
}
