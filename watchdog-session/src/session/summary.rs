use std::fmt;

use watchdog_core::Timestamp;
use watchdog_core::audit::Client;

use crate::place::SessionId;

/// A living session as its user sees it in a list of devices. It opens nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionSummary {
    pub(crate) id: SessionId,
    pub(crate) created_at: Timestamp,
    pub(crate) last_seen: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) auth_time: Timestamp,
    pub(crate) client: Client,
    pub(crate) label: Option<String>,
    pub(crate) roles: Vec<String>,
}

/// Without the client and the label.
impl fmt::Debug for SessionSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionSummary")
            .field("id", &self.id)
            .field("created_at", &self.created_at)
            .field("last_seen", &self.last_seen)
            .field("expires_at", &self.expires_at)
            .field("auth_time", &self.auth_time)
            .field("roles", &self.roles)
            .finish_non_exhaustive()
    }
}

impl SessionSummary {
    /// The public handle, for [`Sessions::revoke_by_id`](crate::Sessions::revoke_by_id).
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// When the user logged in.
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// When it was last known to be used; up to a touch interval behind.
    pub fn last_seen(&self) -> Timestamp {
        self.last_seen
    }

    /// When it ends, however busy.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// When the user last authenticated.
    pub fn auth_time(&self) -> Timestamp {
        self.auth_time
    }

    /// The address and user agent it was issued to.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The device, as the application named it.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// Its roles.
    pub fn roles(&self) -> &[String] {
        &self.roles
    }
}
