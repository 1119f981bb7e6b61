//! Ed25519 keys (RFC 8032) as operators keep them: PEM in, thumbprints out.

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::pem::{PemObject as _, SectionKind};
use watchdog_core::Secret;

/// Why a key cannot be used. It never tells anything of the key itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("it is not one PEM section")]
    Pem,
    #[error("it is not an unencrypted Ed25519 key")]
    Kind,
    #[error("its public key is of small order: anybody can sign for it")]
    SmallOrder,
    #[error("it is listed twice")]
    Twice,
}

/// A public key that signatures can be checked with.
#[derive(Clone)]
pub(crate) struct PublicKey {
    bytes: [u8; 32],
    parsed: ParsedPublicKey,
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.thumbprint())
    }
}

/// How a public key begins as `SubjectPublicKeyInfo` (RFC 8410, section 4): always the same.
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

impl PublicKey {
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Result<Self, Refusal> {
        if is_of_small_order(&bytes) {
            return Err(Refusal::SmallOrder);
        }
        let parsed = ParsedPublicKey::new(&ED25519, bytes).map_err(|_| Refusal::Kind)?;
        Ok(Self { bytes, parsed })
    }

    /// The public key of a PEM, be it a private key (PKCS#8) or a public one (SPKI).
    pub(crate) fn from_pem(pem: &Secret<String>) -> Result<Self, Refusal> {
        match section(pem)? {
            (SectionKind::PublicKey, der) => {
                let key = der.expose().strip_prefix(&SPKI).ok_or(Refusal::Kind)?;
                Self::from_bytes(key.try_into().map_err(|_| Refusal::Kind)?)
            }
            (SectionKind::PrivateKey, der) => Self::of(&pair(&der)?),
            _ => Err(Refusal::Kind),
        }
    }

    pub(crate) fn of(pair: &Ed25519KeyPair) -> Result<Self, Refusal> {
        let bytes = pair.public_key().as_ref().try_into().map_err(|_| Refusal::Kind)?;
        Self::from_bytes(bytes)
    }

    /// The member `x` of its JWK (RFC 8037, section 2).
    pub(crate) fn x(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes)
    }

    /// The thumbprint of RFC 7638 with SHA-256: the name of the key, the same wherever it is
    /// computed.
    pub(crate) fn thumbprint(&self) -> String {
        let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, self.x());
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, members.as_bytes()))
    }

    pub(crate) fn parsed(&self) -> &ParsedPublicKey {
        &self.parsed
    }
}

/// The key pair of a PEM: PKCS#8, as `openssl genpkey -algorithm ed25519` writes it.
pub(crate) fn pair_from_pem(pem: &Secret<String>) -> Result<Ed25519KeyPair, Refusal> {
    match section(pem)? {
        (SectionKind::PrivateKey, der) => pair(&der),
        _ => Err(Refusal::Kind),
    }
}

fn pair(der: &Secret<Vec<u8>>) -> Result<Ed25519KeyPair, Refusal> {
    Ed25519KeyPair::from_pkcs8(der.expose()).map_err(|_| Refusal::Kind)
}

/// The one section of a PEM. Of two it could not be told which was meant.
fn section(pem: &Secret<String>) -> Result<(SectionKind, Secret<Vec<u8>>), Refusal> {
    let mut sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(pem.expose().as_bytes())
        .map(|section| section.map(|(kind, der)| (kind, Secret::new(der))));
    let first = sections.next().ok_or(Refusal::Pem)?.map_err(|_| Refusal::Pem)?;
    if sections.next().is_some() {
        return Err(Refusal::Pem);
    }
    Ok(first)
}

/// Whether a point has an order of 1, 2, 4 or 8. For such a key one signature fits an eighth of all
/// messages or more, without anybody knowing a private key.
fn is_of_small_order(point: &[u8; 32]) -> bool {
    let mut y = *point;
    y[31] &= 0x7f; // the sign of x
    SMALL_ORDER.contains(&y)
}

/// Every encoding of the `y` of such a point, those that are not reduced modulo 2^255 - 19 too.
const SMALL_ORDER: [[u8; 32]; 7] = [
    near(0, 0),
    near(1, 0),
    near(0xec, 0xff),
    near(0xed, 0xff),
    near(0xee, 0xff),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
];

/// A number around 0 or around 2^255: `low`, then `rest` in all bytes but the sign.
const fn near(low: u8, rest: u8) -> [u8; 32] {
    let mut bytes = [rest; 32];
    bytes[0] = low;
    bytes[31] = rest & 0x7f;
    bytes
}

#[cfg(test)]
mod tests;
