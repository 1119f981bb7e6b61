//! The record of a session: a header that scripts read, and a sealed part that only we can.
//!
//! The layout is in [`wire`](crate::wire). The first [`COMMON_BYTES`] are the same in every
//! version, so that processes of two releases can tell time on each other's records.

mod opened;

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use watchdog_core::CipherKeys;
use watchdog_core::audit::Client;

use crate::error::{Error, ErrorKind, Result};
use crate::event::timestamp;
use crate::place::{Place, SessionId};
use crate::session::Facts;

pub(crate) use opened::Opened;

/// The version of records that this release writes.
pub const VERSION: u8 = 1;
/// Length of what all versions share.
pub const COMMON_BYTES: usize = 36;
/// Length of the header of version 1.
pub const HEADER_BYTES: usize = 202;

/// Where the last use stands, in every version.
pub(crate) const SEEN_AT: usize = 20;
/// Set when the last step was a repair after lost writes.
const REPAIRED: u8 = 1;
/// Two bits: the family of the address that the last rotation came from.
const FAMILY: u8 = 0b110;

/// Milliseconds since 1970-01-01 by the clock of the store.
pub type Millis = u64;

/// The part of a header that every version shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Common {
    /// The version of the record.
    pub version: u8,
    /// Marks; see [`Header`].
    pub flags: u8,
    /// Length of the header, after which the sealed part begins.
    pub header_bytes: u16,
    /// When the session was issued.
    pub created_at: Millis,
    /// When it ends, however busy.
    pub absolute_deadline: Millis,
    /// When it was last known to be used.
    pub last_seen: Millis,
    /// How long it may stay unused, in milliseconds.
    pub idle_timeout: Millis,
}

impl Common {
    /// Reads the shared part; `None` when the bytes are too few to be a record.
    pub fn decode(record: &[u8]) -> Option<Self> {
        let mut reader = Reader(record.get(..COMMON_BYTES)?);
        Some(Self {
            version: reader.take::<1>()?[0],
            flags: reader.take::<1>()?[0],
            header_bytes: u16::from_be_bytes(reader.take()?),
            created_at: u64::from_be_bytes(reader.take()?),
            absolute_deadline: u64::from_be_bytes(reader.take()?),
            last_seen: u64::from_be_bytes(reader.take()?),
            idle_timeout: u64::from_be_bytes(reader.take()?),
        })
    }

    /// Whether the session is over at `now`, by idleness or age.
    pub fn is_expired(&self, now: Millis) -> bool {
        now >= self.absolute_deadline || now >= self.last_seen.saturating_add(self.idle_timeout)
    }
}

/// The header of a record of version 1.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What every version shares.
    pub common: Common,
    /// How often the grace period of this generation was used.
    pub grace_used: u16,
    /// How many rotations there were.
    pub generation: u32,
    /// When the last one was.
    pub rotated_at: Millis,
    /// Random mark of the call that did it: tells a repeated call from a second one.
    pub nonce: [u8; 8],
    /// SHA-256 of the session token's secret.
    pub secret_digest: [u8; 32],
    /// SHA-256 of this generation's value.
    pub current_digest: [u8; 32],
    /// SHA-256 of the previous generation's value.
    pub previous_digest: [u8; 32],
    /// Keyed digest of the address the session was issued to.
    pub origin_ip: [u8; 16],
    /// Keyed digest of the agent family the session was issued to.
    pub origin_agent: [u8; 16],
    /// Keyed digest of the client that did the last rotation.
    pub rotated_by: [u8; 16],
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header")
            .field("common", &self.common)
            .field("grace_used", &self.grace_used)
            .field("generation", &self.generation)
            .field("rotated_at", &self.rotated_at)
            .finish_non_exhaustive()
    }
}

