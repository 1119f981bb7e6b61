//! The conformance suite that every store runs (feature `testing`).
//!
//! ```
//! use std::sync::Arc;
//! use watchdog_session::{MemoryStore, SessionStore};
//!
//! async fn store() -> Option<Arc<dyn SessionStore>> {
//!     Some(Arc::new(MemoryStore::new()))
//! }
//! watchdog_session::session_store_tests!(store());
//! ```
//!
//! The cases need no control over the store's clock: a [`Sample`] is a record of whatever age. They
//! panic where a store does not do what it should, and can share one store.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a suite states what it expects"
)]

mod attributes;
mod claims;
mod lifecycle;
mod suite;

use watchdog_core::fill_random;

use crate::config::LimitPolicy;
use crate::place::{BUCKETS, Location, Place, SessionId};
use crate::record::{Common, HEADER_BYTES, Header, Millis, VERSION};
use crate::rotation::{GRACE_LIMIT, Presented, Rules};
use crate::store::{
    Change, Create, Event, Outbox, Regenerate, Report, Revoke, RevokeAll, Rotate, SessionStore,
    Touch, Update,
};

pub use attributes::*;
pub use claims::*;
pub use lifecycle::*;
pub use suite::*;

/// Runs the conformance suite as `tokio` tests. The argument is an expression of a future of
/// `Option<Arc<dyn SessionStore>>`; with `None` the cases are left out.
#[macro_export]
macro_rules! session_store_tests {
    ($store:expr) => {
        $crate::session_store_tests!(
            $store =>
            a_created_session_reads_back
            a_repeated_create_changes_nothing
            a_taken_id_is_refused
            nothing_but_create_creates
            the_oldest_is_evicted_beyond_the_limit
            a_login_removes_what_has_expired
            a_creation_time_that_is_off_is_refused
            a_repeated_create_does_not_bring_back_what_was_revoked
            a_repeated_create_does_not_bring_back_what_was_evicted
            marks_of_evicted_sessions_have_a_bound
            use_is_noted_once_an_interval
            an_expired_session_is_removed_by_whoever_finds_it
            a_rotation_replaces_the_token
            a_repeated_rotation_gets_the_same_answer
            a_replaced_token_has_its_grace
            a_repeated_grace_call_is_no_reuse
            a_call_that_a_later_one_overtook_is_no_reuse
            an_old_token_ends_the_session
            a_token_ahead_of_the_store_repairs_it
            a_refused_token_changes_nothing
            fifty_parallel_rotations_take_one_step
            events_leave_by_acknowledgement
            no_two_consumers_hold_one_event
            a_repeated_claim_hands_out_the_same
            events_of_a_dead_consumer_are_taken_over
            acknowledged_events_go_to_nobody
            postponed_events_come_back
            a_bucket_knows_how_much_waits
            without_an_outbox_nothing_is_reported
            the_least_recently_used_is_evicted_by_that_policy
            a_login_beyond_the_limit_is_refused_by_that_policy
            a_regenerated_session_takes_the_place_of_the_old
            only_a_living_session_is_regenerated
            an_unfit_successor_changes_nothing
            a_successor_seen_in_the_future_changes_nothing
            all_sessions_of_a_user_end_at_once
            all_sessions_but_one_end
            an_end_asserted_again_spares_later_sessions
            a_list_has_all_records_of_a_user
            only_of_a_living_session_is_anything_reported
            grace_follows_a_host_to_its_other_address_family
            attributes_change_one_by_one
            an_update_of_what_does_not_stand_is_a_conflict
            a_repeated_update_is_made_once
            no_attribute_outlives_its_session
            attributes_end_with_eviction_and_reuse
            attributes_have_a_bound
        );
    };
    ($store:expr => $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                if let Some(store) = $store.await {
                    $crate::testing::$case(&*store).await;
                }
            }
        )*
    };
}

/// A session whose record is made by hand: of any age, generation and state.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Where it goes.
    pub place: Place,
    /// Its header.
    pub header: Header,
    /// What stands for the sealed part.
    pub sealed: Vec<u8>,
}

/// Buckets that a case about events has to itself: the last ones.
pub(crate) const RESERVED_BUCKETS: u16 = 16;

/// A random location: the cases do not meet.
pub fn random_location() -> Location {
    let (mut bucket, mut user) = ([0; 2], [0; 16]);
    fill_random(&mut bucket).unwrap();
    fill_random(&mut user).unwrap();
    Location { bucket: u16::from_be_bytes(bucket) % (BUCKETS - RESERVED_BUCKETS), user }
}

/// The value of a generation, as a digest.
pub fn digest(generation: u32) -> [u8; 32] {
    let mut digest = [0; 32];
    digest[..4].copy_from_slice(&generation.to_be_bytes());
    digest[4] = 0xd1;
    digest
}

impl Sample {
    /// A session of a user, created now: 30 minutes idle, 8 hours at most, generation 0.
    pub fn new(location: Location, now: Millis) -> Self {
        let place = Place { location, session: SessionId::random().unwrap() };
        let common = Common {
            version: VERSION,
            flags: 0,
            header_bytes: u16::try_from(HEADER_BYTES).unwrap(),
            created_at: now,
            absolute_deadline: now + 28_800_000,
            last_seen: now,
            idle_timeout: 1_800_000,
        };
        let mut secret_digest = [0; 32];
        secret_digest[..16].copy_from_slice(place.session.as_bytes());
        let header = Header {
            common,
            grace_used: 0,
            generation: 0,
            rotated_at: now,
            nonce: [0; 8],
            secret_digest,
            current_digest: digest(0),
            previous_digest: [0; 32],
            origin_ip: [5; 16],
            origin_agent: [6; 16],
            rotated_by: [7; 16],
        };
        Self { place, header, sealed: b"sealed".to_vec() }
    }

