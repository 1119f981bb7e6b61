use super::*;

const SECRET: &[u8] = b"a key of the tests, 32 bytes long";

/// A token with just this text as its header, properly signed.
fn signed(header: &[u8], payload: &[u8]) -> String {
    let start = URL_SAFE_NO_PAD.encode(header) + ".";
    seal(&SigningKey::hs256(SECRET), &start, payload).unwrap()
}

fn opened(token: &str) -> Result<Vec<u8>> {
    let key = VerifyingKey::hs256(SECRET);
    open(token, |_| Ok(&key))
}

#[test]
fn what_was_sealed_opens() {
    let token = signed(br#"{"alg":"HS256"}"#, b"payload");
    assert_eq!(opened(&token).unwrap(), b"payload");
    assert_eq!(opened(&signed(br#"{"alg":"HS256"}"#, b"")).unwrap(), b"");
}

#[test]
fn the_header_is_judged_before_the_signature() {
    let token = signed(br#"{"alg":"HS256"}"#, b"payload");
    let mut asked = 0;
    let broken = format!("{}.!", token.rsplit_once('.').unwrap().0);
    let refused = open(&broken, |_| {
        asked += 1;
        Err(Error::invalid("no such key"))
    });
    assert_eq!(refused.unwrap_err().to_string(), "no such key");
    assert_eq!(asked, 1);
    // Of what is too long nothing is read.
    let long = format!("{token}{}", "A".repeat(MAX_TOKEN));
    let refused = open(&long, |_| panic!("the header was read"));
    assert!(refused.unwrap_err().to_string().contains("too long"));
}

#[test]
fn a_header_is_one_bare_object_of_known_members() {
    for header in [
        &b"\xef\xbb\xbf{\"alg\":\"HS256\"}"[..],
        b" {\"alg\":\"HS256\"}",
        b"{\"alg\":\"HS256\"}\n",
        b"{\"alg\":\"HS256\"}{}",
        b"{\"alg\":\"HS256\",\"alg\":\"HS256\"}",
        b"{\"alg\":\"HS256\",\"\\u0061lg\":\"none\"}",
        b"{\"alg\":\"HS256\",\"b64\":false,\"crit\":[\"b64\"]}",
        b"{\"alg\":\"HS256\",\"cty\":\"JWT\"}",
        b"{\"alg\":\"HS256\",\"zip\":\"DEF\"}",
        b"{\"alg\":[\"HS256\"]}",
        b"{\"alg\":\"HS256\",}",
        b"{\"alg\":\"HS256\xff\"}",
        b"[\"HS256\"]",
        b"{}",
        b"{",
        b"null",
        b"",
    ] {
        assert!(opened(&signed(header, b"p")).is_err(), "{}", String::from_utf8_lossy(header));
    }
    // White space within the object is JSON.
    assert!(opened(&signed(b"{ \"alg\" :\t\"HS256\"\r\n}", b"p")).is_ok());
}

#[test]
fn the_algorithm_is_the_keys_and_its_name_has_one_spelling() {
    for name in
        ["none", "None", "", "hs256", "HS256 ", "HS384", "HS512", "EdDSA", "Ed25519", "ES256"]
    {
        let header = format!(r#"{{"alg":"{name}"}}"#);
        assert!(opened(&signed(header.as_bytes(), b"p")).is_err(), "{name}");
    }
}

#[test]
fn nothing_is_made_that_nobody_would_accept() {
    let start = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#) + ".";
    let seal = |length| seal(&SigningKey::hs256(SECRET), &start, &vec![b'x'; length]);
    let longest = (1..9000).rev().find_map(|length| seal(length).ok()).unwrap();
    assert!((MAX_TOKEN - 1..=MAX_TOKEN).contains(&longest.len()));
    assert!(opened(&longest).is_ok());
    assert_eq!(seal(9000).unwrap_err().kind(), ErrorKind::Misuse);
}