impl Header {
    /// Reads the header of a record.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] for a record of a newer version: another process can read it.
    /// [`ErrorKind::Internal`] for what is no record.
    pub fn decode(record: &[u8]) -> Result<Self> {
        let corrupt = || Error::new(ErrorKind::Internal, "session record is cut or altered");
        let common = Common::decode(record).ok_or_else(corrupt)?;
        if common.version > VERSION {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format_args!(
                    "session record of version {}, newer than this process",
                    common.version
                ),
            ));
        }
        if common.version != VERSION || usize::from(common.header_bytes) != HEADER_BYTES {
            return Err(corrupt());
        }
        Self::decode_rest(common, record).ok_or_else(corrupt)
    }

    fn decode_rest(common: Common, record: &[u8]) -> Option<Self> {
        let mut reader = Reader(record.get(COMMON_BYTES..HEADER_BYTES)?);
        Some(Self {
            common,
            grace_used: u16::from_be_bytes(reader.take()?),
            generation: u32::from_be_bytes(reader.take()?),
            rotated_at: u64::from_be_bytes(reader.take()?),
            nonce: reader.take()?,
            secret_digest: reader.take()?,
            current_digest: reader.take()?,
            previous_digest: reader.take()?,
            origin_ip: reader.take()?,
            origin_agent: reader.take()?,
            rotated_by: reader.take()?,
        })
    }

    /// The record: this header, then the sealed part.
    pub fn encode(&self, sealed: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + sealed.len());
        bytes.extend_from_slice(&[self.common.version, self.common.flags]);
        bytes.extend_from_slice(&self.common.header_bytes.to_be_bytes());
        bytes.extend_from_slice(&self.common.created_at.to_be_bytes());
        bytes.extend_from_slice(&self.common.absolute_deadline.to_be_bytes());
        bytes.extend_from_slice(&self.common.last_seen.to_be_bytes());
        bytes.extend_from_slice(&self.common.idle_timeout.to_be_bytes());
        bytes.extend_from_slice(&self.grace_used.to_be_bytes());
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes.extend_from_slice(&self.rotated_at.to_be_bytes());
        bytes.extend_from_slice(&self.nonce);
        bytes.extend_from_slice(&self.secret_digest);
        bytes.extend_from_slice(&self.current_digest);
        bytes.extend_from_slice(&self.previous_digest);
        bytes.extend_from_slice(&self.origin_ip);
        bytes.extend_from_slice(&self.origin_agent);
        bytes.extend_from_slice(&self.rotated_by);
        bytes.extend_from_slice(sealed);
        bytes
    }

    /// Whether the last step was a repair after lost writes.
    pub fn is_repaired(&self) -> bool {
        self.common.flags & REPAIRED != 0
    }

    /// Marks whether the last step was a repair after lost writes.
    pub fn set_repaired(&mut self, repaired: bool) {
        self.common.flags = self.common.flags & !REPAIRED | u8::from(repaired);
    }

    /// The family of the address that the last rotation came from: 4, 6, or 0 when it is not known.
    pub fn family(&self) -> u8 {
        match self.common.flags & FAMILY {
            0b010 => 4,
            0b100 => 6,
            _ => 0,
        }
    }

    /// Notes the family of the address that a rotation came from: 4, 6, or anything else.
    pub fn set_family(&mut self, family: u8) {
        let bits = match family {
            4 => 0b010,
            6 => 0b100,
            _ => 0,
        };
        self.common.flags = self.common.flags & !FAMILY | bits;
    }
}

/// The sealed part of a record, empty for what is no record.
pub(crate) fn sealed_part(record: &[u8]) -> &[u8] {
    Common::decode(record)
        .and_then(|common| record.get(usize::from(common.header_bytes)..))
        .unwrap_or_default()
}

/// Whom a session belongs to, and the times that nobody may change. Sealed into the record.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    #[serde(rename = "u")]
    pub(crate) user: String,
    #[serde(rename = "r", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) roles: Vec<String>,
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub(crate) ip: Option<IpAddr>,
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub(crate) user_agent: Option<String>,
    #[serde(rename = "c")]
    pub(crate) created_at: Millis,
    #[serde(rename = "d")]
    pub(crate) absolute_deadline: Millis,
    #[serde(rename = "t")]
    pub(crate) idle_timeout: Millis,
    /// When the user last authenticated, unless that is the creation time.
    #[serde(rename = "t0", default, skip_serializing_if = "Option::is_none")]
    pub(crate) auth_time: Option<Millis>,
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    #[serde(rename = "q", default, skip_serializing_if = "Option::is_none")]
    pub(crate) level: Option<String>,
    /// The first of the sessions that this one succeeds, unless it succeeds none.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub(crate) origin: Option<SessionId>,
}

