//! What of a client a session is bound to.

use std::net::IpAddr;

use watchdog_core::audit::Client;

use crate::config::{AgentBinding, IpBinding};

/// Longest user agent looked at or kept, in bytes; the rest is cut off.
pub(crate) const MAX_USER_AGENT: usize = 512;

/// Browser families by the mark they leave in a user agent. Order decides: nearly all claim to be
/// Safari, and everything built on Chromium claims to be Chrome.
const FAMILIES: [(&str, &str); 9] = [
    ("Edg", "edge"),
    ("OPR/", "opera"),
    ("SamsungBrowser/", "samsung"),
    ("Firefox/", "firefox"),
    ("FxiOS/", "firefox"),
    ("CriOS/", "chrome"),
    ("Chrome/", "chrome"),
    ("Chromium/", "chrome"),
    ("Safari/", "safari"),
];

/// Operating systems by their mark: Android claims to be Linux, and iOS to be like Mac OS X.
const SYSTEMS: [(&str, &str); 8] = [
    ("Android", "android"),
    ("iPhone", "ios"),
    ("iPad", "ios"),
    ("Windows", "windows"),
    ("CrOS", "chromeos"),
    ("Mac OS X", "macos"),
    ("Macintosh", "macos"),
    ("Linux", "linux"),
];

/// The family and system of a user agent, without versions: an update of the browser changes
/// nothing, another browser does. What is not a browser counts by its first product name.
pub(crate) fn agent_family(user_agent: &str) -> String {
    let text = cut(user_agent);
    let (family, system) = marked(text);
    let mut key = String::with_capacity(32);
    match family {
        Some(family) => key.push_str(family),
        None => {
            key.push_str(&product(text).to_ascii_lowercase());
        }
    }
    key.push_str(" on ");
    key.push_str(system.unwrap_or("other"));
    key
}

/// The names of the first family and of the first system whose marks are in the text, in one pass.
fn marked(text: &str) -> (Option<&'static str>, Option<&'static str>) {
    let bytes = text.as_bytes();
    let (mut family, mut system) = (FAMILIES.len(), SYSTEMS.len());
    for (position, byte) in bytes.iter().enumerate() {
        // All marks begin with one of these.
        if !matches!(byte, b'A' | b'C' | b'E' | b'F' | b'L' | b'M' | b'O' | b'S' | b'W' | b'i') {
            continue;
        }
        let rest = &bytes[position..];
        let first = |marks: &[(&str, &str)], before: usize| {
            let mut sooner = marks[..before].iter();
            sooner.position(|(mark, _)| rest.starts_with(mark.as_bytes())).unwrap_or(before)
        };
        family = first(&FAMILIES, family);
        system = first(&SYSTEMS, system);
    }
    let name = |found: Option<&(&'static str, &'static str)>| found.map(|(_, name)| *name);
    (name(FAMILIES.get(family)), name(SYSTEMS.get(system)))
}

/// The first product of a user agent, without the version that may be part of its name, as in
/// `app-1.2`.
fn product(text: &str) -> &str {
    let name = text.split(['/', ' ', '(']).next().unwrap_or_default();
    let is_version = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_digit())
            && text.chars().all(|char| char.is_ascii_digit() || char == '.')
    };
    match name.rsplit_once(['-', '_']) {
        Some((product, version)) if !product.is_empty() && is_version(version) => product,
        _ => name,
    }
}

/// The user agent, cut to what is kept of it.
pub(crate) fn cut(user_agent: &str) -> &str {
    &user_agent[..user_agent.floor_char_boundary(MAX_USER_AGENT)]
}

/// The client with as much of its user agent as is kept: an entry with more of it may be too large
/// for the audit log, and then anybody could keep out what is told about them.
pub(crate) fn bounded(client: &Client) -> Client {
    let user_agent = client.user_agent.as_deref().map(|agent| cut(agent).to_owned());
    Client::new(client.ip, user_agent)
}

/// The agent as it is compared; a client without one is a family of its own.
pub(crate) fn agent_key(client: &Client) -> String {
    client.user_agent.as_deref().map(agent_family).unwrap_or_default()
}

/// The address as it is compared: an IPv4 address mapped into IPv6 is that IPv4 address.
pub(crate) fn ip_key(client: &Client) -> Option<IpAddr> {
    client.ip.map(|ip| ip.to_canonical())
}

/// The network of an address: /24 of IPv4, /64 of IPv6, which is what one subscriber gets.
pub(crate) fn network(ip: IpAddr) -> Vec<u8> {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.octets()[..3].to_vec(),
        IpAddr::V6(ip) => ip.octets()[..8].to_vec(),
    }
}

/// What a grace period is bound to: family, system and network.
pub(crate) fn grace_key(client: &Client, agent_key: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(agent_key.len() + 9);
    key.extend_from_slice(agent_key.as_bytes());
    key.push(0);
    key.extend(client.ip.map(network).unwrap_or_default());
    key
}

