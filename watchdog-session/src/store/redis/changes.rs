//! Which keys of Redis mean what when they change.

use std::sync::Arc;
use std::time::Instant;

use watchdog_storage::redis::{Invalidations, Redis, Tracking};

use crate::place::{BUCKETS, Location, unhex};
use crate::store::{ChangeTracking, Changed, SessionChanges};

/// Turns names of keys into what they stand for.
struct Keys {
    users: String,
    everybody: String,
    to: Arc<dyn SessionChanges>,
}

impl Invalidations for Keys {
    fn changed(&self, key: &[u8]) {
        let Ok(key) = std::str::from_utf8(key) else { return };
        // A key of another shape holds no session, so nobody can have kept anything of it.
        let change = match key.strip_prefix(&self.users) {
            Some(rest) => user(rest),
            None => key.strip_prefix(&self.everybody).and_then(everybody),
        };
        if let Some(change) = change {
            self.to.changed(change);
        }
    }

    fn lost(&self) {
        self.to.lost();
    }

    fn restored(&self) {
        self.to.restored();
    }
}

/// `{bucket}:locator`.
fn user(rest: &str) -> Option<Changed> {
    let (bucket, user) = rest.split_once(':')?;
    Some(Changed::User(Location { bucket: bucket_of(bucket)?, user: unhex(user)? }))
}

/// `{bucket}`.
fn everybody(rest: &str) -> Option<Changed> {
    Some(Changed::Everybody { bucket: bucket_of(rest)? })
}

/// The bucket of a hash tag in its braces.
pub(crate) fn bucket_of(tag: &str) -> Option<u16> {
    let digits = tag.strip_prefix('{')?.strip_suffix('}')?;
    let bucket: u16 = digits.parse().ok().filter(|&bucket| bucket < BUCKETS)?;
    // One spelling each: `+7` and `07` are tags of nobody's.
    (bucket.to_string() == digits).then_some(bucket)
}

#[derive(Debug)]
struct Tracked(Tracking);

impl ChangeTracking for Tracked {
    fn confirmed_at(&self) -> Option<Instant> {
        self.0.confirmed_at()
    }
}

/// Tells `to` what changes.
pub(super) fn track(redis: &Redis, to: Arc<dyn SessionChanges>) -> Box<dyn ChangeTracking> {
    let (users, everybody) = (redis.keys().prefix_of("u"), redis.keys().prefix_of("g"));
    let prefixes = [users.clone(), everybody.clone()];
    let keys = Keys { users, everybody, to };
    Box::new(Tracked(redis.track(&prefixes.each_ref().map(String::as_str), Arc::new(keys))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back_and_nothing_else_is() {
        let location = Location { bucket: 1023, user: [0xab; 16] };
        let rest = format!("{{1023}}:{}", location.user_text());
        assert_eq!(user(&rest), Some(Changed::User(location)));
        assert_eq!(everybody("{0}"), Some(Changed::Everybody { bucket: 0 }));
        for wrong in ["", "{0}", "{0}:", "{1024}:00", "0:ab", "{0}:ab:cd"] {
            assert_eq!(user(wrong), None, "{wrong}");
        }
        for wrong in ["", "0", "{}", "{00}", "{+1}", "{1024}", "{0}:x"] {
            assert_eq!(everybody(wrong), None, "{wrong}");
        }
    }
}
