//! What of a client a session is bound to.

use std::net::IpAddr;

use watchdog_core::audit::Client;

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
    let found = |marks: &[(&str, &'static str)]| {
        marks.iter().find(|(mark, _)| text.contains(mark)).map(|(_, name)| *name)
    };
    let family = match found(&FAMILIES) {
        Some(family) => family.to_owned(),
        None => text.split(['/', ' ', '(']).next().map(str::to_ascii_lowercase).unwrap_or_default(),
    };
    format!("{family} on {}", found(&SYSTEMS).unwrap_or("other"))
}

/// The user agent, cut to what is kept of it.
pub(crate) fn cut(user_agent: &str) -> &str {
    &user_agent[..user_agent.floor_char_boundary(MAX_USER_AGENT)]
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
pub(crate) fn grace_key(client: &Client) -> Vec<u8> {
    let mut key = agent_key(client).into_bytes();
    key.push(0);
    key.extend(client.ip.map(network).unwrap_or_default());
    key
}

/// Which parts of a client a session is refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) same_ip: bool,
    pub(crate) same_agent: bool,
}

impl Binding {
    /// Whether a session issued to `issued_to` may be used by `client`.
    pub(crate) fn allows(self, issued_to: &Client, client: &Client) -> bool {
        (!self.same_ip || ip_key(issued_to) == ip_key(client))
            && (!self.same_agent
                || issued_to.user_agent == client.user_agent
                || agent_key(issued_to) == agent_key(client))
    }
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
    fn a_version_bump_does_not_count_and_another_browser_does() {
        let bumped = FIREFOX.replace("142.0", "143.0");
        assert_eq!(agent_family(FIREFOX), agent_family(&bumped));
        let binding = Binding { same_ip: false, same_agent: true };
        let issued_to = client("192.0.2.1", FIREFOX);
        assert!(binding.allows(&issued_to, &client("198.51.100.9", &bumped)));
        assert!(!binding.allows(&issued_to, &client("192.0.2.1", CHROME)));
        assert!(!binding.allows(&issued_to, &client("192.0.2.1", "")));
    }

    #[test]
    fn a_mapped_address_equals_the_address() {
        let binding = Binding { same_ip: true, same_agent: false };
        let issued_to = client("192.0.2.1", "");
        assert!(binding.allows(&issued_to, &client("::ffff:192.0.2.1", "x")));
        assert!(!binding.allows(&issued_to, &client("192.0.2.2", "")));
        assert!(!binding.allows(&issued_to, &client("", "")));
        assert!(Binding { same_ip: false, ..binding }.allows(&issued_to, &client("::1", "")));
    }

    #[test]
    fn grace_is_bound_to_the_network_and_the_family() {
        let key = |ip, agent| grace_key(&client(ip, agent));
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
