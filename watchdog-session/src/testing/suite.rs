use super::{Sample, digest, events_of, random_location, time_of};
use crate::model::{Effect, MAX_EVICTED, UserSessions};
use crate::record::Header;
use crate::rotation::Verdict;
use crate::store::{Create, Created, Life, RotateReply, SessionStore, Touched};

pub(super) async fn sample(store: &dyn SessionStore) -> Sample {
    Sample::new(random_location(), time_of(store).await)
}

pub(super) async fn stored(store: &dyn SessionStore, sample: &Sample) {
    let created = store.create(&sample.create(100)).await.unwrap();
    assert!(matches!(created, Created::Stored { .. }), "{created:?}");
}

pub(super) async fn record_of(store: &dyn SessionStore, sample: &Sample) -> Option<Vec<u8>> {
    store.read(&sample.place).await.unwrap().record
}

pub(super) async fn actions(store: &dyn SessionStore, sample: &Sample) -> Vec<String> {
    let events = events_of(store, sample.place.location).await;
    events.into_iter().map(|event| event.action).collect()
}

pub(super) async fn verdict(store: &dyn SessionStore, sample: &Sample, generation: u32) -> Verdict {
    store.rotate(&sample.rotate(generation)).await.unwrap().verdict
}

/// A record reads back byte by byte, and its event carries what it should.
pub async fn a_created_session_reads_back(store: &dyn SessionStore) {
    let sample = sample(store).await;
    let request = sample.create(5);
    let created = store.create(&request).await.unwrap();
    assert!(matches!(created, Created::Stored { expired: 0, evicted: 0, .. }), "{created:?}");
    let reading = store.read(&sample.place).await.unwrap();
    assert_eq!(reading.record.as_ref(), Some(&request.record));
    assert_eq!(reading.not_before, 0);
    let events = events_of(store, sample.place.location).await;
    let Created::Stored { now, .. } = created else { return };
    let mut model = UserSessions::default();
    let (_, expected): Effect<Created> = model.create(&request, now);
    assert_eq!(events, expected);
}

/// The same call again stores nothing and reports nothing.
pub async fn a_repeated_create_changes_nothing(store: &dyn SessionStore) {
    let sample = sample(store).await;
    let request = sample.create(5);
    store.create(&request).await.unwrap();
    store.rotate(&sample.rotate(0)).await.unwrap();
    let before = record_of(store, &sample).await;
    let again = store.create(&request).await.unwrap();
    assert!(matches!(again, Created::Stored { .. }), "{again:?}");
    assert_eq!(record_of(store, &sample).await, before);
    assert_eq!(actions(store, &sample).await, ["issued", "rotated"]);
}

/// Another session under the same id does not replace the first.
pub async fn a_taken_id_is_refused(store: &dyn SessionStore) {
    let sample = sample(store).await;
    stored(store, &sample).await;
    let mut other = sample.clone();
    other.header.secret_digest = [1; 32];
    let created = store.create(&other.create(5)).await.unwrap();
    assert!(matches!(created, Created::Taken { .. }), "{created:?}");
    assert_eq!(record_of(store, &sample).await, Some(sample.record()));
}

/// Touch, rotate and revoke find a session gone and leave it gone.
pub async fn nothing_but_create_creates(store: &dyn SessionStore) {
    let sample = sample(store).await;
    assert_eq!(store.touch(&sample.touch(0)).await.unwrap().life, Life::Gone);
    assert_eq!(verdict(store, &sample, 0).await, Verdict::Gone);
    assert_eq!(store.revoke(&sample.revoke()).await.unwrap().was, Life::Gone);
    assert_eq!(record_of(store, &sample).await, None);
    stored(store, &sample).await;
    assert_eq!(store.revoke(&sample.revoke()).await.unwrap().was, Life::Alive);
    assert_eq!(store.touch(&sample.touch(0)).await.unwrap().life, Life::Gone);
    assert_eq!(verdict(store, &sample, 0).await, Verdict::Gone);
    assert_eq!(store.revoke(&sample.revoke()).await.unwrap().was, Life::Gone);
    assert_eq!(record_of(store, &sample).await, None);
    assert_eq!(actions(store, &sample).await, ["issued", "revoked"]);
}

