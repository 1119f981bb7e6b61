//! Cookies, extractors, guards and answers for axum (feature `axum`).
//!
//! ```
//! use axum::{Router, routing::{get, post}};
//! use watchdog_session::{Role, Sessions, Subject};
//! use watchdog_session::web::{CookieSettings, OptionalSession, Rejection, Session, WebSessions};
//!
//! async fn login(visitor: OptionalSession) -> Result<&'static str, Rejection> {
//!     // … when the password is right:
//!     visitor.login(Subject::user("alice").with_roles([Role::ADMIN])).await?;
//!     Ok("welcome")
//! }
//! async fn visits(session: Session) -> Result<String, Rejection> {
//!     let visits: u32 = session.get("visits").await?.unwrap_or(0) + 1;
//!     session.insert("visits", &visits).await?;
//!     Ok(visits.to_string())
//! }
//! async fn logout(session: Session) -> Result<(), Rejection> {
//!     Ok(session.flush().await?)
//! }
//!
//! # fn router(sessions: Sessions) -> watchdog_session::Result<Router> {
//! let web = WebSessions::new(sessions, CookieSettings::default())?;
//! let admin = Router::new()
//!     .route("/admin", get(|| async { "admins only" }))
//!     .route_layer(web.require_role([Role::ADMIN]));
//! Ok(Router::new()
//!     .route("/login", post(login))
//!     .route("/visits", get(visits))
//!     .route("/logout", post(logout))
//!     .merge(admin)
//!     .layer(web.layer()))
//! # }
//! ```
//!
//! # How it fails
//!
//! | what is wrong | answer | cookie |
//! |---|---|---|
//! | no token, or two cookies of the name | 401 `missing` | stays |
//! | token forged, session over | 401 `invalid`, `expired` | deleted |
//! | another client than the session is bound to | 401 `invalid` | stays |
//! | authenticated too long ago, or by an access token ([`WebSessions::require_fresh`]) | 401 `step_up_required` (RFC 9470) | stays |
//! | none of the roles ([`WebSessions::require_role`]) | 403 `forbidden`, and an audit entry | stays |
//! | no CSRF token ([`WebSessions::csrf`]) | 403 `csrf` | stays |
//! | the store does not answer | 503 `unavailable` | stays |
//! | the layer is missing | 500 `internal` | stays |
//!
//! Every change of a session commits when it is called, not when the answer goes: an error after
//! [`Session::regenerate`] leaves the new session, and the answer, whatever its status, carries the
//! new cookie. No answer, no cookie: catch panics within the layer.
//!
//! # The client's address
//!
//! [`RequestClient`] and the binding of sessions go by the peer of the connection, which a service
//! made with `into_make_service_with_connect_info::<SocketAddr>()` knows, and by the proxies of
//! [`SessionConfig::trusted_proxies`](crate::SessionConfig::trusted_proxies): see
//! [`TrustedProxies`]. Without connect info no client has an address: no header is believed, and a
//! binding to the address compares nothing with nothing.
//!
//! Under [`IpBinding::Exact`](crate::IpBinding::Exact) and [`IpBinding::Prefix`](crate::IpBinding::Prefix)
//! an address of the other family, IPv4 or IPv6, does not fit: no network of the one holds an
//! address of the other, and a thief would only have to change the family. Clients that have both
//! may switch at any time; give such a service addresses of one family, or choose
//! [`MismatchAction::StepUp`](crate::MismatchAction::StepUp) or `Log`. IPv4 mapped into IPv6 is IPv4.

mod cookie;
mod csrf;
mod extract;
mod forwarded;
mod guard;
mod handle;
mod layer;
mod optional;
mod reject;
mod visit;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, HeaderValue, SET_COOKIE};
use watchdog_core::audit::Client;

use crate::error::Result;
use crate::principal::Role;
use crate::session::Issued;
use crate::sessions::Sessions;
use crate::telemetry;

pub use cookie::{CookieSettings, SameSite, SessionCookie};
pub use csrf::CSRF_HEADER;
pub use extract::{CurrentSession, NoTouch, RequestClient};
pub use forwarded::TrustedProxies;
pub use guard::{Guard, Guarded, require_role};
pub use handle::Session;
pub use layer::{SessionLayer, SessionService};
pub use optional::OptionalSession;
pub use reject::Rejection;

/// How often one process reports requests with several session cookies.
const PAUSE: Duration = Duration::from_secs(60);
/// How long an answer waits for the audit sink at most.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sessions as the web edge sees them: with a cookie, behind proxies. A clone shares everything.
#[derive(Clone, Debug)]
pub struct WebSessions {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    sessions: Sessions,
    cookie: SessionCookie,
    proxies: TrustedProxies,
    tossed: Mutex<Tossed>,
}

/// Requests with several session cookies, since the last report of them.
#[derive(Debug, Default)]
struct Tossed {
    reported_at: Option<Instant>,
    count: u64,
}

