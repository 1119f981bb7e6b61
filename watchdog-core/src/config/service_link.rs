//! The variables that Kubernetes sets for every Service of a namespace.
//!
//! A Service called `watchdog-db` gives every pod `WATCHDOG_DB_PORT=tcp://10.0.0.7:5432`,
//! `WATCHDOG_DB_SERVICE_HOST` and more (kubernetes/kubernetes#35189), unless the pod says
//! `enableServiceLinks: false`.

use std::net::IpAddr;

pub(super) const HINT: &str =
    "set enableServiceLinks: false in the pod's spec, or rename the Service";

const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];

/// Whether name and value are what Kubernetes sets for a Service.
pub(super) fn is_link(name: &str, value: &str) -> bool {
    if name.ends_with("_SERVICE_HOST") {
        return value.parse::<IpAddr>().is_ok();
    }
    if name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return is_number(value);
    }
    if name.ends_with("_PORT") && is_address(value) {
        return true;
    }
    let Some((_, rest)) = name.rsplit_once("_PORT_").or_else(|| inner_port(name)) else {
        return false;
    };
    let mut words = rest.splitn(3, '_');
    let (number, protocol, detail) = (words.next(), words.next(), words.next());
    number.is_some_and(is_number)
        && protocol
            .is_some_and(|name| PROTOCOLS.iter().any(|known| known.eq_ignore_ascii_case(name)))
        && match detail {
            None => is_address(value),
            Some("ADDR") => value.parse::<IpAddr>().is_ok(),
            Some("PORT") => is_number(value),
            Some("PROTO") => PROTOCOLS.contains(&value),
            Some(_) => false,
        }
}

/// `A_PORT_80_TCP_PORT` also ends like a port.
fn inner_port(name: &str) -> Option<(&str, &str)> {
    name.split_once("_PORT_")
}

fn is_number(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

fn is_address(value: &str) -> bool {
    value.split_once("://").is_some_and(|(scheme, _)| PROTOCOLS.contains(&scheme))
}

#[cfg(test)]
mod tests {
    use super::is_link;

    #[test]
    fn every_variable_of_a_service_is_recognised() {
        for (name, value) in [
            ("WATCHDOG_DB_SERVICE_HOST", "10.0.0.7"),
            ("WATCHDOG_DB_SERVICE_PORT", "5432"),
            ("WATCHDOG_DB_SERVICE_PORT_POSTGRES", "5432"),
            ("WATCHDOG_DB_PORT", "tcp://10.0.0.7:5432"),
            ("WATCHDOG_DB_PORT_5432_TCP", "tcp://10.0.0.7:5432"),
            ("WATCHDOG_DB_PORT_5432_TCP_PROTO", "tcp"),
            ("WATCHDOG_DB_PORT_5432_TCP_PORT", "5432"),
            ("WATCHDOG_DB_PORT_5432_TCP_ADDR", "10.0.0.7"),
            ("WATCHDOG_DNS_PORT_53_UDP", "udp://[fd00::7]:53"),
        ] {
            assert!(is_link(name, value), "{name}");
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_not_excused() {
        for (name, value) in [
            ("WATCHDOG_DBB_PORT", "5432"),
            ("WATCHDOG_DB_PORTS", "tcp://10.0.0.7:5432"),
            ("WATCHDOG_DB_SERVICE_HOST", "db.internal"),
            ("WATCHDOG_DB_PORT_FIVE_TCP", "tcp://10.0.0.7:5432"),
            ("WATCHDOG_DB_PORT_5432_TCP_NAME", "x"),
            ("WATCHDOG_DB_URL", "tcp://10.0.0.7:5432"),
        ] {
            assert!(!is_link(name, value), "{name}");
        }
    }
}