/// The oldest go, as many as it takes, each with its event.
pub async fn the_oldest_is_evicted_beyond_the_limit(store: &dyn SessionStore) {
    let (location, now) = (random_location(), time_of(store).await);
    let samples: Vec<_> =
        (0..6).map(|age| Sample::new(location, now).older_by(30_000 - age * 1000)).collect();
    for sample in &samples {
        stored(store, sample).await;
    }
    let last = Sample::new(location, now);
    let created = store.create(&last.create(3)).await.unwrap();
    assert!(matches!(created, Created::Stored { expired: 0, evicted: 4, .. }), "{created:?}");
    for (position, sample) in samples.iter().enumerate() {
        assert_eq!(record_of(store, sample).await.is_some(), position >= 4, "{position}");
    }
    let events = events_of(store, location).await;
    let evicted: Vec<_> = events
        .iter()
        .filter(|event| event.action == "evicted")
        .map(|event| (event.session, event.index))
        .collect();
    let expected: Vec<_> =
        (0..4).zip(&samples).map(|(index, old)| (old.place.session, index)).collect();
    assert_eq!(evicted, expected);
}

/// What has expired goes before the limit counts.
pub async fn a_login_removes_what_has_expired(store: &dyn SessionStore) {
    let (location, now) = (random_location(), time_of(store).await);
    let (old, live) =
        (Sample::new(location, now).older_by(9).expired(), Sample::new(location, now).older_by(10));
    stored(store, &live).await;
    stored(store, &old).await;
    let fresh = Sample::new(location, now + 1);
    let created = store.create(&fresh.create(2)).await.unwrap();
    assert!(matches!(created, Created::Stored { expired: 1, evicted: 0, .. }), "{created:?}");
    assert_eq!(record_of(store, &old).await, None);
    assert!(record_of(store, &live).await.is_some());
}

/// A caller whose clock is off is told so, and nothing changes.
pub async fn a_creation_time_that_is_off_is_refused(store: &dyn SessionStore) {
    let (location, now) = (random_location(), time_of(store).await);
    for sample in [Sample::new(location, now + 90_000), Sample::new(location, now).older_by(90_000)]
    {
        let created = store.create(&sample.create(5)).await.unwrap();
        assert!(matches!(created, Created::Skewed { floor: 0, .. }), "{created:?}");
        assert_eq!(record_of(store, &sample).await, None);
    }
    assert_eq!(events_of(store, location).await, []);
}

/// A login whose answer was lost and whose session was revoked meanwhile stays revoked.
pub async fn a_repeated_create_does_not_bring_back_what_was_revoked(store: &dyn SessionStore) {
    let sample = sample(store).await;
    let request: Create = sample.create(5);
    store.create(&request).await.unwrap();
    store.revoke(&sample.revoke()).await.unwrap();
    let again = store.create(&request).await.unwrap();
    let floor = sample.header.common.created_at;
    assert!(matches!(again, Created::Skewed { floor: stands, .. } if stands == floor), "{again:?}");
    assert_eq!(record_of(store, &sample).await, None);
}

/// The answer to login A is lost, login B takes its place, and A comes in again: B stays. A login
/// that is under way at the same time, of the same creation time as A, is stored all the same.
pub async fn a_repeated_create_does_not_bring_back_what_was_evicted(store: &dyn SessionStore) {
    let (location, now) = (random_location(), time_of(store).await);
    let first = Sample::new(location, now).older_by(5);
    let second = Sample::new(location, now);
    let lost: Create = first.create(1);
    for request in [&lost, &second.create(1)] {
        let created = store.create(request).await.unwrap();
        assert!(matches!(created, Created::Stored { .. }), "{created:?}");
    }
    for _ in 0..2 {
        let again = store.create(&lost).await.unwrap();
        assert!(matches!(again, Created::Stored { evicted: 0, .. }), "{again:?}");
        assert_eq!(record_of(store, &first).await, None);
        assert!(record_of(store, &second).await.is_some());
    }
    assert_eq!(actions(store, &first).await, ["issued", "evicted", "issued"]);
    let parallel = Sample::new(location, now).older_by(5);
    stored(store, &parallel).await;
    assert!(record_of(store, &parallel).await.is_some());
}