impl WebSessions {
    /// Sessions with a cookie, behind the proxies of their settings.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when the settings of the cookie cannot work
    /// together.
    pub fn new(sessions: Sessions, settings: CookieSettings) -> Result<Self> {
        let cookie = SessionCookie::new(settings)?;
        let config = sessions.config();
        let proxies = TrustedProxies::new(&config.trusted_proxies, config.forwarded_header)?;
        telemetry::describe_web();
        let tossed = Mutex::default();
        Ok(Self { inner: Arc::new(Inner { sessions, cookie, proxies, tossed }) })
    }

    /// What a router is wrapped in. Without it, extractors and guards answer 500.
    ///
    /// It sets the cookie after what handlers do to the session, and marks answers that depend on
    /// it: `Cache-Control: no-store` when they set or delete the cookie, `Vary` by cookie and
    /// authorization when the session was looked at.
    pub fn layer(&self) -> SessionLayer {
        SessionLayer::new(self.clone())
    }

    /// A layer for routes that need one of some roles: 403 without, 401 without a session, and an
    /// audit entry for each known user who is refused. Of no roles nobody has one.
    pub fn require_role(&self, roles: impl IntoIterator<Item = impl Into<Role>>) -> Guard {
        Guard::role(roles.into_iter().map(Into::into).collect())
    }

    /// A layer for routes that need an authentication at most `max_age` ago: 401
    /// `step_up_required` without (RFC 9470). No access token passes.
    pub fn require_fresh(&self, max_age: Duration) -> Guard {
        Guard::fresh(max_age)
    }

    /// A layer that wants a CSRF token ([`Session::csrf_token`]) in the header [`CSRF_HEADER`] of
    /// each request that may change something and whose session comes by the cookie. It does not
    /// protect the login itself, where there is no session yet: `SameSite` does.
    ///
    /// A request with an `Upgrade` header counts as a change, whatever its method: other sites can
    /// open a WebSocket with the cookie. Pages cannot set headers on one, either; leave such a
    /// route out, and compare `Origin` there (RFC 6455, section 10.2).
    pub fn csrf(&self) -> Guard {
        Guard::csrf()
    }

    /// A layer for routes whose requests do not count as use of the session, such as polling. Put
    /// it around other layers that ask for the session: after them in code.
    pub fn no_touch(&self) -> axum::Extension<NoTouch> {
        axum::Extension(NoTouch)
    }

    /// The sessions.
    pub fn sessions(&self) -> &Sessions {
        &self.inner.sessions
    }

    /// The cookie.
    pub fn cookie(&self) -> &SessionCookie {
        &self.inner.cookie
    }

    /// The proxies.
    pub fn proxies(&self) -> &TrustedProxies {
        &self.inner.proxies
    }

    /// Headers of an answer that signs a client in: the cookie, and that nobody may store it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the cookie is no header value.
    pub fn signed_in(&self, issued: &Issued) -> Result<HeaderMap> {
        Ok(private(self.cookie().holding(&issued.session_token)?))
    }

    /// Headers of an answer that signs a client out: the cookie is deleted.
    ///
    /// # Errors
    ///
    /// As [`WebSessions::signed_in`].
    pub fn signed_out(&self) -> Result<HeaderMap> {
        Ok(private(self.cookie().deletion()?))
    }

    /// Counts a request with several session cookies, and reports them once a minute: whoever
    /// sends them needs no session, and must not be able to fill the audit log.
    async fn tossed(&self, client: &Client) {
        telemetry::tossed();
        let Some(count) = self.tossed_since(Instant::now()) else { return };
        tracing::warn!(count, "requests had more than one session cookie, and count as unsigned");
        let report = self.sessions().report_tossed_cookie(self.cookie().name(), count, client);
        reported(report).await;
    }

    fn tossed_since(&self, now: Instant) -> Option<u64> {
        let mut tossed = self.inner.tossed.lock().unwrap_or_else(PoisonError::into_inner);
        tossed.count += 1;
        if tossed.reported_at.is_some_and(|at| now.saturating_duration_since(at) < PAUSE) {
            return None;
        }
        tossed.reported_at = Some(now);
        Some(std::mem::take(&mut tossed.count))
    }
}

/// Waits for a report, but not forever: what was refused stays refused.
async fn reported(report: impl Future<Output = Result<()>>) {
    match tokio::time::timeout(PATIENCE, report).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "a refusal is missing in the audit log"),
        Err(_) => tracing::error!("a refusal may be missing in the audit log: the sink hangs"),
    }
}

fn private(cookie: HeaderValue) -> HeaderMap {
    HeaderMap::from_iter([
        (SET_COOKIE, cookie),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ])
}

#[cfg(test)]
mod tests {
    use watchdog_core::KeyRing;

    use super::*;

    #[test]
    fn tossed_cookies_are_reported_once_a_minute_with_their_count() {
        let sessions = Sessions::builder(&KeyRing::ephemeral().unwrap()).build().unwrap();
        let web = WebSessions::new(sessions, CookieSettings::default()).unwrap();
        let start = Instant::now();
        assert_eq!(web.tossed_since(start), Some(1));
        assert_eq!(web.tossed_since(start), None);
        assert_eq!(web.tossed_since(start + PAUSE / 2), None);
        assert_eq!(web.tossed_since(start + PAUSE), Some(3));
    }
}
