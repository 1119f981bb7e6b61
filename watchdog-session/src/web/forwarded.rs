//! The client's address, as far as proxies that are trusted vouch for it.
//!
//! Whatever a client sends in `X-Forwarded-For` or `Forwarded` stands to the *left* of what proxies
//! append. So both are read from the right, and no byte further than needed: what a client writes,
//! however malformed, changes nothing about the elements behind it.

use std::iter::Rev;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::http::header::{HeaderMap, HeaderValue, ValueIter};
use ipnet::IpNet;

use crate::config::ForwardedHeader;
use crate::error::{Error, ErrorKind, Result};
use crate::proxies;

/// Most proxies passed on the way to the client.
const MAX_HOPS: usize = 64;
/// Most bytes of headers looked at, from the right.
const MAX_BYTES: usize = 8 * 1024;

/// The proxies in front of a service, and the header they write addresses into.
///
/// The client is whoever the nearest proxy that is *not* trusted, or the client itself, connected
/// from. The walk begins at the peer of the connection and goes through the header from the right,
/// one element for each trusted proxy:
///
/// - A peer that is not trusted is the client, whatever its headers say.
/// - The first address that is not trusted is the client's.
/// - An element that is no address (`unknown`, an obfuscated `_name`, empty or malformed) ends the
///   walk: the client is then known by the proxy that wrote it, the nearest address that is
///   certain. So is one beyond 64 proxies or 8 KiB.
/// - When all are trusted, the farthest one is the client: a call from within.
///
/// Only the configured header is read. Several lines of it count as one, in order (RFC 9110,
/// section 5.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Arc<[IpNet]>,
    header: ForwardedHeader,
}

impl TrustedProxies {
    /// Proxies by their addresses and networks (`10.0.0.0/8`). Without any, no header is believed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] for what is no network, has bits beyond its prefix, or is everybody.
    pub fn new(
        networks: impl IntoIterator<Item = impl AsRef<str>>,
        header: ForwardedHeader,
    ) -> Result<Self> {
        let read = |text: &str| {
            proxies::network(text).map_err(|wrong| {
                Error::new(ErrorKind::Config, format!("trusted proxy `{text}` {wrong}"))
            })
        };
        let networks = networks.into_iter().map(|text| read(text.as_ref())).collect::<Result<_>>();
        Ok(Self { networks: networks?, header })
    }

    /// The client's address; `None` when the peer of the connection is not known, since then
    /// nobody vouches for the headers.
    pub fn client_address(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        let mut certain = peer?.to_canonical();
        let mut elements = Elements::new(self.header, headers);
        for _ in 0..MAX_HOPS {
            if !self.trusts(certain) {
                break;
            }
            match elements.next().and_then(|element| self.address_in(element)) {
                Some(address) => certain = address,
                None => break,
            }
        }
        Some(certain)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    fn address_in(&self, element: &[u8]) -> Option<IpAddr> {
        match self.header {
            ForwardedHeader::XForwardedFor => node_address(trimmed(element)),
            ForwardedHeader::Forwarded => node_address(&forwarded_for(element)?),
        }
    }
}

/// The elements of a header, the last one first.
struct Elements<'a> {
    header: ForwardedHeader,
    lines: Rev<ValueIter<'a, HeaderValue>>,
    /// What is left of the line that is being read.
    line: Option<&'a [u8]>,
    budget: usize,
}

impl<'a> Elements<'a> {
    fn new(header: ForwardedHeader, headers: &'a HeaderMap) -> Self {
        let name = match header {
            ForwardedHeader::XForwardedFor => "x-forwarded-for",
            ForwardedHeader::Forwarded => "forwarded",
        };
        let lines = headers.get_all(name).iter().rev();
        Self { header, lines, line: None, budget: MAX_BYTES }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let line = match self.line.take() {
            Some(line) => line,
            None => self.lines.next()?.as_bytes(),
        };
        let visible = &line[line.len().saturating_sub(self.budget)..];
        let comma = match self.header {
            ForwardedHeader::XForwardedFor => visible.iter().rposition(|&byte| byte == b','),
            ForwardedHeader::Forwarded => last_comma(visible),
        };
        let hidden = line.len() - visible.len();
        let element = match comma {
            Some(comma) => {
                self.line = Some(&line[..hidden + comma]);
                &visible[comma + 1..]
            }
            // Part of an element says nothing.
            None if hidden > 0 => return None,
            None => visible,
        };
        self.budget = self.budget.saturating_sub(element.len() + 1);
        Some(element)
    }
}