/// A storm of logins of one user leaves a bounded number of marks behind; a login whose mark had to
/// go is told to come again with another time.
pub async fn marks_of_evicted_sessions_have_a_bound(store: &dyn SessionStore) {
    let (location, now) = (random_location(), time_of(store).await);
    let count = u64::try_from(MAX_EVICTED).unwrap() + 2;
    let samples: Vec<_> =
        (0..count).map(|age| Sample::new(location, now).older_by(count - age)).collect();
    for sample in &samples {
        let created = store.create(&sample.create(1)).await.unwrap();
        assert!(matches!(created, Created::Stored { .. }), "{created:?}");
    }
    let [dropped, kept] = [&samples[0], &samples[1]];
    let again = store.create(&dropped.create(1)).await.unwrap();
    let floor = dropped.header.common.created_at;
    assert!(matches!(again, Created::Skewed { floor: stands, .. } if stands == floor), "{again:?}");
    let again = store.create(&kept.create(1)).await.unwrap();
    assert!(matches!(again, Created::Stored { evicted: 0, .. }), "{again:?}");
    for sample in [dropped, kept] {
        assert_eq!(record_of(store, sample).await, None);
    }
    assert!(record_of(store, &samples[samples.len() - 1]).await.is_some());
}

/// Within the interval nothing is written; after it, only the time of the last use.
pub async fn use_is_noted_once_an_interval(store: &dyn SessionStore) {
    let mut sample = sample(store).await;
    sample.header.common.last_seen -= 60_000;
    sample.header.common.flags = 2;
    stored(store, &sample).await;
    let kept = store.touch(&sample.touch(1_000_000)).await.unwrap();
    assert_eq!(kept.life, Life::Alive);
    assert_eq!(record_of(store, &sample).await, Some(sample.record()));
    let Touched { now, life } = store.touch(&sample.touch(60_000)).await.unwrap();
    assert_eq!(life, Life::Alive);
    sample.header.common.last_seen = now;
    assert_eq!(record_of(store, &sample).await, Some(sample.record()));
    assert_eq!(actions(store, &sample).await, ["issued"]);
}

/// Touch, rotate and revoke each remove an expired session, once, with one event.
pub async fn an_expired_session_is_removed_by_whoever_finds_it(store: &dyn SessionStore) {
    for finder in 0..3 {
        let sample = sample(store).await.expired();
        stored(store, &sample).await;
        match finder {
            0 => assert_eq!(store.touch(&sample.touch(0)).await.unwrap().life, Life::Expired),
            1 => assert_eq!(verdict(store, &sample, 0).await, Verdict::Expired),
            _ => assert_eq!(store.revoke(&sample.revoke()).await.unwrap().was, Life::Expired),
        }
        assert_eq!(record_of(store, &sample).await, None);
        assert_eq!(store.touch(&sample.touch(0)).await.unwrap().life, Life::Gone);
        assert_eq!(actions(store, &sample).await, ["issued", "expired"]);
    }
}

/// The current token is replaced by its successor.
pub async fn a_rotation_replaces_the_token(store: &dyn SessionStore) {
    let sample = sample(store).await;
    stored(store, &sample).await;
    for generation in 0..5 {
        let RotateReply { verdict, record, now } =
            store.rotate(&sample.rotate(generation)).await.unwrap();
        assert_eq!(verdict, Verdict::Rotated);
        let header = Header::decode(record.as_ref().unwrap()).unwrap();
        assert_eq!((header.generation, header.rotated_at), (generation + 1, now));
        assert_eq!(header.current_digest, digest(generation + 1));
        assert_eq!(record, record_of(store, &sample).await);
    }
    let mut kept = sample.rotate(5);
    kept.rules.rotate = false;
    let before = record_of(store, &sample).await.unwrap();
    let reply = store.rotate(&kept).await.unwrap();
    assert_eq!(reply.verdict, Verdict::Kept);
    assert_eq!(Header::decode(&before).unwrap().generation, 5);
    assert_eq!(Header::decode(&reply.record.unwrap()).unwrap().generation, 5);
}

