//! Cookies, extractors and answers for axum (feature `axum`).
//!
//! ```
//! use axum::{Router, routing::get};
//! use watchdog_session::Sessions;
//! use watchdog_session::web::{CookieSettings, CurrentSession, WebSessions};
//!
//! async fn me(CurrentSession(session): CurrentSession) -> String {
//!     session.user().to_owned()
//! }
//!
//! # fn router(sessions: Sessions) -> watchdog_session::Result<Router> {
//! let web = WebSessions::new(sessions, CookieSettings::default())?;
//! Ok(Router::new().route("/me", get(me)).layer(web.layer()))
//! # }
//! ```

mod cookie;
mod extract;
mod forwarded;
mod reject;

use axum::Extension;
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, HeaderValue, SET_COOKIE};

use crate::error::Result;
use crate::session::Issued;
use crate::sessions::Sessions;

pub use cookie::{CookieSettings, SameSite, SessionCookie};
pub use extract::{CurrentSession, RequestClient};
pub use forwarded::TrustedProxies;
pub use reject::Rejection;

/// Sessions as the web edge sees them: with a cookie.
#[derive(Clone, Debug)]
pub struct WebSessions {
    sessions: Sessions,
    cookie: SessionCookie,
}

impl WebSessions {
    /// Sessions with a cookie.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when the settings of the cookie cannot work
    /// together.
    pub fn new(sessions: Sessions, settings: CookieSettings) -> Result<Self> {
        Ok(Self { sessions, cookie: SessionCookie::new(settings)? })
    }

    /// What a router is wrapped in. Without it, extractors answer 500.
    pub fn layer(&self) -> Extension<Self> {
        Extension(self.clone())
    }

    /// The sessions.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// The cookie.
    pub fn cookie(&self) -> &SessionCookie {
        &self.cookie
    }

    /// Headers of an answer that signs a client in: the cookie, and that nobody may store it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the cookie is no header value.
    pub fn signed_in(&self, issued: &Issued) -> Result<HeaderMap> {
        Ok(private(self.cookie.holding(&issued.session_token)?))
    }

    /// Headers of an answer that signs a client out: the cookie is deleted.
    ///
    /// # Errors
    ///
    /// As [`WebSessions::signed_in`].
    pub fn signed_out(&self) -> Result<HeaderMap> {
        Ok(private(self.cookie.deletion()?))
    }
}

fn private(cookie: HeaderValue) -> HeaderMap {
    HeaderMap::from_iter([
        (SET_COOKIE, cookie),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ])
}