/// Times, roles and ids of sessions: no user, no client, no label.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("roles", &self.roles)
            .field("created_at", &self.created_at)
            .field("absolute_deadline", &self.absolute_deadline)
            .field("auth_time", &self.auth_time)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// The client the session was issued to.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.ip, self.user_agent.clone())
    }

    /// What is known of the session at this place, once this identity was verified.
    pub(crate) fn into_facts(self, place: Place) -> Facts {
        Facts {
            id: place.session,
            user: self.user,
            roles: self.roles,
            created_at: timestamp(self.created_at),
            auth_time: timestamp(self.auth_time.unwrap_or(self.created_at)),
            expires_at: timestamp(self.absolute_deadline),
            idle_timeout: self.idle_timeout,
            label: self.label,
            level: self.level,
            location: Some(place.location),
            origin: Some(self.origin.unwrap_or(place.session)),
            issued_to: Client::new(self.ip, self.user_agent),
        }
    }

    /// Seals the identity for one place: nowhere else does it open.
    pub(crate) fn seal(&self, keys: &CipherKeys, place: Place) -> Result<Vec<u8>> {
        let plain = serde_json::to_vec(self)
            .map_err(|error| Error::new(ErrorKind::Internal, "identity").with_source(error))?;
        Ok(keys.seal(&bound(place), &plain)?)
    }

    pub(crate) fn open(keys: &CipherKeys, place: Place, sealed: &[u8]) -> Result<Self> {
        let altered = || Error::invalid("session record was altered or moved");
        let plain = keys.open(&bound(place), sealed).map_err(|_| altered())?;
        serde_json::from_slice(&plain).map_err(|_| altered())
    }

    /// Opens the sealed part and compares what stands twice, so that whoever can write to the
    /// store cannot move a record or its absolute deadline.
    pub(crate) fn verify(
        keys: &CipherKeys,
        place: Place,
        header: &Header,
        sealed: &[u8],
    ) -> Result<Self> {
        let identity = Self::open(keys, place, sealed)?;
        let common = &header.common;
        let same = identity.created_at == common.created_at
            && identity.absolute_deadline == common.absolute_deadline
            && identity.idle_timeout == common.idle_timeout;
        same.then_some(identity).ok_or_else(|| Error::invalid("session record was altered"))
    }
}

