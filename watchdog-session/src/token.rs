//! Session tokens and refresh tokens: made and checked without asking anybody.
//!
//! The layouts are in [`wire`](crate::wire).

use std::fmt;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Serialize, Serializer};
use watchdog_core::{KeyId, MacKeys, RootKeys, Secret, fill_random};

use crate::error::{Error, Result};
use crate::place::Place;

const VERSION: u8 = 1;
const TAG: usize = 16;
const PLACE: usize = 34;
const HEAD: usize = 1 + 4 + PLACE;
const SESSION_BYTES: usize = HEAD + 16 + TAG;
const REFRESH_BYTES: usize = HEAD + 4 + 32 + TAG;

/// Length of every session token, in characters.
pub const SESSION_TOKEN_CHARS: usize = (SESSION_BYTES * 4).div_ceil(3);
/// Length of every refresh token, in characters.
pub const REFRESH_TOKEN_CHARS: usize = (REFRESH_BYTES * 4).div_ceil(3);

macro_rules! token {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// `Debug` does not show it; serialising does, since this is how it reaches the client.
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(Secret<String>);

        impl $name {
            pub(crate) fn new(text: String) -> Self {
                Self(Secret::new(text))
            }

            /// Shows the token.
            pub fn expose(&self) -> &str {
                self.0.expose()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), watchdog_core::REDACTED)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.expose())
            }
        }
    };
}

token! {
    /// The token of a session, meant for a cookie.
    SessionToken
}
token! {
    /// A token that is exchanged for a new access token, and for its own successor.
    RefreshToken
}
token! {
    /// A JWT that is checked without asking the store.
    AccessToken
}

/// What a genuine session token says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SessionParts {
    /// Where the session lives.
    pub place: Place,
    /// What proves possession. Only its digest is stored.
    pub secret: [u8; 16],
}

/// What a genuine refresh token says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RefreshParts {
    /// The key of the session's chain, the same for the whole life of a session.
    pub key: KeyId,
    /// Where the session lives.
    pub place: Place,
    /// How many rotations came before.
    pub generation: u32,
    /// The value of this generation. Only its digest is stored.
    pub value: [u8; 32],
}

impl fmt::Debug for SessionParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionParts").field("place", &self.place).finish_non_exhaustive()
    }
}

impl fmt::Debug for RefreshParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshParts")
            .field("place", &self.place)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// Makes and checks session and refresh tokens.
#[derive(Debug)]
pub struct TokenKeys {
    session: MacKeys,
    refresh: MacKeys,
}

impl TokenKeys {
    /// Keys derived from `SECRET_KEY`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when two secrets derive one key id.
    pub fn new(secret: &RootKeys) -> Result<Self> {
        let session = secret.mac("session/token/v1")?;
        Ok(Self { session, refresh: secret.mac("session/refresh/v1")? })
    }

