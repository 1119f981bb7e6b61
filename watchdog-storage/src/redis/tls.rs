//! TLS towards Redis: rustls on aws-lc-rs, host names verified.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::error::{Error, ErrorKind, Result};

/// The settings of a client that trusts `authority`, or the authorities of the system.
pub(super) fn client(authority: Option<&Path>) -> Result<ClientConfig> {
    let roots = match authority {
        Some(path) => from_file(path)?,
        None => from_system()?,
    };
    // Explicit: with two providers in the tree the default one would be a panic.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(ErrorKind::Config, "TLS cannot be set up").with_source(error))
        .map(|builder| builder.with_root_certificates(roots).with_no_client_auth())
}

fn from_file(path: &Path) -> Result<RootCertStore> {
    let unusable = || {
        let path = path.display();
        Error::new(ErrorKind::Config, format!("{path} holds no usable certificate in PEM"))
    };
    let mut roots = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| unusable().with_source(error))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| unusable().with_source(error))?;
        roots.add(certificate).map_err(|error| unusable().with_source(error))?;
    }
    if roots.is_empty() { Err(unusable()) } else { Ok(roots) }
}

fn from_system() -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    // One certificate that cannot be read is no reason to distrust all others.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(Error::new(ErrorKind::Config, "the system has no certification authorities"));
    }
    Ok(roots)
}
