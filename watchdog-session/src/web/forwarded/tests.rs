use super::*;

fn client(header: ForwardedHeader, peer: &str, lines: &[(&'static str, &[u8])]) -> Option<IpAddr> {
    let networks = ["10.0.0.0/8", "fd00::/8"];
    let proxies = TrustedProxies::new(networks, header).unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_bytes(value).unwrap());
    }
    proxies.client_address(peer.parse().ok(), &headers)
}

fn through(header: ForwardedHeader, lines: &[&str]) -> String {
    let name = match header {
        ForwardedHeader::XForwardedFor => "x-forwarded-for",
        ForwardedHeader::Forwarded => "forwarded",
    };
    let lines: Vec<_> = lines.iter().map(|line| (name, line.as_bytes())).collect();
    client(header, "10.0.0.1", &lines).unwrap().to_string()
}

fn x_forwarded_for(lines: &[&str]) -> String {
    through(ForwardedHeader::XForwardedFor, lines)
}

fn forwarded(lines: &[&str]) -> String {
    through(ForwardedHeader::Forwarded, lines)
}

#[test]
fn the_first_address_from_the_right_that_is_not_trusted_is_the_client() {
    for (lines, wanted) in [
        (&[][..], "10.0.0.1"),
        (&["198.51.100.7"], "198.51.100.7"),
        (&["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
        (&["203.0.113.9, 198.51.100.7, 10.1.2.3"], "198.51.100.7"),
        (&["203.0.113.9", "198.51.100.7", "10.1.2.3"], "198.51.100.7"),
        (&["203.0.113.9,198.51.100.7", "fd00::7,10.1.2.3"], "198.51.100.7"),
        (&["10.9.9.9, 10.1.2.3"], "10.9.9.9"),
        (&["::ffff:198.51.100.7, ::ffff:10.1.2.3"], "198.51.100.7"),
        (&["2001:db8::7\t, 10.1.2.3 "], "2001:db8::7"),
        (&["[2001:db8::7]"], "2001:db8::7"),
        (&["[2001:db8::7]:443"], "2001:db8::7"),
        (&["198.51.100.7:65535"], "198.51.100.7"),
        (&["198.51.100.7:_hidden"], "198.51.100.7"),
    ] {
        assert_eq!(x_forwarded_for(lines), wanted, "{lines:?}");
    }
}

#[test]
fn what_is_no_address_ends_the_walk_at_what_is_certain() {
    for element in [
        "",
        " ",
        "unknown",
        "_hidden",
        "proxy.example",
        "198.51.100",
        "198.51.100.07",
        "198.51.100.7:",
        "198.51.100.7:x",
        "198.51.100.7:123456",
        "198.51.100.7:_",
        "[2001:db8::7",
        "[2001:db8::7]x",
        "[2001:db8::7]:",
        "[198.51.100.7]",
        "[]",
        "fe80::1%eth0",
        "\"198.51.100.7\"",
        "198.51.100.7 198.51.100.8",
        "for=198.51.100.7",
    ] {
        assert_eq!(x_forwarded_for(&[&format!("203.0.113.9, {element}")]), "10.0.0.1", "{element}");
        let behind = format!("203.0.113.9, {element}, 10.1.2.3");
        assert_eq!(x_forwarded_for(&[&behind]), "10.1.2.3", "{element}");
        // To the left of the client it is the client's business.
        assert_eq!(x_forwarded_for(&[&format!("{element}, 198.51.100.7")]), "198.51.100.7");
    }
    let lines: [(&str, &[u8]); 1] = [("x-forwarded-for", b"203.0.113.9, \xff\xfe")];
    let certain = client(ForwardedHeader::XForwardedFor, "10.0.0.1", &lines);
    assert_eq!(certain.unwrap().to_string(), "10.0.0.1");
}

#[test]
fn forwarded_is_read_as_rfc_7239_writes_it() {
    for (lines, wanted) in [
        (&["for=198.51.100.7"][..], "198.51.100.7"),
        (&["FOR=198.51.100.7;proto=https"], "198.51.100.7"),
        (&["proto=https;For=\"198.51.100.7:4711\";by=10.0.0.1"], "198.51.100.7"),
        (&["for=\"[2001:db8::7]:4711\""], "2001:db8::7"),
        (&["for=\"[2001:db8::7]\", for=10.1.2.3"], "2001:db8::7"),
        (&["for=[2001:db8::7]:80"], "2001:db8::7"),
        (&["for=203.0.113.9, for=198.51.100.7, for=10.1.2.3"], "198.51.100.7"),
        (&["for=203.0.113.9", "for=198.51.100.7", "for=10.1.2.3"], "198.51.100.7"),
        (&["for=198.51.100.7;host=\"a,b;for=203.0.113.9\""], "198.51.100.7"),
        (&["for=\"198.51\\.100.7\""], "198.51.100.7"),
        (&["; for=198.51.100.7 ;; secret=\"a\\\"b,\\\\\";"], "198.51.100.7"),
    ] {
        assert_eq!(forwarded(lines), wanted, "{lines:?}");
    }
}

#[test]
fn an_element_of_forwarded_without_one_address_ends_the_walk() {
    for element in [
        "",
        ";",
        "proto=https",
        "for",
        "for=",
        "=198.51.100.7",
        "for=unknown",
        "for=_hidden",
        "for=198.51.100.7;for=198.51.100.7",
        "for=\"198.51.100.7",
        "for=\"198.51.100.7\"x",
        "for=\"unknown\"",
        "f r=198.51.100.7",
        "for=198.51.100.7 by=x",
        "for=\"\\",
        "198.51.100.7",
        "for=198.51.100.7;\"",
        "for=2001:db8::zz",
    ] {
        assert_eq!(forwarded(&["for=203.0.113.9", element]), "10.0.0.1", "{element}");
    }
}

/// A client that leaves a quote open cannot swallow what the proxy appends.
#[test]
fn an_open_quote_of_a_client_hides_and_fakes_nothing() {
    for prefix in ["for=\"", "for=203.0.113.9;x=\"", "\"", "x=\"\\", "for=203.0.113.9, \"a\", \""] {
        for own in ["for=198.51.100.7", "for=\"198.51.100.7:80\";host=\"a,\\\"b\""] {
            assert_eq!(forwarded(&[&format!("{prefix}, {own}")]), "198.51.100.7", "{prefix}");
            assert_eq!(forwarded(&[prefix, own]), "198.51.100.7", "{prefix}");
        }
    }
}

#[test]
fn only_the_configured_header_of_a_trusted_peer_is_read() {
    let both: [(&str, &[u8]); 2] =
        [("x-forwarded-for", b"198.51.100.7"), ("forwarded", b"for=198.51.100.8")];
    let ask = |header, peer| client(header, peer, &both).map(|ip| ip.to_string());
    let (x, rfc) = (ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded);
    assert_eq!(ask(x, "10.0.0.1").as_deref(), Some("198.51.100.7"));
    assert_eq!(ask(rfc, "::ffff:10.0.0.1").as_deref(), Some("198.51.100.8"));
    assert_eq!(ask(x, "192.0.2.1").as_deref(), Some("192.0.2.1"));
    assert_eq!(ask(x, "::ffff:192.0.2.1").as_deref(), Some("192.0.2.1"));
    assert_eq!(ask(x, ""), None);
    assert_eq!(client(rfc, "10.0.0.1", &both[..1]).unwrap().to_string(), "10.0.0.1");
}

#[test]
fn the_walk_is_bounded() {
    let hops = |count: usize| {
        let hops: Vec<_> = (0..count).map(|hop| format!("10.1.0.{hop}")).collect();
        x_forwarded_for(&[&format!("198.51.100.7, {}", hops.join(", "))])
    };
    assert_eq!(hops(33), "198.51.100.7");
    assert_eq!(hops(63), "198.51.100.7");
    // 64 elements are passed, and the client is the 65th.
    assert_eq!(hops(64), "10.1.0.0");
    assert_eq!(hops(200), "10.1.0.136");
    let padded =
        |bytes: usize| x_forwarded_for(&[&format!("198.51.100.7, {}10.1.2.3", " ".repeat(bytes))]);
    assert_eq!(padded(8000), "198.51.100.7");
    assert_eq!(padded(9000), "10.0.0.1");
    // The line is cut within the client's own address.
    assert_eq!(
        x_forwarded_for(&[&format!("198.51.100.7,{}10.1.2.3", " ".repeat(8180))]),
        "10.1.2.3"
    );
    assert_eq!(forwarded(&[&"\\\"".repeat(50_000)]), "10.0.0.1");
}
