//! The gate from outside: what has a life that ends in Redis lies in the bucket, line by line.

use watchdog_storage::testing::redis::{Control, Reply};

use crate::archive::Archive;
use crate::place::Place;

/// How many segments have a life that ends, and how many have none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lives {
    pub(crate) ending: u64,
    pub(crate) endless: u64,
}

/// Asserts that each segment with a life that ends is named by a manifest the bucket holds, and that
/// each of its lines is archived.
pub(crate) fn assert_only_archived_ends(control: &mut Control, place: &Place) -> Lives {
    let prefix = &place.redis.as_ref().unwrap().prefix;
    let mut lives = Lives::default();
    let mut ask = |words: &[&str]| control.command(words).unwrap();
    // The store first: what the archive has by then is all that may end.
    let mut ending = Vec::new();
    for key in texts(&ask(&["KEYS", &format!("{prefix}:a:{{*}}:*")])) {
        if ask(&["TYPE", &key]).text() != "stream" {
            continue;
        }
        match ask(&["PTTL", &key]).text().parse::<i64>().unwrap() {
            -1 => lives.endless += 1,
            // Gone in between.
            -2 => {}
            _ => {
                lives.ending += 1;
                let (home, number) = key.rsplit_once(':').unwrap();
                // Where memory is short, either of the two may be evicted before the other.
                let proof = match ask(&["GET", &format!("{home}:a:{number}")]) {
                    Reply::Text(proof) => Some(proof),
                    _ => None,
                };
                ending.push((key.clone(), proof, ask(&["XRANGE", &key, "-", "+"])));
            }
        }
    }
    let archive = Archive::read(&place.bucket());
    for (key, proof, entries) in ending {
        let segment = segment(&key);
        let covering = archive.covering.get(&segment);
        assert!(
            covering.is_some_and(|manifests| {
                proof.as_ref().is_none_or(|proof| manifests.contains(proof))
            }),
            "{key} ends on the word of {proof:?}, the bucket has {covering:?}"
        );
        for line in lines(&entries) {
            assert!(archive.lines.contains_key(&line), "{key} ends, and is not archived: {line}");
        }
    }
    lives
}

/// `<prefix>:a:{<partition>}:<segment>`
fn segment(key: &str) -> (u64, u64) {
    let (home, number) = key.rsplit_once(':').unwrap();
    let partition = home.rsplit_once('{').unwrap().1.trim_end_matches('}');
    (partition.parse().unwrap(), number.parse().unwrap())
}

fn texts(reply: &Reply) -> Vec<String> {
    match reply {
        Reply::List(items) => items.iter().map(|item| item.text().to_owned()).collect(),
        _ => Vec::new(),
    }
}

/// The lines in the frames of a stream: each frame is a header, then lines of JSON.
fn lines(entries: &Reply) -> Vec<String> {
    let Reply::List(entries) = entries else { return Vec::new() };
    let mut lines = Vec::new();
    for entry in entries {
        let Reply::List(parts) = entry else { continue };
        let Reply::List(fields) = &parts[1] else { continue };
        let frame = fields[1].text();
        let payload = &frame[frame.find("{\"v\":").unwrap()..];
        lines.extend(payload.lines().map(str::to_owned));
    }
    lines
}

/// Takes the lease away, as its end would.
pub(crate) fn expire_lease(control: &mut Control, place: &Place) {
    let prefix = &place.redis.as_ref().unwrap().prefix;
    control.command(&["DEL", &format!("{prefix}:a:{{0}}:lease")]).unwrap();
}
