//! Which server is the primary, by the word of the sentinels.

use std::sync::Arc;

use tokio::time::timeout;

use super::PATIENCE;
use super::wire::{Address, Wire, elements, number, refusal, text};
use crate::error::{Error, ErrorKind, Result};

/// The sentinels of a deployment.
#[derive(Debug)]
pub(super) struct Sentinels {
    pub(super) addresses: Vec<Address>,
    pub(super) service: String,
    pub(super) login: Option<(Option<String>, String)>,
}

impl Sentinels {
    /// The first answer counts; the sentinel that gave it is asked first the next time.
    pub(super) async fn primary(
        &mut self,
        tls: Option<&Arc<rustls::ClientConfig>>,
    ) -> Result<Address> {
        let mut failed = Error::new(ErrorKind::Config, "no sentinel is set");
        for index in 0..self.addresses.len() {
            match timeout(PATIENCE, self.ask(&self.addresses[index], tls)).await {
                Ok(Ok(address)) => {
                    self.addresses.swap(0, index);
                    return Ok(address);
                }
                Ok(Err(error)) => failed = error,
                Err(_) => {
                    failed = Error::new(ErrorKind::ConnectTimeout, "a sentinel does not answer");
                }
            }
        }
        Err(failed)
    }

    async fn ask(
        &self,
        sentinel: &Address,
        tls: Option<&Arc<rustls::ClientConfig>>,
    ) -> Result<Address> {
        let mut wire = Wire::dial(sentinel, tls).await?;
        if let Some((user, password)) = &self.login {
            let mut auth = vec!["AUTH"];
            auth.extend(user.as_deref());
            auth.push(password);
            wire.send(&[auth]).await?;
            if let Some(error) = refusal(&wire.next().await?) {
                return Err(error);
            }
        }
        wire.send(&[vec!["SENTINEL", "GET-MASTER-ADDR-BY-NAME", &self.service]]).await?;
        let answer = wire.next().await?;
        if let Some(error) = refusal(&answer) {
            return Err(error);
        }
        let address = || {
            let [host, port] = elements(&answer) else { return None };
            Some((text(host)?.to_owned(), number(port)?))
        };
        address().ok_or_else(|| Error::new(ErrorKind::Unavailable, "the sentinel knows no primary"))
    }
}
