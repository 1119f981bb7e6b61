use std::time::Duration;

use super::*;

const USER: [u8; 16] = [0xaa; 16];
const OTHER: [u8; 16] = [0xbb; 16];

fn session(mark: u8) -> SessionId {
    SessionId::from_bytes([mark; 16])
}

fn claim(user: [u8; 16], mark: u8, issued_at: Millis) -> Claim {
    Claim { user, session: session(mark), issued_at }
}

fn text(user: [u8; 16]) -> String {
    SessionId::from_bytes(user).to_string()
}

fn markers(members: &[(String, i64)], stamp: Option<&str>) -> Markers {
    let entries = members.iter().map(|(member, score)| (member.as_bytes(), *score));
    Markers::parse(entries, stamp.map(str::as_bytes))
}

/// A bucket that is current at `now`.
fn current(markers: Markers, now: Instant) -> Bucket {
    let mut bucket = Bucket::new();
    assert!(bucket.apply(bucket.begin(), now, markers));
    bucket
}

#[test]
fn sessions_users_and_everybody_are_revoked() {
    let members = [
        (format!("{}:{}", text(USER), session(1)), 900),
        (format!("{}:*:500", text(OTHER)), 500),
        (format!("{}:*:400", text(OTHER)), 400),
    ];
    let now = Instant::now();
    let bucket = current(markers(&members, Some("100")), now);
    let judge = |claim| bucket.judge(&claim, Some(now), now);
    assert_eq!(judge(claim(USER, 1, 9999)), Standing::Revoked);
    assert_eq!(judge(claim(USER, 2, 9999)), Standing::Live);
    assert_eq!(judge(claim(OTHER, 1, 501)), Standing::Live);
    assert_eq!(judge(claim(OTHER, 1, 500)), Standing::Revoked);
    assert_eq!(judge(claim(USER, 2, 101)), Standing::Live);
    assert_eq!(judge(claim(USER, 2, 100)), Standing::Revoked);
}

#[test]
fn a_stamp_nobody_can_read_revokes_everything() {
    let now = Instant::now();
    let bucket = current(markers(&[], Some("soon")), now);
    assert_eq!(bucket.judge(&claim(USER, 1, 5), Some(now), now), Standing::Revoked);
}

#[test]
fn about_tokens_older_than_an_unreadable_marker_nothing_is_known() {
    let now = Instant::now();
    let user = text(USER);
    for strange in ["", ":", "x", &user, &format!("{user}:"), &format!("{user}:*:x"), "xy:*:1"] {
        let bucket = current(markers(&[(strange.to_owned(), 700)], None), now);
        let judge = |issued_at| bucket.judge(&claim(USER, 1, issued_at), Some(now), now);
        assert_eq!(judge(700), Standing::Unknown, "{strange}");
        assert_eq!(judge(701), Standing::Live, "{strange}");
    }
}

#[test]
fn beyond_the_bound_the_newest_markers_count() {
    let count = i64::from(MAX_MARKERS) + 1;
    let member = |index: i64| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&index.to_be_bytes());
        (format!("{}:{}", text(USER), SessionId::from_bytes(id)), 10_000 - index)
    };
    let now = Instant::now();
    let members: Vec<_> = (0..count).map(member).collect();
    let bucket = current(markers(&members, None), now);
    let oldest = 10_000 - u64::from(MAX_MARKERS);
    let judge = |issued_at| bucket.judge(&claim(USER, 9, issued_at), Some(now), now);
    assert_eq!(judge(oldest), Standing::Unknown);
    assert_eq!(judge(oldest + 1), Standing::Live);
    let within = current(markers(&members[..MAX_MARKERS as usize], None), now);
    assert_eq!(within.judge(&claim(USER, 9, 1), Some(now), now), Standing::Live);
}

#[test]
fn without_proof_nothing_is_live_and_the_revoked_stay_revoked() {
    let now = Instant::now();
    let late = now + MAX_BEHIND + Duration::from_millis(1);
    let members = [(format!("{}:{}", text(USER), session(1)), 900)];
    let bucket = current(markers(&members, None), now);
    for (confirmed, at, expected) in [
        (Some(now), now + MAX_BEHIND, Standing::Live),
        (Some(now), late, Standing::Unknown),
        (None, now, Standing::Unknown),
    ] {
        assert_eq!(bucket.judge(&claim(USER, 2, 1), confirmed, at), expected);
        assert_eq!(bucket.judge(&claim(USER, 1, 1), confirmed, at), Standing::Revoked);
    }
    assert_eq!(Bucket::new().judge(&claim(USER, 2, 1), Some(now), now), Standing::Unknown);
}

#[test]
fn what_changed_is_unknown_soon_unless_it_is_read() {
    let now = Instant::now();
    let late = now + MAX_BEHIND + Duration::from_millis(1);
    let live = claim(USER, 2, 1);
    let mut bucket = current(Markers::default(), now);
    bucket.changed(Some(now));
    bucket.changed(Some(late));
    assert_eq!(bucket.judge(&live, Some(now), now), Standing::Live);
    assert_eq!(bucket.judge(&live, Some(late), late), Standing::Unknown);
    // A change during the reading: known up to its beginning.
    let version = bucket.begin();
    bucket.changed(Some(late));
    assert!(!bucket.apply(version, late, Markers::default()));
    assert_eq!(bucket.judge(&live, Some(late), late), Standing::Live);
    let later = late + MAX_BEHIND + Duration::from_millis(1);
    assert_eq!(bucket.judge(&live, Some(later), later), Standing::Unknown);
    assert!(bucket.apply(bucket.begin(), later, Markers::default()));
    assert_eq!(bucket.judge(&live, Some(later), later), Standing::Live);
}

#[test]
fn a_bucket_never_read_stays_unknown_until_it_is() {
    let now = Instant::now();
    let live = claim(USER, 2, 1);
    let mut bucket = Bucket::new();
    let version = bucket.begin();
    bucket.changed(Some(now));
    assert!(!bucket.apply(version, now, Markers::default()));
    assert_eq!(bucket.judge(&live, Some(now), now), Standing::Unknown);
    assert!(bucket.apply(bucket.begin(), now, Markers::default()));
    bucket.changed(None);
    assert_eq!(bucket.judge(&live, Some(now), now), Standing::Unknown);
}