/// A call whose answer was lost is answered again, late too, without another step.
pub async fn a_repeated_rotation_gets_the_same_answer(store: &dyn SessionStore) {
    let sample = sample(store).await;
    stored(store, &sample).await;
    let mut request = sample.rotate(0);
    request.rules.grace = 0;
    let first = store.rotate(&request).await.unwrap();
    let again = store.rotate(&request).await.unwrap();
    assert_eq!((again.verdict, &again.record), (Verdict::Rotated, &first.record));
    assert_eq!(actions(store, &sample).await, ["issued", "rotated"]);
}

/// Within its grace a replaced token gets the same successor, up to its count.
pub async fn a_replaced_token_has_its_grace(store: &dyn SessionStore) {
    let mut fresh = sample(store).await.rotated(7, 0);
    fresh.header.grace_used = 62;
    stored(store, &fresh).await;
    for wanted in [Verdict::Grace, Verdict::Grace, Verdict::Exhausted, Verdict::Exhausted] {
        assert_eq!(verdict(store, &fresh, 6).await, wanted);
    }
    assert_eq!(verdict(store, &fresh, 7).await, Verdict::Rotated);
    assert_eq!(actions(store, &fresh).await, ["issued", "grace", "grace", "rotated"]);
}

/// A call made within the grace period whose answer was lost, and which comes in again after it, is
/// served; made after it, it is theft.
pub async fn a_repeated_grace_call_is_no_reuse(store: &dyn SessionStore) {
    let sample = sample(store).await.rotated(7, 10_100);
    stored(store, &sample).await;
    let made_in_time = sample.header.rotated_at + 9_900;
    let mut request = sample.rotate(6);
    request.presented.made_at = made_in_time;
    for _ in 0..2 {
        assert_eq!(store.rotate(&request).await.unwrap().verdict, Verdict::Grace);
    }
    request.presented.made_at = made_in_time + 100;
    assert_eq!(store.rotate(&request).await.unwrap().verdict, Verdict::Reuse);
}

/// A call that its caller has given up and gone on from: it is refused, and nobody is logged out. Made
/// after the last rotation, or longer ago than anybody is believed, it is theft.
pub async fn a_call_that_a_later_one_overtook_is_no_reuse(store: &dyn SessionStore) {
    let sample = sample(store).await.rotated(7, 5_000);
    stored(store, &sample).await;
    let mut request = sample.rotate(5);
    request.presented.made_at = sample.header.rotated_at - 1;
    for _ in 0..2 {
        let reply = store.rotate(&request).await.unwrap();
        assert_eq!((reply.verdict, reply.record), (Verdict::Late, None));
    }
    assert_eq!(record_of(store, &sample).await, Some(sample.record()));
    assert_eq!(actions(store, &sample).await, ["issued"]);
    request.presented.made_at = sample.header.rotated_at;
    assert_eq!(store.rotate(&request).await.unwrap().verdict, Verdict::Reuse);
    let long_ago = self::sample(store).await.rotated(7, 10_000);
    stored(store, &long_ago).await;
    let mut request = long_ago.rotate(5);
    request.presented.made_at = 0;
    assert_eq!(store.rotate(&request).await.unwrap().verdict, Verdict::Reuse);
}

/// Out of its grace, from another client, or two generations back: the session ends.
pub async fn an_old_token_ends_the_session(store: &dyn SessionStore) {
    for case in 0..4 {
        let age = if case == 0 { 10_000 } else { 0 };
        let sample = sample(store).await.rotated(7, age);
        stored(store, &sample).await;
        let mut request = sample.rotate(if case == 1 { 5 } else { 6 });
        match case {
            2 => request.presented.client = [8; 16],
            3 => request.rules.grace = 0,
            _ => {}
        }
        let reply = store.rotate(&request).await.unwrap();
        assert_eq!((reply.verdict, reply.record), (Verdict::Reuse, None), "case {case}");
        assert_eq!(record_of(store, &sample).await, None);
        assert_eq!(verdict(store, &sample, 7).await, Verdict::Gone);
        assert_eq!(actions(store, &sample).await, ["issued", "reuse"]);
    }
}