    /// As after some rotations, the last one `age` ago.
    #[must_use]
    pub fn rotated(mut self, generation: u32, age: Millis) -> Self {
        self.header.generation = generation;
        self.header.current_digest = digest(generation);
        self.header.previous_digest = digest(generation.wrapping_sub(1));
        self.header.rotated_at -= age;
        self
    }

    /// Over by idleness.
    #[must_use]
    pub fn expired(mut self) -> Self {
        self.header.common.idle_timeout = 1;
        self.header.common.last_seen -= 1000;
        self
    }

    /// Created earlier, within the tolerance of [`Sample::create`].
    #[must_use]
    pub fn older_by(mut self, age: Millis) -> Self {
        self.header.common.created_at -= age;
        self
    }

    /// The record.
    pub fn record(&self) -> Vec<u8> {
        self.header.encode(&self.sealed)
    }

    /// The call that stores it.
    pub fn create(&self, limit: u32) -> Create {
        Create {
            place: self.place,
            record: self.record(),
            limit,
            policy: LimitPolicy::EvictOldest,
            tolerance: 60_000,
            outbox: Some(outbox()),
        }
    }

    /// The call that notes its use.
    pub fn touch(&self, interval: Millis) -> Touch {
        Touch { place: self.place, interval, outbox: Some(outbox()) }
    }

    /// The call that presents the token of a generation, from the client that did the last
    /// rotation.
    pub fn rotate(&self, generation: u32) -> Rotate {
        let presented = Presented {
            generation,
            digest: digest(generation),
            successor: digest(generation + 1),
            client: [7; 16],
            nonce: nonce(),
            made_at: Millis::MAX,
            ip: None,
            agent_tag: [6; 16],
            bind_agent: false,
            family: 0,
        };
        let rules = Rules { rotate: true, grace: 10_000, grace_limit: GRACE_LIMIT };
        Rotate { place: self.place, presented, rules, outbox: Some(outbox()) }
    }

    /// The call that ends it.
    pub fn revoke(&self) -> Revoke {
        Revoke { place: self.place, reason: "logout", outbox: Some(outbox()) }
    }

    /// A session that can take its place: a new id, and all else the same.
    #[must_use]
    pub fn successor(&self) -> Self {
        let session = SessionId::random().unwrap();
        let mut successor = self.clone();
        successor.place.session = session;
        successor.header.secret_digest[..16].copy_from_slice(session.as_bytes());
        successor
    }

    /// The call that exchanges it for another.
    pub fn regenerate(&self, successor: &Self) -> Regenerate {
        Regenerate {
            place: self.place,
            session: successor.place.session,
            record: successor.record(),
            outbox: Some(outbox()),
        }
    }

    /// The call that ends all sessions of its user.
    pub fn revoke_all(&self) -> RevokeAll {
        RevokeAll {
            location: self.place.location,
            except: None,
            reason: "administrator",
            nonce: nonce(),
            up_to: None,
            outbox: Some(outbox()),
        }
    }

    /// The call that ends all other sessions of its user.
    pub fn revoke_others(&self) -> RevokeAll {
        RevokeAll { except: Some(self.place.session), ..self.revoke_all() }
    }

    /// The call that changes some attributes, whatever they were.
    pub fn update(&self, changes: &[(&str, Option<&[u8]>)]) -> Update {
        let changes = changes.iter().map(|(name, value)| Change {
            name: (*name).to_owned(),
            expected: None,
            value: value.map(<[u8]>::to_vec),
        });
        Update {
            place: self.place,
            expected: None,
            clear: false,
            changes: changes.collect(),
            nonce: nonce(),
            outbox: Some(outbox()),
        }
    }

    /// The call that reports something about it.
    pub fn report(&self) -> Report {
        let details = vec![("part", "ip".to_owned()), ("action", "log".to_owned())];
        Report { place: self.place, action: "binding_mismatch", details, outbox: Some(outbox()) }
    }
}

fn nonce() -> [u8; 8] {
    let mut nonce = [0; 8];
    fill_random(&mut nonce).unwrap();
    nonce
}

/// What events carry, with a seed of its own.
pub fn outbox() -> Outbox {
    let mut seed = [0; 16];
    fill_random(&mut seed).unwrap();
    Outbox { seed, client: b"client".to_vec() }
}

/// The store's time.
pub async fn time_of(store: &dyn SessionStore) -> Millis {
    let place = Place { location: random_location(), session: SessionId::random().unwrap() };
    store.read(&place).await.unwrap().now
}

/// The events of one user, oldest first.
pub async fn events_of(store: &dyn SessionStore, location: Location) -> Vec<Event> {
    let mut found = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let batch = store.peek(location.bucket, after.as_deref(), 100).await.unwrap();
        let Some(last) = batch.last() else { return found };
        after = Some(last.handle.clone());
        let of_user = batch.into_iter().filter_map(|stored| stored.event);
        found.extend(of_user.filter(|event| event.user == location.user));
    }
}