/// The last comma outside of quoted strings. Read from the right, a quote closes a string, and the
/// nearest quote before it that is not escaped opens it: true of whatever a proxy appended.
fn last_comma(text: &[u8]) -> Option<usize> {
    let mut end = text.len();
    loop {
        let at = text[..end].iter().rposition(|byte| matches!(byte, b',' | b'"'))?;
        if text[at] == b',' {
            return Some(at);
        }
        end = opening_quote(&text[..at])?;
    }
}

fn opening_quote(text: &[u8]) -> Option<usize> {
    let mut end = text.len();
    loop {
        let at = text[..end].iter().rposition(|&byte| byte == b'"')?;
        let escapes = text[..at].iter().rev().take_while(|&&byte| byte == b'\\').count();
        if escapes % 2 == 0 {
            return Some(at);
        }
        end = at;
    }
}

/// The node that the one `for` of an element names (RFC 7239, section 4).
fn forwarded_for(element: &[u8]) -> Option<Vec<u8>> {
    let mut rest = trimmed(element);
    let mut node = None;
    while !rest.is_empty() {
        if let [b';', tail @ ..] = rest {
            rest = trimmed(tail);
            continue;
        }
        let equals = rest.iter().position(|&byte| byte == b'=')?;
        let (name, tail) = (&rest[..equals], &rest[equals + 1..]);
        if name.is_empty() || !name.iter().all(|&byte| is_token(byte)) {
            return None;
        }
        let (value, tail) = parameter_value(tail)?;
        if name.eq_ignore_ascii_case(b"for") && node.replace(value).is_some() {
            return None;
        }
        rest = trimmed(tail);
        if !matches!(rest, [] | [b';', ..]) {
            return None;
        }
    }
    node
}

/// A quoted string, its escapes undone, or a token; and what follows. IPv6 without the quotes that
/// it needs is taken all the same.
fn parameter_value(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let [b'"', quoted @ ..] = text else {
        let end = text.iter().position(|&byte| byte == b';').unwrap_or(text.len());
        let value = trimmed(&text[..end]);
        let is_fine = |&byte: &u8| is_token(byte) || b"[]:".contains(&byte);
        return value.iter().all(is_fine).then(|| (value.to_vec(), &text[end..]));
    };
    let mut value = Vec::new();
    let mut bytes = quoted.iter().enumerate();
    while let Some((at, &byte)) = bytes.next() {
        match byte {
            b'"' => return Some((value, &quoted[at + 1..])),
            b'\\' => value.push(*bytes.next()?.1),
            _ => value.push(byte),
        }
    }
    None
}

/// A character of a token (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The address of a node: with or without a port; IPv6 in brackets, or bare when there is no port.
fn node_address(node: &[u8]) -> Option<IpAddr> {
    let node = std::str::from_utf8(node).ok()?;
    let address = if let Some(bracketed) = node.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
            return None;
        }
        IpAddr::V6(address.parse::<Ipv6Addr>().ok()?)
    } else if let Ok(address) = node.parse::<IpAddr>() {
        address
    } else {
        let (address, port) = node.split_once(':')?;
        IpAddr::V4(address.parse::<Ipv4Addr>().ok().filter(|_| is_port(port))?)
    };
    Some(address.to_canonical())
}

/// Digits, or an obfuscated port (RFC 7239, section 6).
fn is_port(text: &str) -> bool {
    let is_number = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_hidden = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    is_number || text.strip_prefix('_').is_some_and(is_hidden)
}

/// Without the spaces and tabs around it.
pub(super) fn trimmed(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests;
