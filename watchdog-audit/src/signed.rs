//! Documents of the archive that carry their signature: one line of JSON, and the signature over that
//! line with its newline on the next.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::signing::{PublicKey, Signer};

/// What stands on the first line.
pub(crate) trait Document: Serialize + DeserializeOwned {
    /// What its field `format` says.
    const FORMAT: &'static str;
    fn format(&self) -> &str;
    /// The id of the key that signs it.
    fn key(&self) -> &str;
}

/// Why bytes are not a document of this log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsound {
    /// They are not two lines of the right shape.
    Malformed,
    /// They name a key that is not accepted.
    UnknownKey,
    /// The signature is not one of the named key.
    WrongSignature,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureLine {
    signature: String,
}

/// The object. The signer must hold the key that the document names.
pub(crate) fn encode<T: Document>(document: &T, signer: &Signer) -> Result<Vec<u8>> {
    let refused = |error| {
        Error::new(ErrorKind::Misuse, format_args!("{} is not JSON", T::FORMAT)).with_source(error)
    };
    let mut bytes = serde_json::to_vec(document).map_err(refused)?;
    bytes.push(b'\n');
    let signature = SignatureLine { signature: signer.sign_as(document.key(), &bytes)? };
    bytes.extend_from_slice(&serde_json::to_vec(&signature).map_err(refused)?);
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads an object and checks its signature under the key that `key_of` finds for the id it names.
/// What comes back is exactly what was signed.
pub(crate) fn decode<T: Document>(
    bytes: &[u8],
    key_of: impl Fn(&str) -> Option<PublicKey>,
) -> Result<T, Unsound> {
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(Unsound::Malformed)?;
    let (body, signature) = bytes.split_at(end + 1);
    let document: T = serde_json::from_slice(body).map_err(|_| Unsound::Malformed)?;
    let line: SignatureLine = serde_json::from_slice(signature).map_err(|_| Unsound::Malformed)?;
    if document.format() != T::FORMAT {
        return Err(Unsound::Malformed);
    }
    let key = key_of(document.key()).ok_or(Unsound::UnknownKey)?;
    if !key.verify(body, &line.signature) {
        return Err(Unsound::WrongSignature);
    }
    // The signature line has one spelling, so that no byte of the object is free.
    let spelled = serde_json::to_vec(&line).map_err(|_| Unsound::Malformed)?;
    if signature.strip_suffix(b"\n") != Some(spelled.as_slice()) {
        return Err(Unsound::Malformed);
    }
    Ok(document)
}