/// The family of the client's address: 4, 6, or 0 when there is none.
pub(crate) fn family(client: &Client) -> u8 {
    match ip_key(client) {
        Some(IpAddr::V4(_)) => 4,
        Some(IpAddr::V6(_)) => 6,
        None => 0,
    }
}

/// How much of its client a session is bound to. What cannot be compared does not fit: an address
/// of the other family, or none where there was one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) ip: IpBinding,
    pub(crate) agent: AgentBinding,
}

/// What of a client is not as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    pub(crate) ip: bool,
    pub(crate) agent: bool,
}

impl Mismatch {
    /// The parts by name, for events.
    pub(crate) fn parts(self) -> &'static str {
        match (self.ip, self.agent) {
            (true, true) => "ip agent",
            (true, false) => "ip",
            (false, _) => "agent",
        }
    }
}

impl Binding {
    /// Whether a session issued to `issued_to` fits `client`; if not, in what.
    pub(crate) fn judge(self, issued_to: &Client, client: &Client) -> Option<Mismatch> {
        let mismatch = Mismatch {
            ip: self.bound_ip(issued_to) != self.bound_ip(client),
            // Equal agents are equal under every policy, and families take their time.
            agent: issued_to.user_agent != client.user_agent
                && self.bound_agent(issued_to) != self.bound_agent(client),
        };
        (mismatch.ip || mismatch.agent).then_some(mismatch)
    }

    fn bound_ip(self, client: &Client) -> Option<Vec<u8>> {
        match self.ip {
            IpBinding::Off => None,
            IpBinding::Prefix => client.ip.map(network),
            IpBinding::Exact => ip_key(client).map(|ip| ip.to_string().into_bytes()),
        }
    }

    fn bound_agent(self, client: &Client) -> Option<String> {
        match self.agent {
            AgentBinding::Off => None,
            AgentBinding::Family => Some(agent_key(client)),
            AgentBinding::Exact => exact_agent(client).map(str::to_owned),
        }
    }
}

