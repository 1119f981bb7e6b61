//! What stands in the store, altered in every way: it opens unaltered or not at all.

use proptest::prelude::*;
use serde_json::json;
use watchdog_core::RootKeys;

use super::tests::header;
use super::*;
use crate::place::{Location, SessionId};

fn place(bucket: u16, user: u8, session: u8) -> Place {
    let location = Location { bucket: bucket % 1024, user: [user; 16] };
    Place { location, session: SessionId::from_bytes([session; 16]) }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_sealed_identity_opens_unaltered_in_its_place_or_not_at_all(
        user in "\\PC{1,64}",
        roles in prop::collection::vec("\\PC{1,16}", 0..4),
        at in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..8),
        moved: (u16, u8, u8),
    ) {
        let keys = RootKeys::ephemeral().unwrap().cipher("session/record/v1").unwrap();
        let identity: Identity = serde_json::from_value(json!({
            "u": user, "r": roles, "c": 1_000_000, "d": 9_000_000, "t": 1_800_000,
        })).unwrap();
        let home = place(1, 1, 1);
        let sealed = identity.seal(&keys, home).unwrap();
        let verify = |place, sealed: &[u8]| Identity::verify(&keys, place, &header(), sealed);
        prop_assert_eq!(&verify(home, &sealed).unwrap(), &identity);

        let mut altered = sealed.clone();
        let at = at.index(sealed.len());
        let end = (at + bytes.len()).min(sealed.len());
        altered.splice(at..end, bytes);
        if altered != sealed {
            prop_assert_eq!(verify(home, &altered).unwrap_err().kind(), ErrorKind::Invalid);
        }
        let elsewhere = place(moved.0, moved.1, moved.2);
        prop_assert_eq!(verify(elsewhere, &sealed).is_ok(), elsewhere == home);
        let strange = RootKeys::ephemeral().unwrap().cipher("session/record/v1").unwrap();
        prop_assert!(Identity::verify(&strange, home, &header(), &sealed).is_err());
    }

    #[test]
    fn whatever_is_sealed_as_an_identity_is_read_or_refused(
        plain in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "\\{(\"[urciadt0lq]\":(\"[ -~]{0,9}\"|-?[0-9]{1,20}|null|\\[\\]),?){0,9}\\}"
                .prop_map(String::into_bytes),
        ],
    ) {
        let keys = RootKeys::ephemeral().unwrap().cipher("session/record/v1").unwrap();
        let home = place(1, 1, 1);
        let sealed = keys.seal(&bound(home), &plain).unwrap();
        if let Err(error) = Identity::verify(&keys, home, &header(), &sealed) {
            prop_assert_eq!(error.kind(), ErrorKind::Invalid);
        }
        let record = header().encode(&sealed);
        prop_assert_eq!(sealed_part(&record), &sealed[..]);
        for length in 0..record.len() {
            let _ = sealed_part(&record[..length]);
        }
    }
}
