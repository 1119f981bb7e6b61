//! What somebody learns and can do who reads and writes Redis.

use watchdog_session::record::Header;
use watchdog_session::{Client, ErrorKind, Issued, SessionConfig, SessionStore, Subject, Verdict};
use watchdog_storage::testing::redis::{RedisServer, Reply, is_available, shared, shared_cluster};

use crate::rig::{FIREFOX, Rig, client, sessions_in};

fn raw(token: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token).unwrap()
}

/// Everything Redis would write to disk or send to a replica holds nothing that opens a session or
/// tells who has one.
#[tokio::test]
async fn t46_a_dump_tells_no_token_user_address_agent_or_role() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start_with(&["--rdbcompression", "no"]);
    let rig = Rig::start(&server.url(), SessionConfig::default()).await;
    let user = "dora-the-explorer@example.org";
    // No audit sink takes the events: they stay in the dump.
    let quiet = rig.peer(&server.url(), |_| ()).await;
    let subject = Subject::user(user).with_roles(["role-of-a-kind"]);
    let issued = quiet.issue(subject.clone(), &client()).await.unwrap();
    let rotated = quiet.rotate(issued.refresh_token.expose(), &client()).await.unwrap();
    rig.sessions.issue(subject, &client()).await.unwrap();
    server.command(&["SAVE"]);
    let Reply::List(directory) = server.command(&["CONFIG", "GET", "dir"]) else { return };
    let dump = std::fs::read(format!("{}/dump.rdb", directory[1].text())).unwrap();
    let contains = |needle: &[u8]| dump.windows(needle.len()).any(|window| window == needle);
    assert!(contains(issued.session.id().to_string().as_bytes()), "the dump holds the session");
    for word in [user, "dora", "192.0.2.77", "Firefox", FIREFOX, "role-of-a-kind"] {
        assert!(!contains(word.as_bytes()), "{word}");
    }
    for token in [
        issued.session_token.expose(),
        issued.refresh_token.expose(),
        issued.access_token.expose(),
        rotated.refresh_token.expose(),
        rotated.access_token.expose(),
    ] {
        // As text, and no 16 bytes in a row of its secret half.
        assert!(!contains(token.as_bytes()));
        if !token.contains('.') {
            let bytes = raw(token);
            let secret = &bytes[39 + usize::from(bytes.len() > 80) * 4..];
            assert!(secret.windows(16).all(|part| !contains(part)), "a secret in the dump");
        }
    }
    // Neither does an address in binary, nor any part of the keys.
    assert!(!contains(&[192, 0, 2, 77]));
}

/// What is replaced in a record: the script sees `r` (own record) and `v` (the victim's).
fn edit(server: &RedisServer, own: (&str, &str), victim: (&str, &str), lua: &str) {
    let script = format!(
        "local r = redis.call('HGET', KEYS[1], ARGV[1]) \
         local v = redis.call('HGET', KEYS[2], ARGV[2]) {lua} \
         redis.call('HSET', KEYS[1], ARGV[1], r)"
    );
    server.command(&["EVAL", &script, "2", own.0, victim.0, own.1, victim.1]);
}

async fn kind(rig: &Rig, issued: &Issued) -> Option<ErrorKind> {
    let token = issued.session_token.expose();
    rig.sessions.authenticate(token, &client()).await.err().map(|error| error.kind())
}

