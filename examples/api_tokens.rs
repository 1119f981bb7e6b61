//! Access tokens for services that cannot make them: one service signs with Ed25519 and publishes
//! its public key; another checks with nothing but what was published.
//!
//! ```text
//! openssl genpkey -algorithm ed25519 -out access.pem
//! cargo run -p watchdog-examples --example api_tokens -- access.pem
//! ```
//!
//! Without a file it uses the key of RFC 8037, which is as public as a key can be.
#![expect(clippy::print_stdout, reason = "the example shows what happens on the terminal")]

use std::error::Error;

use watchdog_core::{KeyRing, SystemClock};
use watchdog_session::{
    AccessVerifier, Client, ErrorKind, RevokeReason, SessionConfig, Sessions, Subject,
};

const ISSUER: &str = "https://login.example";
const AUDIENCE: &str = "https://api.example";
const PUBLISHED_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
    -----END PRIVATE KEY-----\n";

/// The service where people log in: the only one with a private key.
fn login_service(pem: String) -> watchdog_session::Result<Sessions> {
    let config = SessionConfig { access_token_key: Some(pem.into()), ..SessionConfig::default() };
    Sessions::builder(&KeyRing::ephemeral()?)
        .config(config)
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .build()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let pem = match std::env::args().nth(1) {
        Some(path) => std::fs::read_to_string(path)?,
        None => PUBLISHED_KEY.to_owned(),
    };
    let sessions = login_service(pem)?;
    // Served to all who ask, say at /.well-known/jwks.json.
    let published = sessions.jwks().to_string();
    println!("published: {published}");

    let subject = Subject::user("alice").with_roles(["analyst"]);
    let issued = sessions.issue(subject, &Client::unknown()).await?;
    let token = issued.access_token.expose();

    // The other service. In production it fetches the set over HTTPS and again every few minutes:
    // `replace_keys` changes them for all clones at once.
    let verifier = AccessVerifier::from_jwks(&published, ISSUER, AUDIENCE)?;
    let claims = verifier.check_by(token, &SystemClock)?;
    let (user, roles) = (claims.user(), claims.roles().join(", "));
    println!("accepted:  {user} ({roles}) until {}", claims.expires_at());

    // Another service's verifier does not take it.
    let other = AccessVerifier::from_jwks(&published, ISSUER, "https://billing.example")?;
    match other.check_by(token, &SystemClock) {
        Ok(_) => return Err("a token for another audience was accepted".into()),
        Err(error) => println!("refused:   {error}"),
    }

    // The check is offline: after a logout the token passes until it expires, minutes later.
    sessions.revoke(&issued.session, RevokeReason::Logout).await?;
    verifier.check_by(token, &SystemClock)?;
    let end = u64::try_from(claims.expires_at().as_millisecond())?;
    let expired = verifier.check(token, end).err().map(|error| error.kind());
    println!("at its end: {expired:?}");
    assert_eq!(expired, Some(ErrorKind::Expired));
    Ok(())
}