    /// The session token with these parts.
    pub fn session_token(&self, parts: &SessionParts) -> SessionToken {
        let mut bytes = Vec::with_capacity(SESSION_BYTES);
        head(&mut bytes, self.session.current(), parts.place);
        bytes.extend_from_slice(&parts.secret);
        let tag = self.session.tag(&bytes);
        bytes.extend_from_slice(&tag[..TAG]);
        SessionToken::new(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What a session token says, when it is genuine.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) when it is not.
    pub fn session_parts(&self, token: &str) -> Result<SessionParts> {
        let bytes: [u8; SESSION_BYTES] = decode(token)?;
        let (key, place, rest) = parse_head(&bytes)?;
        let (message, tag) = bytes.split_at(SESSION_BYTES - TAG);
        if !self.session.verify(key, message, tag) {
            return Err(Error::invalid("session token does not verify"));
        }
        let secret = *rest.first_chunk().ok_or_else(malformed)?;
        Ok(SessionParts { place, secret })
    }

    /// The first parts of a new session's chain.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the system has no randomness.
    pub fn first_refresh(&self, place: Place) -> Result<RefreshParts> {
        let mut value = [0; 32];
        fill_random(&mut value)?;
        Ok(RefreshParts { key: self.refresh.current(), place, generation: 0, value })
    }

    /// The refresh token with these parts.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) when its key is no longer accepted.
    pub fn refresh_token(&self, parts: &RefreshParts) -> Result<RefreshToken> {
        let mut bytes = Vec::with_capacity(REFRESH_BYTES);
        head(&mut bytes, parts.key, parts.place);
        bytes.extend_from_slice(&parts.generation.to_be_bytes());
        bytes.extend_from_slice(&parts.value);
        let tag = self.chained(parts.key, b"tag", &[&bytes])?;
        bytes.extend_from_slice(&tag[..TAG]);
        Ok(RefreshToken::new(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// What a refresh token says, when it is genuine.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) when it is not.
    pub fn refresh_parts(&self, token: &str) -> Result<RefreshParts> {
        let bytes: [u8; REFRESH_BYTES] = decode(token)?;
        let (key, place, rest) = parse_head(&bytes)?;
        let (message, tag) = bytes.split_at(REFRESH_BYTES - TAG);
        if !self.refresh.verify(key, &labelled(b"tag", &[message]), tag) {
            return Err(Error::invalid("refresh token does not verify"));
        }
        let (generation, rest) = rest.split_first_chunk().ok_or_else(malformed)?;
        let value = *rest.first_chunk().ok_or_else(malformed)?;
        Ok(RefreshParts { key, place, generation: u32::from_be_bytes(*generation), value })
    }

    /// The parts of the next generation: the same whoever computes them, so that parallel and
    /// repeated refreshes agree and no successor is ever stored.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) when the key of the chain is no longer
    /// accepted, or the chain is at its end after 2^32 rotations.
    pub fn successor(&self, parts: &RefreshParts) -> Result<RefreshParts> {
        let generation =
            parts.generation.checked_add(1).ok_or_else(|| Error::invalid("end of the chain"))?;
        let session = parts.place.session;
        let message: [&[u8]; 3] = [&parts.value, session.as_bytes(), &generation.to_be_bytes()];
        let value = self.chained(parts.key, b"next", &message)?;
        Ok(RefreshParts { generation, value, ..*parts })
    }

    /// A digest of what a client is bound to, under the key of a session's chain: all processes
    /// agree on it while keys rotate.
    pub(crate) fn client_tag(&self, key: KeyId, label: &[u8], what: &[u8]) -> Result<[u8; 16]> {
        let tag = self.chained(key, label, &[what])?;
        let mut cut = [0; 16];
        cut.copy_from_slice(&tag[..16]);
        Ok(cut)
    }

    fn chained(&self, key: KeyId, label: &[u8], message: &[&[u8]]) -> Result<[u8; 32]> {
        self.refresh
            .tag_with(key, &labelled(label, message))
            .ok_or_else(|| Error::invalid("refresh token of a retired key"))
    }
}

/// Where the session of a token lives by the token's own word: nothing of it is checked.
pub(crate) fn place_of(token: &str) -> Option<Place> {
    const HEAD_CHARS: usize = HEAD * 4 / 3;
    const { assert!(HEAD.is_multiple_of(3)) }
    let mut bytes = [0; HEAD];
    let head = token.as_bytes().get(..HEAD_CHARS)?;
    URL_SAFE_NO_PAD.decode_slice(head, &mut bytes).ok()?;
    parse_head(&bytes).ok().map(|(_, place, _)| place)
}

/// SHA-256: what is stored of a secret.
pub(crate) fn digest_of(secret: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, secret).as_ref());
    bytes
}

/// One key, several uses: the label keeps them apart.
fn labelled(label: &[u8], message: &[&[u8]]) -> Labelled {
    let mut labelled = Labelled { bytes: [0; MOST_LABELLED], length: 0, long: Vec::new() };
    labelled.push(label);
    labelled.push(&[0]);
    for part in message {
        labelled.push(part);
    }
    labelled
}

/// What is tagged is short but for a strange user agent.
const MOST_LABELLED: usize = 128;

/// A message under its label, on the stack as long as it fits there.
struct Labelled {
    bytes: [u8; MOST_LABELLED],
    length: usize,
    long: Vec<u8>,
}

impl Labelled {
    fn push(&mut self, part: &[u8]) {
        let end = self.length + part.len();
        match self.bytes.get_mut(self.length..end) {
            Some(place) if self.long.is_empty() => place.copy_from_slice(part),
            _ => {
                if self.long.is_empty() {
                    self.long.extend_from_slice(&self.bytes[..self.length]);
                }
                self.long.extend_from_slice(part);
            }
        }
        self.length = end;
    }
}

impl std::ops::Deref for Labelled {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        if self.long.is_empty() { &self.bytes[..self.length] } else { &self.long }
    }
}

fn head(bytes: &mut Vec<u8>, key: KeyId, place: Place) {
    bytes.push(VERSION);
    bytes.extend_from_slice(&key.to_bytes());
    bytes.extend_from_slice(&place.to_bytes());
}

fn parse_head(bytes: &[u8]) -> Result<(KeyId, Place, &[u8])> {
    let (&version, rest) = bytes.split_first().ok_or_else(malformed)?;
    let (key, rest) = rest.split_first_chunk().ok_or_else(malformed)?;
    let (place, rest) = rest.split_first_chunk().ok_or_else(malformed)?;
    if version != VERSION {
        return Err(Error::invalid("token of an unknown version"));
    }
    Ok((KeyId::from_bytes(*key), Place::from_bytes(place).ok_or_else(malformed)?, rest))
}

/// Exactly `N` bytes of base64url without padding; the length is looked at before anything else.
fn decode<const N: usize>(token: &str) -> Result<[u8; N]> {
    if token.len() != (N * 4).div_ceil(3) {
        return Err(malformed());
    }
    let mut bytes = [0; N];
    match URL_SAFE_NO_PAD.decode_slice(token, &mut bytes) {
        Ok(length) if length == N => Ok(bytes),
        _ => Err(malformed()),
    }
}

fn malformed() -> Error {
    Error::invalid("malformed token")
}

#[cfg(test)]
mod tests;
