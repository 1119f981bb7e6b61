//! Attacks on what a client is known by: its address and its user agent. Each under its number.

#![expect(clippy::unwrap_used, reason = "tests state what they expect")]
#![cfg(feature = "axum")]

mod browser;

use std::net::IpAddr;

use axum::Router;
use axum::http::header::SET_COOKIE;
use axum::routing::{get, post};
use watchdog_core::KeyRing;
use watchdog_session::web::{
    CookieSettings, CurrentSession, OptionalSession, Rejection, RequestClient, WebSessions,
};
use watchdog_session::{
    AgentBinding, ForwardedHeader, IpBinding, SessionConfig, Sessions, Subject,
};

use browser::Browser;

async fn me(CurrentSession(session): CurrentSession) -> String {
    session.user().to_owned()
}

async fn login(visitor: OptionalSession) -> Result<(), Rejection> {
    visitor.login(Subject::user("alice")).await?;
    Ok(())
}

async fn ip(RequestClient(client): RequestClient) -> String {
    client.ip.map(|ip: IpAddr| ip.to_string()).unwrap_or_default()
}

struct Service {
    app: Router,
}

fn service(config: SessionConfig) -> Service {
    let keys = KeyRing::ephemeral().unwrap();
    let sessions = Sessions::builder(&keys).config(config).build().unwrap();
    let web = WebSessions::new(sessions, CookieSettings::default()).unwrap();
    let routes = Router::new()
        .route("/me", get(me))
        .route("/login/alice", post(login))
        .route("/ip", get(ip));
    Service { app: routes.layer(web.layer()) }
}

fn proxied(proxies: &[&str], header: ForwardedHeader) -> Service {
    service(SessionConfig {
        trusted_proxies: proxies.iter().map(|&proxy| proxy.to_owned()).collect(),
        forwarded_header: header,
        ..SessionConfig::default()
    })
}

#[tokio::test]
async fn t39_forwarded_addresses_of_a_peer_that_is_not_trusted_are_ignored() {
    let lies = [
        ("x-forwarded-for", "203.0.113.9"),
        ("forwarded", "for=203.0.113.9"),
        ("x-real-ip", "203.0.113.9"),
        ("cf-connecting-ip", "203.0.113.9"),
    ];
    for proxies in [&[][..], &["10.0.0.0/8"]] {
        for header in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded] {
            let service = proxied(proxies, header);
            for peer in ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"] {
                let mut browser = Browser::new(&service.app).at(peer);
                let plain = browser.get("/ip").await.body;
                assert_eq!(browser.send("GET", "/ip", &lies).await.body, plain, "{peer}");
            }
            // Nobody knows who the peer is: then nobody vouches for the headers either.
            let unknown = Browser::new(&service.app).send("GET", "/ip", &lies).await;
            assert_eq!(unknown.body, "");
        }
    }
}

#[tokio::test]
async fn t40_the_rightmost_address_that_is_not_trusted_is_the_client() {
    let hops = |count: u8| (1..=count).map(|hop| format!("10.0.1.{hop}")).collect::<Vec<_>>();
    let x = proxied(&["10.0.0.0/8", "fd00::/8"], ForwardedHeader::XForwardedFor);
    let rfc = proxied(&["10.0.0.0/8", "fd00::/8"], ForwardedHeader::Forwarded);
    for count in [0, 1, 2, 33] {
        let hops = hops(count);
        let mut list = vec!["203.0.113.9".to_owned(), "198.51.100.7".to_owned()];
        list.extend(hops.clone());
        let pairs: Vec<_> = list.iter().map(|ip| format!("for={ip}")).collect();
        let (list, pairs) = (list.join(", "), pairs.join(", "));
        for (service, name, value) in [(&x, "x-forwarded-for", list), (&rfc, "forwarded", pairs)] {
            let mut browser = Browser::new(&service.app).at("10.0.0.1");
            let answer = browser.send("GET", "/ip", &[(name, &value)]).await;
            assert_eq!(answer.body, "198.51.100.7", "{name}: {value}");
            // The same, with the header that is not configured in the way.
            let other = if name == "forwarded" { "x-forwarded-for" } else { "forwarded" };
            let both = [(other, "for=203.0.113.66"), (name, &value), (other, "203.0.113.66")];
            assert_eq!(browser.send("GET", "/ip", &both).await.body, "198.51.100.7");
        }
    }
    let cases: [(&[&str], &str); 10] = [
        (&[""], "10.0.0.1"),
        (&["203.0.113.9, "], "10.0.0.1"),
        (&["203.0.113.9, unknown"], "10.0.0.1"),
        (&["203.0.113.9, _hidden, 10.0.1.1"], "10.0.1.1"),
        (&["203.0.113.9, 198.51.100.7:4711"], "198.51.100.7"),
        (&["203.0.113.9, [2001:db8::7]:4711"], "2001:db8::7"),
        (&["203.0.113.9, 2001:db8::7"], "2001:db8::7"),
        (&["203.0.113.9", "198.51.100.7", "10.0.1.1"], "198.51.100.7"),
        (&["198.51.100.7", "10.0.1.1", "203.0.113.9"], "203.0.113.9"),
        (&["unknown, 198.51.100.7, fd00::1"], "198.51.100.7"),
    ];
    for (lines, wanted) in cases {
        let mut browser = Browser::new(&x.app).at("10.0.0.1");
        let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
        assert_eq!(browser.send("GET", "/ip", &lines).await.body, wanted, "{lines:?}");
    }
    let mut browser = Browser::new(&rfc.app).at("10.0.0.1");
    for (line, wanted) in [
        ("for=203.0.113.9, FOR=\"[2001:db8::7]:4711\";proto=https;by=10.0.0.1", "2001:db8::7"),
        ("for=203.0.113.9, for=unknown", "10.0.0.1"),
        ("for=203.0.113.9, for=\"_SEVKISEK\"", "10.0.0.1"),
        ("for=203.0.113.9;x=\", for=198.51.100.7", "198.51.100.7"),
    ] {
        let answer = browser.send("GET", "/ip", &[("forwarded", line)]).await;
        assert_eq!(answer.body, wanted, "{line}");
    }
}

