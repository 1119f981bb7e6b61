//! Trusted proxies as they are configured: addresses and networks.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The network that a text names; a single address is a network of its own. The error completes
/// "the value …".
///
/// IPv4 mapped into IPv6 is IPv4, as it is wherever addresses are compared.
pub(crate) fn network(text: &str) -> Result<IpNet, &'static str> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let network = text.parse::<IpNet>().map_err(|_| "is neither an address nor a network")?;
    if network.addr() != network.network() {
        // Its author means either this one address or the network around it: a guess would trust
        // too many or too few.
        return Err("is an address within its network: write the network, or the address alone");
    }
    let network = unmapped(network);
    if network.prefix_len() == 0 {
        return Err("would trust everybody, and then a client's address is what the client says");
    }
    Ok(network)
}

fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    mapped(v6).map_or(network, IpNet::V4)
}

fn mapped(network: Ipv6Net) -> Option<Ipv4Net> {
    let address = network.addr().to_ipv4_mapped()?;
    Ipv4Net::new(address, network.prefix_len().checked_sub(96)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_networks_are_read() {
        for (text, wanted) in [
            ("192.0.2.1", "192.0.2.1/32"),
            ("::ffff:192.0.2.1", "192.0.2.1/32"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("fd00::/8", "fd00::/8"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ] {
            assert_eq!(network(text).unwrap().to_string(), wanted);
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        let wrong = ["", " 10.0.0.1", "10.0.0.1/8", "10.0.0.0/33", "10/8", "proxy.example"];
        for text in wrong.into_iter().chain(["0.0.0.0/0", "::/0", "::ffff:0.0.0.0/96", "fd00::1/8"])
        {
            assert!(network(text).is_err(), "{text}");
        }
    }
}