/// Sealed parts exchanged between sessions and users, and every byte of the header and seal that
/// fixes who and how long: nothing of it is accepted.
#[tokio::test]
async fn t47_exchanged_and_edited_records_are_refused() {
    let Some(server) = shared() else { return };
    let rig = Rig::start(&server.url(), SessionConfig::default()).await;
    let (alice, other, mallory) =
        (rig.issue("alice").await, rig.issue("mallory").await, rig.issue("mallory").await);
    let key = |issued: &Issued| rig.users_key(rig.place(issued));
    let field = |issued: &Issued| format!("s:{}", issued.session.id());
    let (own_key, own_field) = (key(&mallory), field(&mallory));
    let own = (own_key.as_str(), own_field.as_str());
    let control = "redis.call('SET', KEYS[1] .. ':kept', r)";
    let back = "r = redis.call('GET', KEYS[1] .. ':kept')";
    edit(server, own, own, control);
    // Another user's and her own other session: the whole record, and the sealed part alone.
    for victim in [&alice, &other] {
        let (victim_key, victim_field) = (key(victim), field(victim));
        let victim = (victim_key.as_str(), victim_field.as_str());
        for lua in ["r = v", "r = string.sub(r, 1, 202) .. string.sub(v, 203)"] {
            edit(server, own, victim, lua);
            assert_eq!(kind(&rig, &mallory).await, Some(ErrorKind::Invalid), "{lua}");
            let refreshed =
                rig.sessions.rotate(mallory.refresh_token.expose(), &client()).await.unwrap_err();
            assert_ne!(refreshed.kind(), ErrorKind::Unavailable, "{lua}");
            edit(server, own, own, back);
        }
    }
    // Another one: the first was revoked above, for reuse, and who revoked refuses what is put back.
    assert_eq!(kind(&rig, &mallory).await, Some(ErrorKind::Gone));
    let mallory = rig.issue("mallory").await;
    let (own_key, own_field) = (key(&mallory), field(&mallory));
    let own = (own_key.as_str(), own_field.as_str());
    edit(server, own, own, control);
    // One bit in each byte that fixes birth, deadline, idle timeout, and of the sealed part.
    let length: usize = server.command(&["HSTRLEN", own.0, own.1]).text().parse().unwrap();
    for at in (5..=20).chain(29..=36).chain(59..=90).chain(203..=length) {
        let lua = format!(
            "r = string.sub(r, 1, {at} - 1) .. \
             string.char((string.byte(r, {at}) + 1) % 256) .. string.sub(r, {at} + 1)"
        );
        edit(server, own, own, &lua);
        let refused = kind(&rig, &mallory).await;
        assert!(refused.is_some(), "byte {at} was changed and accepted");
        edit(server, own, own, back);
    }
    assert_eq!(kind(&rig, &mallory).await, None);
    assert_eq!(kind(&rig, &alice).await, None);
}

/// What remains possible, and how it shows: an older copy of a record in its own place undoes
/// rotations. The holder of the newest token repairs it, with an event; the next use of an older one
/// is found out.
#[tokio::test]
async fn t47_a_record_rolled_back_shows_at_the_next_refresh() {
    let Some(server) = shared() else { return };
    let rig = Rig::start(&server.url(), SessionConfig::default()).await;
    let issued = rig.issue("alice").await;
    let (key, field) = (rig.users_key(rig.place(&issued)), format!("s:{}", issued.session.id()));
    let own = (key.as_str(), field.as_str());
    edit(server, own, own, "redis.call('SET', KEYS[1] .. ':kept', r)");
    let mut newest = issued.refresh_token.clone();
    for _ in 0..3 {
        newest = rig.sessions.rotate(newest.expose(), &client()).await.unwrap().refresh_token;
    }
    edit(server, own, own, "r = redis.call('GET', KEYS[1] .. ':kept')");
    let repaired = rig.sessions.rotate(newest.expose(), &client()).await.unwrap();
    assert_eq!(repaired.verdict, Verdict::Repaired);
    let stolen = rig.sessions.rotate(issued.refresh_token.expose(), &client()).await;
    assert_eq!(stolen.unwrap_err().kind(), ErrorKind::Reused);
    let actions = rig.actions_of(issued.session.id()).await;
    let tail: Vec<_> = actions.iter().rev().take(2).map(String::as_str).collect();
    assert_eq!(tail, ["session.refresh_token_reused", "session.repaired"]);
}

