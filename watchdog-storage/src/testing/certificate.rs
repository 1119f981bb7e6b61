//! Throw-away certificates for servers on the loopback interface.

use std::io;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};

/// A certification authority of its own, with one certificate for `localhost` and `127.0.0.1`,
/// as PEM files in one directory.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate of the authority, for the client.
    pub authority: PathBuf,
    /// The certificate of the server.
    pub certificate: PathBuf,
    /// The private key of the server.
    pub key: PathBuf,
}

impl Certificate {
    /// Makes an authority and a certificate, and writes them to `directory`.
    ///
    /// # Errors
    ///
    /// When the files cannot be written.
    pub fn write_to(directory: &Path) -> io::Result<Self> {
        let (authority, certificate, key) = make().map_err(io::Error::other)?;
        let paths = Self {
            authority: directory.join("ca.pem"),
            certificate: directory.join("server.pem"),
            key: directory.join("server.key"),
        };
        std::fs::write(&paths.authority, authority)?;
        std::fs::write(&paths.certificate, certificate)?;
        std::fs::write(&paths.key, key)?;
        Ok(paths)
    }
}

fn make() -> Result<(String, String, String), rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;
    Ok((authority.pem(), certificate.pem(), key.serialize_pem()))
}