/// The whole user agent, as far as it is kept. None is not the same as an empty one.
pub(crate) fn exact_agent(client: &Client) -> Option<&str> {
    client.user_agent.as_deref().map(cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0";
    const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, \
                          like Gecko) Chrome/140.0.0.0 Safari/537.36";
    const SAFARI: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 \
                          (KHTML, like Gecko) Version/18.6 Safari/605.1.15";
    const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) \
                          AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/140.0 Mobile/15E148 Safari/604.1";

    fn client(ip: &str, agent: &str) -> Client {
        Client::new(ip.parse().ok(), (!agent.is_empty()).then(|| agent.to_owned()))
    }

    #[test]
    fn families_are_told_apart() {
        assert_eq!(agent_family(FIREFOX), "firefox on linux");
        assert_eq!(agent_family(CHROME), "chrome on windows");
        assert_eq!(agent_family(&format!("{CHROME} Edg/140.0.0.0")), "edge on windows");
        assert_eq!(agent_family(SAFARI), "safari on macos");
        assert_eq!(agent_family(IPHONE), "chrome on ios");
        assert_eq!(agent_family("curl/8.5.0"), "curl on other");
        assert_eq!(agent_family(""), " on other");
    }

    #[test]
    fn a_version_in_the_name_of_a_product_does_not_count() {
        for agent in ["app-1.2", "app-1.3.1", "App_2", "app 1.2", "app/1.2", "app-1.2/7", "app"] {
            assert_eq!(agent_family(agent), "app on other", "{agent}");
        }
        for (agent, name) in [
            ("app-x-1.2", "app-x"),
            ("app-1.2-beta", "app-1.2-beta"),
            ("go-http-client/2.0", "go-http-client"),
            ("app-", "app-"),
            ("app-.5", "app-.5"),
            ("-1.2", "-1.2"),
            ("1.2", "1.2"),
        ] {
            assert_eq!(agent_family(agent), format!("{name} on other"), "{agent}");
        }
    }

    #[test]
    fn an_empty_agent_and_none_are_two() {
        let (empty, none) = (Client::new(None, Some(String::new())), Client::new(None, None));
        for agent in [AgentBinding::Family, AgentBinding::Exact] {
            let binding = Binding { agent, ..UNBOUND };
            assert_eq!(binding.judge(&empty, &none), AGENT);
            assert_eq!(binding.judge(&none, &empty), AGENT);
            assert_eq!(binding.judge(&empty, &empty), None);
            assert_eq!(binding.judge(&none, &none), None);
        }
        assert_eq!(UNBOUND.judge(&empty, &none), None);
    }

    #[test]
    fn one_pass_finds_what_a_search_for_each_mark_finds() {
        let agents =
            [FIREFOX, CHROME, SAFARI, IPHONE, "curl/8.5.0", "", "Edg", "xEdgx", "é Linux é"];
        let marks = FAMILIES.iter().chain(&SYSTEMS).map(|(mark, _)| *mark);
        let mut texts: Vec<String> = agents.map(str::to_owned).to_vec();
        for one in marks.clone() {
            for other in marks.clone() {
                texts.push(format!("a {one}1 ({other}; b)"));
            }
            texts.push(one[..one.len() - 1].to_owned());
        }
        let found = |marks: &[(&str, &'static str)], text: &str| {
            marks.iter().find(|(mark, _)| text.contains(mark)).map(|(_, name)| *name)
        };
        for text in texts {
            assert_eq!(marked(&text), (found(&FAMILIES, &text), found(&SYSTEMS, &text)), "{text}");
        }
    }

    const UNBOUND: Binding = Binding { ip: IpBinding::Off, agent: AgentBinding::Off };
    const IP: Option<Mismatch> = Some(Mismatch { ip: true, agent: false });
    const AGENT: Option<Mismatch> = Some(Mismatch { ip: false, agent: true });

    #[test]
    fn a_version_bump_does_not_count_and_another_browser_does() {
        let bumped = FIREFOX.replace("142.0", "143.0");
        assert_eq!(agent_family(FIREFOX), agent_family(&bumped));
        let binding = Binding { agent: AgentBinding::Family, ..UNBOUND };
        let issued_to = client("192.0.2.1", FIREFOX);
        assert_eq!(binding.judge(&issued_to, &client("198.51.100.9", &bumped)), None);
        assert_eq!(binding.judge(&issued_to, &client("192.0.2.1", CHROME)), AGENT);
        assert_eq!(binding.judge(&issued_to, &client("192.0.2.1", "")), AGENT);
        let exact = Binding { agent: AgentBinding::Exact, ..UNBOUND };
        assert_eq!(exact.judge(&issued_to, &client("198.51.100.9", FIREFOX)), None);
        assert_eq!(exact.judge(&issued_to, &client("192.0.2.1", &bumped)), AGENT);
    }

    #[test]
    fn a_mapped_address_equals_the_address() {
        let binding = Binding { ip: IpBinding::Exact, ..UNBOUND };
        let issued_to = client("192.0.2.1", "");
        assert_eq!(binding.judge(&issued_to, &client("::ffff:192.0.2.1", "x")), None);
        assert_eq!(binding.judge(&issued_to, &client("192.0.2.2", "")), IP);
        assert_eq!(binding.judge(&issued_to, &client("", "")), IP);
        assert_eq!(UNBOUND.judge(&issued_to, &client("::1", "x")), None);
    }

    #[test]
    fn a_prefix_is_24_bits_of_ipv4_and_64_of_ipv6() {
        let binding = Binding { ip: IpBinding::Prefix, ..UNBOUND };
        let judge = |a, b| binding.judge(&client(a, ""), &client(b, ""));
        assert_eq!(judge("192.0.2.1", "192.0.2.255"), None);
        assert_eq!(judge("192.0.2.1", "192.0.3.1"), IP);
        assert_eq!(judge("2001:db8::1", "2001:db8::ffff:0:0:1"), None);
        assert_eq!(judge("2001:db8::1", "2001:db8:0:1::1"), IP);
        assert_eq!(judge("192.0.2.1", "2001:db8::1"), IP);
        assert_eq!(judge("192.0.2.1", ""), IP);
    }

    #[test]
    fn both_parts_are_named() {
        let binding = Binding { ip: IpBinding::Exact, agent: AgentBinding::Family };
        let parts = |ip, agent| {
            let judged = binding.judge(&client("192.0.2.1", FIREFOX), &client(ip, agent));
            judged.map(Mismatch::parts)
        };
        assert_eq!(parts("192.0.2.1", FIREFOX), None);
        assert_eq!(parts("192.0.2.2", FIREFOX), Some("ip"));
        assert_eq!(parts("192.0.2.1", CHROME), Some("agent"));
        assert_eq!(parts("192.0.2.2", CHROME), Some("ip agent"));
    }

    #[test]
    fn a_mapped_address_is_of_family_four() {
        let families = ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", ""];
        assert_eq!(families.map(|ip| family(&client(ip, ""))), [4, 4, 6, 0]);
    }

    #[test]
    fn grace_is_bound_to_the_network_and_the_family() {
        let key = |ip, agent| {
            let client = client(ip, agent);
            grace_key(&client, &agent_key(&client))
        };
        assert_eq!(key("192.0.2.1", FIREFOX), key("::ffff:192.0.2.77", FIREFOX));
        assert_ne!(key("192.0.2.1", FIREFOX), key("192.0.3.1", FIREFOX));
        assert_ne!(key("192.0.2.1", FIREFOX), key("192.0.2.1", CHROME));
        assert_eq!(key("2001:db8::1", ""), key("2001:db8::ffff:2", ""));
        assert_ne!(key("2001:db8::1", ""), key("2001:db8:0:1::1", ""));
    }

    #[test]
    fn a_long_agent_is_cut_at_a_character() {
        let long = "é".repeat(1000);
        assert_eq!(cut(&long).len(), MAX_USER_AGENT);
        assert_eq!(cut(&format!("x{long}")).len(), MAX_USER_AGENT - 1);
    }
}