/// A token up to eight generations ahead is taken over; the store had lost writes.
pub async fn a_token_ahead_of_the_store_repairs_it(store: &dyn SessionStore) {
    let sample = sample(store).await.rotated(7, 0);
    stored(store, &sample).await;
    assert_eq!(verdict(store, &sample, 16).await, Verdict::Ahead);
    let request = sample.rotate(15);
    for _ in 0..2 {
        let reply = store.rotate(&request).await.unwrap();
        assert_eq!(reply.verdict, Verdict::Repaired);
        let header = Header::decode(&reply.record.unwrap()).unwrap();
        assert_eq!((header.generation, header.previous_digest), (16, digest(15)));
    }
    assert_eq!(verdict(store, &sample, 16).await, Verdict::Rotated);
    assert_eq!(actions(store, &sample).await, ["issued", "repaired", "rotated"]);
}

/// A stranger with a live token and a token too far ahead are refused, and that is all.
pub async fn a_refused_token_changes_nothing(store: &dyn SessionStore) {
    let sample = sample(store).await;
    stored(store, &sample).await;
    let (mut ip, mut agent) = (sample.rotate(0), sample.rotate(0));
    ip.presented.ip = Some([9; 16]);
    (agent.presented.agent_tag, agent.presented.bind_agent) = ([9; 16], true);
    for request in [ip, agent] {
        let reply = store.rotate(&request).await.unwrap();
        assert_eq!((reply.verdict, reply.record), (Verdict::Mismatch, None));
    }
    assert_eq!(verdict(store, &sample, 9).await, Verdict::Ahead);
    assert_eq!(record_of(store, &sample).await, Some(sample.record()));
    let mut home = sample.rotate(0);
    (home.presented.ip, home.presented.bind_agent) = (Some([5; 16]), true);
    assert_eq!(store.rotate(&home).await.unwrap().verdict, Verdict::Rotated);
    assert_eq!(actions(store, &sample).await, ["issued", "rotated"]);
}

/// All succeed, one of them takes the step.
pub async fn fifty_parallel_rotations_take_one_step(store: &dyn SessionStore) {
    let sample = sample(store).await;
    stored(store, &sample).await;
    let requests: Vec<_> = (0..50).map(|_| sample.rotate(0)).collect();
    let mut calls: Vec<_> = requests.iter().map(|request| store.rotate(request)).collect();
    let mut verdicts = Vec::new();
    // All are begun before any is awaited to its end.
    std::future::poll_fn(|context| {
        calls.retain_mut(|call| match call.as_mut().poll(context) {
            std::task::Poll::Ready(reply) => {
                verdicts.push(reply.unwrap().verdict);
                false
            }
            std::task::Poll::Pending => true,
        });
        if calls.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    let count = |wanted| verdicts.iter().filter(|&&verdict| verdict == wanted).count();
    assert_eq!((count(Verdict::Rotated), count(Verdict::Grace)), (1, 49), "{verdicts:?}");
    let record = record_of(store, &sample).await.unwrap();
    assert_eq!(Header::decode(&record).unwrap().generation, 1);
}

/// An event is offered until it is acknowledged, and no longer.
pub async fn events_leave_by_acknowledgement(store: &dyn SessionStore) {
    let sample = sample(store).await;
    let bucket = sample.place.location.bucket;
    stored(store, &sample).await;
    store.revoke(&sample.revoke()).await.unwrap();
    assert_eq!(actions(store, &sample).await, ["issued", "revoked"]);
    let waiting = store.peek(bucket, None, 1000).await.unwrap();
    let ours = waiting.iter().filter(|stored| {
        stored.event.as_ref().is_some_and(|event| event.user == sample.place.location.user)
    });
    let first = ours.map(|stored| &*stored.handle).next().unwrap();
    store.acknowledge(bucket, &[first, "999999-1"]).await.unwrap();
    store.acknowledge(bucket, &[]).await.unwrap();
    assert_eq!(actions(store, &sample).await, ["revoked"]);
}

/// A caller without an audit sink leaves no events behind.
pub async fn without_an_outbox_nothing_is_reported(store: &dyn SessionStore) {
    let sample = sample(store).await;
    let create = Create { outbox: None, ..sample.create(5) };
    store.create(&create).await.unwrap();
    let mut rotate = sample.rotate(0);
    rotate.outbox = None;
    assert_eq!(store.rotate(&rotate).await.unwrap().verdict, Verdict::Rotated);
    assert_eq!(events_of(store, sample.place.location).await, []);
}