fn bound(place: Place) -> [u8; 35] {
    let mut bytes = [VERSION; 35];
    bytes[1..].copy_from_slice(&place.to_bytes());
    bytes
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
pub(crate) mod tests {
    use watchdog_core::RootKeys;

    use super::*;
    use crate::place::Location;

    pub(crate) fn header() -> Header {
        Header {
            common: Common {
                version: VERSION,
                flags: 0,
                header_bytes: 202,
                created_at: 1_000_000,
                absolute_deadline: 9_000_000,
                last_seen: 1_000_000,
                idle_timeout: 1_800_000,
            },
            grace_used: 3,
            generation: 7,
            rotated_at: 1_500_000,
            nonce: [1; 8],
            secret_digest: [2; 32],
            current_digest: [3; 32],
            previous_digest: [4; 32],
            origin_ip: [5; 16],
            origin_agent: [6; 16],
            rotated_by: [7; 16],
        }
    }

    pub(crate) fn identity() -> Identity {
        Identity {
            user: "alice".into(),
            roles: vec!["admin".into()],
            ip: "192.0.2.1".parse().ok(),
            user_agent: Some("agent".into()),
            created_at: 1_000_000,
            absolute_deadline: 9_000_000,
            idle_timeout: 1_800_000,
            auth_time: None,
            label: None,
            level: None,
            origin: None,
        }
    }

    pub(crate) fn place(session: u8) -> Place {
        let location = Location { bucket: 1, user: [1; 16] };
        Place { location, session: SessionId::from_bytes([session; 16]) }
    }

    #[test]
    fn an_identity_is_shown_without_its_person() {
        let identity = identity();
        let shown = format!("{identity:?} {:?}", identity.clone().into_facts(place(1)));
        let label = identity.label.clone().unwrap_or_else(|| "no label".to_owned());
        for secret in [&identity.user, identity.user_agent.as_ref().unwrap(), &label] {
            assert!(!shown.contains(&secret[..]), "{secret} in {shown}");
        }
        assert!(!shown.contains(&identity.ip.unwrap().to_string()), "{shown}");
    }

    #[test]
    fn a_record_reads_back() {
        let record = header().encode(b"sealed");
        assert_eq!(record.len(), HEADER_BYTES + 6);
        assert_eq!(Header::decode(&record).unwrap(), header());
        assert_eq!(sealed_part(&record), b"sealed");
        assert_eq!(&record[SEEN_AT..SEEN_AT + 8], 1_000_000_u64.to_be_bytes());
    }

    #[test]
    fn a_cut_record_is_told_from_a_newer_one() {
        let record = header().encode(b"");
        for length in 0..HEADER_BYTES {
            let error = Header::decode(&record[..length]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Internal, "length {length}");
        }
        let mut newer = record.clone();
        newer[0] = 2;
        assert_eq!(Header::decode(&newer).unwrap_err().kind(), ErrorKind::Unavailable);
        let mut older = record.clone();
        older[0] = 0;
        assert_eq!(Header::decode(&older).unwrap_err().kind(), ErrorKind::Internal);
        let mut odd = record;
        odd[3] ^= 1;
        assert_eq!(Header::decode(&odd).unwrap_err().kind(), ErrorKind::Internal);
    }

    #[test]
    fn expiry_is_idle_or_absolute_whichever_comes_first() {
        let mut common = header().common;
        assert!(!common.is_expired(2_799_999));
        assert!(common.is_expired(2_800_000));
        common.last_seen = 8_999_000;
        assert!(!common.is_expired(8_999_999));
        assert!(common.is_expired(9_000_000));
        common.last_seen = u64::MAX;
        assert!(!common.is_expired(0));
    }

    #[test]
    fn each_mark_leaves_the_others_alone() {
        let mut header = header();
        header.common.flags = 0b1010_1010;
        header.set_repaired(true);
        assert!(header.is_repaired());
        for (family, bits) in [(4, 0b010), (6, 0b100), (0, 0), (5, 0)] {
            header.set_family(family);
            assert_eq!(header.family(), if bits == 0 { 0 } else { family });
            assert_eq!(header.common.flags, 0b1010_1001 | bits);
        }
        header.set_repaired(false);
        assert_eq!(header.common.flags, 0b1010_1000);
        header.common.flags = 0b110;
        assert_eq!(header.family(), 0);
    }

    /// A process of the release before, which knows fewer members, reads the identity all the same,
    /// and an identity without news is written as that release wrote it.
    #[test]
    fn an_identity_without_news_is_written_as_before() {
        let text = serde_json::to_string(&identity()).unwrap();
        assert_eq!(
            text,
            r#"{"u":"alice","r":["admin"],"i":"192.0.2.1","a":"agent","c":1000000,"d":9000000,"t":1800000}"#
        );
        assert_eq!(serde_json::from_str::<Identity>(&text).unwrap(), identity());
    }

    #[test]
    fn an_identity_opens_only_in_its_place_and_with_its_times() {
        let keys = RootKeys::ephemeral().unwrap().cipher("session/record/v1").unwrap();
        let sealed = identity().seal(&keys, place(1)).unwrap();
        let verify = |place, header: &Header, sealed: &[u8]| {
            Identity::verify(&keys, place, header, sealed).map_err(|error| error.kind())
        };
        assert_eq!(verify(place(1), &header(), &sealed), Ok(identity()));
        assert_eq!(verify(place(2), &header(), &sealed), Err(ErrorKind::Invalid));
        let changes: [fn(&mut Common); 3] = [
            |common| common.created_at += 1,
            |common| common.absolute_deadline += 1,
            |common| common.idle_timeout += 1,
        ];
        for change in changes {
            let mut changed = header();
            change(&mut changed.common);
            assert_eq!(verify(place(1), &changed, &sealed), Err(ErrorKind::Invalid));
        }
        for bit in 0..sealed.len() * 8 {
            let mut altered = sealed.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(verify(place(1), &header(), &altered).is_err(), "bit {bit}");
        }
    }
}
