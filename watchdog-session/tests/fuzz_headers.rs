//! Headers that anybody can send: whatever bytes they hold, nothing panics, nobody is let in, and
//! the work grows no faster than the header.

#![expect(clippy::unwrap_used, reason = "tests state what they expect")]
#![cfg(feature = "axum")]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use axum::http::header::{COOKIE, HeaderMap, HeaderValue};
use proptest::prelude::*;
use watchdog_session::ForwardedHeader;
use watchdog_session::web::{CookieSettings, SessionCookie, TrustedProxies};

const TRUSTED: [&str; 2] = ["10.0.0.0/8", "fd00::/8"];

#[expect(clippy::disallowed_methods, reason = "the switch of the tests")]
fn cases() -> ProptestConfig {
    let long = std::env::var_os("WD_TEST_LONG").is_some();
    let cases = if long { 200_000 } else { 1000 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn name(header: ForwardedHeader) -> &'static str {
    match header {
        ForwardedHeader::XForwardedFor => "x-forwarded-for",
        ForwardedHeader::Forwarded => "forwarded",
    }
}

fn headers(name: &'static str, lines: &[Vec<u8>]) -> HeaderMap {
    let values = lines.iter().filter_map(|line| HeaderValue::from_bytes(line).ok());
    values.map(|value| (axum::http::HeaderName::from_static(name), value)).collect()
}

fn client(header: ForwardedHeader, lines: &[Vec<u8>]) -> IpAddr {
    let proxies = TrustedProxies::new(TRUSTED, header).unwrap();
    proxies.client_address("10.0.0.1".parse().ok(), &headers(name(header), lines)).unwrap()
}

fn either() -> impl Strategy<Value = ForwardedHeader> {
    prop_oneof![Just(ForwardedHeader::XForwardedFor), Just(ForwardedHeader::Forwarded)]
}

/// Bytes that mean something to the parsers, and any others.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        4 => prop::sample::select(vec![
            "for=", "For=", "by=", ";", ",", ", ", "\"", "\\", "\\\"", "=", "[", "]", ":", "_x",
            "unknown", "10.0.0.2", "203.0.113.9", "::ffff:203.0.113.9", "2001:db8::1", "fd00::1",
            ":80", " ", "\t", "__Host-session", "__Host-session=", "a=b",
        ])
        .prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ];
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

/// An element as a proxy appends it for an address.
fn element(header: ForwardedHeader, ip: IpAddr) -> String {
    match (header, ip) {
        (ForwardedHeader::XForwardedFor, ip) => ip.to_string(),
        (ForwardedHeader::Forwarded, IpAddr::V4(ip)) => format!("for={ip};host=\"a,\\\"b\""),
        (ForwardedHeader::Forwarded, IpAddr::V6(ip)) => format!("proto=http;for=\"[{ip}]:443\""),
    }
}

/// Whether an address stands in a text, in any of its spellings: `2001:db8::110.0.0.2` is one.
fn stands_in(text: &str, ip: IpAddr) -> bool {
    let text = text.as_bytes();
    (0..text.len()).any(|from| {
        (from + 1..=text.len().min(from + 45)).any(|to| {
            let piece = std::str::from_utf8(&text[from..to]).unwrap_or_default();
            piece.parse::<IpAddr>().is_ok_and(|found| found.to_canonical() == ip)
        })
    })
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_bytes_name_a_proxy_or_an_address_that_stands_there(
        header in either(),
        lines in prop::collection::vec(soup(), 0..4),
    ) {
        let found = client(header, &lines);
        let text = lines.concat();
        let text = String::from_utf8_lossy(&text).replace('\\', "");
        prop_assert!(
            found == IpAddr::from([10, 0, 0, 1]) || stands_in(&text, found),
            "{found} in {text}"
        );
    }

    /// The heart of it: no byte that a client sends changes who the proxy says it is.
    #[test]
    fn what_a_client_writes_changes_nothing_behind_it(
        header in either(),
        lies in prop::collection::vec(soup(), 0..4),
        ip in any::<IpAddr>(),
        same_line in any::<bool>(),
        hops in 0..4u8,
    ) {
        let ip = ip.to_canonical();
        let outside = match ip {
            IpAddr::V4(ip) => ip.octets()[0] != 10,
            IpAddr::V6(ip) => ip.octets()[0] != 0xfd,
        };
        prop_assume!(outside);
        let mut own = element(header, ip);
        for hop in 0..hops {
            own = format!("{own}, {}", element(header, IpAddr::from([10, 0, 1, hop])));
        }
        let mut lines: Vec<_> =
            lies.into_iter().filter(|lie| HeaderValue::from_bytes(lie).is_ok()).collect();
        match lines.last_mut() {
            Some(last) if same_line => last.extend(format!(", {own}").into_bytes()),
            _ => lines.push(own.into_bytes()),
        }
        prop_assert_eq!(client(header, &lines), ip);
    }

    #[test]
    fn any_cookies_give_one_value_of_the_name_or_none(
        lines in prop::collection::vec(soup(), 0..4),
    ) {
        let cookie = SessionCookie::new(CookieSettings::default()).unwrap();
        let headers = headers("cookie", &lines);
        let token = cookie.token(&headers);
        let is_ours = |part: &&[u8]| {
            let text = String::from_utf8_lossy(part).into_owned();
            let name = text.split_once('=').map(|(name, _)| name.trim_matches([' ', '\t']).to_owned());
            name.as_deref() == Some("__Host-session")
        };
        let count: usize = headers
            .get_all(COOKIE)
            .iter()
            .map(|line| line.as_bytes().split(|&byte| byte == b';').filter(is_ours).count())
            .sum();
        prop_assert!(token.is_none() || count == 1, "{count}");
        if let Some(token) = token {
            prop_assert!(!token.contains(';'));
        }
    }
}

/// The time of `work` on a header of `size`, the best of some.
fn time(size: usize, pattern: &[u8], work: &impl Fn(&[Vec<u8>])) -> Duration {
    let line = pattern.repeat(size / pattern.len());
    let lines = [line];
    (0..3)
        .map(|_| {
            let started = Instant::now();
            work(&lines);
            started.elapsed()
        })
        .min()
        .unwrap()
}

#[test]
fn the_work_grows_no_faster_than_the_header() {
    let cookie = SessionCookie::new(CookieSettings::default()).unwrap();
    let read_cookie = |lines: &[Vec<u8>]| {
        let _ = cookie.token(&headers("cookie", lines));
    };
    let x = |lines: &[Vec<u8>]| {
        client(ForwardedHeader::XForwardedFor, lines);
    };
    let rfc = |lines: &[Vec<u8>]| {
        client(ForwardedHeader::Forwarded, lines);
    };
    let patterns: [&[u8]; 9] =
        [b"\\\"", b"\"", b"\\", b",", b";", b"=", b"10.0.0.2,", b"for=10.0.0.2,", b"a=b;"];
    for pattern in patterns {
        // 32 times the header: linear work takes 32 times as long, quadratic 1024 times.
        for work in [&x as &dyn Fn(&[Vec<u8>]), &rfc, &read_cookie] {
            let (small, large) = (8 * 1024, 256 * 1024);
            let floor = Duration::from_micros(20);
            let small = time(small, pattern, &work).max(floor);
            let large = time(large, pattern, &work);
            assert!(large < small * 320, "{small:?} and {large:?} for {pattern:?}");
        }
    }
}