const HOSTILE: [&str; 16] = [
    "{}",
    "{1}",
    "}{",
    "*",
    "?",
    "[a-z]",
    "\\",
    "'",
    "\"",
    "]]",
    "%s%d%n",
    "\n",
    "\r\n*1\r\n",
    "return redis.call('FLUSHALL')",
    "\0",
    "e",
];

/// Users and prefixes that mean something to Lua, to glob patterns, to the protocol and to hash
/// tags: each is somebody of his own.
async fn hostile_users(url: &str, prefix: &str, count: impl Fn(&str) -> usize) {
    let mut rig = Rig::start(url, SessionConfig::default()).await;
    rig.prefix = format!("{}{prefix}", rig.prefix);
    let sessions = rig.peer(url, |_| ()).await;
    let mut issued = Vec::new();
    for user in HOSTILE {
        let client = Client::new(client().ip, Some(user.into()));
        let subject = Subject::user(user).with_roles([user]);
        let one = sessions.issue(subject, &client).await.unwrap();
        let rotated = sessions.rotate(one.refresh_token.expose(), &client).await.unwrap();
        issued.push((user, client, one, rotated));
    }
    for (user, client, one, rotated) in &issued {
        let session = sessions.authenticate(one.session_token.expose(), client).await.unwrap();
        assert_eq!((session.user(), session.has_role(user)), (*user, true));
        assert_eq!(rotated.session.id(), session.id());
        assert_eq!(count(&rig.prefix), HOSTILE.len(), "one hash for each user");
    }
}

fn hashes(server: &RedisServer, prefix: &str) -> usize {
    let escaped: String =
        prefix.bytes().filter(u8::is_ascii_alphanumeric).take(33).map(char::from).collect();
    let Reply::List(keys) = server.command(&["KEYS", &format!("{escaped}*:u:*")]) else { return 0 };
    keys.len()
}

#[tokio::test]
async fn t48_metacharacters_in_users_and_prefixes_mean_nothing() {
    let Some(server) = shared() else { return };
    for prefix in ["{}", "{x}", "*", "a b\n", "%", "'\"\\"] {
        hostile_users(&server.url(), prefix, |prefix| hashes(server, prefix)).await;
    }
    assert_eq!(server.command(&["PING"]).text(), "PONG");
}

#[tokio::test]
async fn t48_metacharacters_do_not_leave_their_slot_on_a_cluster() {
    let Some(cluster) = shared_cluster() else { return };
    let count = |prefix: &str| -> usize {
        // The primaries hold the keys; replicas hold them once more.
        let is_primary = |node: &&RedisServer| {
            node.command(&["INFO", "replication"]).text().contains("role:master")
        };
        cluster.nodes().iter().filter(is_primary).map(|node| hashes(node, prefix)).sum()
    };
    hostile_users(&cluster.url(), "{x}", count).await;
}

/// The record's header is not sealed: what it tells is times and digests, and the digests of two
/// users with one address and one browser differ.
#[tokio::test]
async fn t46_equal_clients_leave_different_digests() {
    let Some(server) = shared() else { return };
    let (one, other) = (
        Rig::start(&server.url(), SessionConfig::default()).await,
        Rig::start(&server.url(), SessionConfig::default()).await,
    );
    let mut digests = Vec::new();
    for rig in [&one, &other] {
        let issued = rig.issue("alice").await;
        let record = rig.store.read(&rig.place(&issued)).await.unwrap().record.unwrap();
        let header = Header::decode(&record).unwrap();
        digests.push((header.origin_ip, header.origin_agent, rig.place(&issued).location));
        assert_eq!(sessions_in(&mut server.control(), &rig.users_key(rig.place(&issued))).len(), 1);
    }
    assert_ne!(digests[0].0, digests[1].0);
    assert_ne!(digests[0].1, digests[1].1);
    assert_ne!(digests[0].2, digests[1].2);
}