/// Logs in from one address, and tells which others the session is good from.
async fn good_from(binding: IpBinding, home: &str, others: &[&str]) -> Vec<bool> {
    let service = service(SessionConfig { ip_binding: Some(binding), ..SessionConfig::default() });
    let mut browser = Browser::new(&service.app).at(home);
    browser.post("/login/alice").await;
    let mut good = Vec::new();
    for other in others {
        let answer = browser.clone().at(other).get("/me").await;
        good.push(answer.status == 200);
        assert_eq!(answer.header(SET_COOKIE), None, "the session may be well");
    }
    good
}

#[tokio::test]
async fn t41_an_address_counts_whole_by_its_network_or_not_at_all() {
    let v4 = ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.254", "192.0.3.1", "2001:db8::1"];
    assert_eq!(good_from(IpBinding::Off, "192.0.2.1", &v4).await, [true; 5]);
    let exact = [true, true, false, false, false];
    assert_eq!(good_from(IpBinding::Exact, "192.0.2.1", &v4).await, exact);
    assert_eq!(good_from(IpBinding::Exact, "::ffff:192.0.2.1", &v4).await, exact);
    let prefix = [true, true, true, false, false];
    assert_eq!(good_from(IpBinding::Prefix, "192.0.2.1", &v4).await, prefix);
    let v6 = ["2001:db8::1", "2001:db8::ffff:0:0:2", "2001:db8:0:1::1", "192.0.2.1"];
    let exact = [true, false, false, false];
    assert_eq!(good_from(IpBinding::Exact, "2001:db8::1", &v6).await, exact);
    // The network of one subscriber is a /64; an address of the other family is in no network of
    // this one, and what cannot be compared does not fit.
    let prefix = [true, true, false, false];
    assert_eq!(good_from(IpBinding::Prefix, "2001:db8::1", &v6).await, prefix);
}

#[tokio::test]
async fn t42_a_version_bump_does_not_trip_and_another_family_or_none_does() {
    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0";
    const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, \
                          like Gecko) Chrome/140.0.0.0 Safari/537.36";
    let bumped = FIREFOX.replace("142.0", "151.0.1");
    let edge = format!("{CHROME} Edg/140.0.0.0");
    let agents = [Some(FIREFOX), Some(&*bumped), Some(CHROME), Some(&edge), Some(""), None];
    let good_by = async |binding: AgentBinding, home: Option<&str>| {
        let config = SessionConfig { agent_binding: Some(binding), ..SessionConfig::default() };
        let service = service(config);
        let mut browser = Browser::new(&service.app);
        browser.agent = home.map(str::to_owned);
        browser.post("/login/alice").await;
        let mut good = Vec::new();
        for agent in agents {
            browser.agent = agent.map(str::to_owned);
            good.push(browser.get("/me").await.is(200, "alice"));
        }
        good
    };
    assert_eq!(good_by(AgentBinding::Off, Some(FIREFOX)).await, [true; 6]);
    let family = [true, true, false, false, false, false];
    assert_eq!(good_by(AgentBinding::Family, Some(FIREFOX)).await, family);
    let exact = [true, false, false, false, false, false];
    assert_eq!(good_by(AgentBinding::Exact, Some(FIREFOX)).await, exact);
    let chrome = [false, false, true, false, false, false];
    assert_eq!(good_by(AgentBinding::Family, Some(CHROME)).await, chrome);
    let absent = [false, false, false, false, false, true];
    assert_eq!(good_by(AgentBinding::Family, None).await, absent, "none is a family of its own");
    assert_eq!(good_by(AgentBinding::Exact, None).await, absent);
    let empty = [false, false, false, false, true, false];
    assert_eq!(good_by(AgentBinding::Exact, Some("")).await, empty);
}
