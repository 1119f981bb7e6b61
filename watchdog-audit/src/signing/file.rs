//! Signing keys in a file of their own.

use std::path::Path;

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use watchdog_core::Secret;

use crate::error::{Error, ErrorKind, Result};

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";
const SEED_BYTES: usize = 32;

/// Reads the keys of a file: the current one first, then those before it.
///
/// # Errors
///
/// [`ErrorKind::Config`] when the file is not there or holds something else; the error says how to
/// make one.
pub(crate) async fn read(path: &Path) -> Result<Vec<Ed25519KeyPair>> {
    let owned = path.to_owned();
    let read = tokio::task::spawn_blocking(move || std::fs::read(owned)).await;
    let read = read.map_err(|error| {
        Error::new(ErrorKind::Closed, "reading the signing key was cut off").with_source(error)
    })?;
    let place = path.display();
    let content = read.map_err(|error| {
        let context = format_args!(
            "the file with the signing key of the audit log, {place}, cannot be read \
             (WATCHDOG_AUDIT_SIGNING_KEY_FILE); make one with `openssl genpkey -algorithm ed25519 \
             -out {place}`"
        );
        Error::new(ErrorKind::Config, context).with_source(error)
    })?;
    let content = Secret::new(content);
    parse(content.expose()).ok_or_else(|| {
        Error::new(
            ErrorKind::Config,
            format_args!(
                "the file with the signing key of the audit log, {place}, holds neither Ed25519 \
                 keys as PKCS#8 in PEM nor a seed of 32 bytes; make one with `openssl genpkey \
                 -algorithm ed25519 -out {place}`"
            ),
        )
    })
}

/// The keys in the content of a file, `None` when there is none or one does not fit.
fn parse(content: &[u8]) -> Option<Vec<Ed25519KeyPair>> {
    if content.len() == SEED_BYTES {
        return Some(vec![Ed25519KeyPair::from_seed_unchecked(content).ok()?]);
    }
    let mut rest = std::str::from_utf8(content).ok()?;
    let mut keys = Vec::new();
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let (block, after) = after.split_once(END)?;
        let text: String = block.split_ascii_whitespace().collect();
        let text = Secret::new(text);
        let der = Secret::new(BASE64.decode(text.expose()).ok()?);
        // What `openssl` writes has no public key in it.
        keys.push(Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.expose()).ok()?);
        rest = after;
    }
    (!keys.is_empty()).then_some(keys)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::KeyPair as _;

    use super::*;

    /// RFC 8410, section 10.3.
    const PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";
    const PUBLIC: &str = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";

    fn public(key: &Ed25519KeyPair) -> String {
        crate::hex::encode(key.public_key().as_ref())
    }

    #[test]
    fn a_key_in_pem_and_its_seed_are_the_same_key() {
        let keys = parse(PEM.as_bytes()).unwrap();
        assert_eq!((keys.len(), public(&keys[0])), (1, PUBLIC.to_owned()));
        let seed = crate::hex::decode::<32>(
            "d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842",
        );
        assert_eq!(public(&parse(&seed.unwrap()).unwrap()[0]), PUBLIC);
    }

    #[test]
    fn several_keys_come_in_order() {
        let two = format!("# new\n{PEM}# old\n{PEM}");
        assert_eq!(parse(two.as_bytes()).unwrap().len(), 2);
    }

    #[test]
    fn what_holds_no_key_is_refused() {
        for content in
            ["", "key", &PEM[..60], &PEM.replace("MC4", "MC5"), &PEM.replace("EINT", "!")]
        {
            assert!(parse(content.as_bytes()).is_none(), "{content}");
        }
        assert!(parse(&[7; 31]).is_none());
        assert!(parse(&[0xff; 33]).is_none());
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_is_named_with_the_command_that_makes_one() {
        let error = read(Path::new("no/such/key.pem")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        assert!(text.contains("openssl genpkey -algorithm ed25519 -out no/such/key.pem"), "{text}");
    }
}
