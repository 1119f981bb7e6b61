use axum::http::header::{COOKIE, HeaderMap, HeaderValue};
use cookie::Cookie;

use super::forwarded::trimmed;
use crate::error::{Error, ErrorKind, Result};
use crate::token::SessionToken;

/// Which requests from other sites carry the cookie (RFC 6265bis, section 5.6.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SameSite {
    /// Top-level navigation only.
    #[default]
    Lax,
    /// None.
    Strict,
    /// All. The application needs its own defence against forged requests.
    None,
}

/// What the session cookie is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieSettings {
    /// The name. It gets the prefix that `secure` and `domain` allow; one that has a prefix keeps
    /// it, and is refused when the browser would.
    pub name: String,
    /// Whether only HTTPS carries it: `WATCHDOG_AUTH_COOKIE_SECURE`.
    pub secure: bool,
    /// The domain whose hosts all get it: `WATCHDOG_AUTH_COOKIE_DOMAIN`. Without it, this host.
    pub domain: Option<String>,
    /// Which requests from other sites carry it.
    pub same_site: SameSite,
}

impl Default for CookieSettings {
    fn default() -> Self {
        Self { name: "session".into(), secure: true, domain: None, same_site: SameSite::Lax }
    }
}

/// The session cookies in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presented<'a> {
    /// None of the name.
    Nothing,
    /// One, and its value.
    One(&'a str),
    /// Several of the name.
    Several,
}

/// The session cookie: `__Host-` when it is secure and belongs to one host, `__Secure-` when it is
/// secure and belongs to a domain. Always `HttpOnly` and `Path=/`; it ends with the browser's
/// session, and the store, not the browser, decides when it expires.
#[derive(Clone, Debug)]
pub struct SessionCookie {
    name: String,
    settings: CookieSettings,
}

impl SessionCookie {
    /// A cookie with these settings.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] for what browsers refuse (RFC 6265bis, section 5.7): `SameSite=None`
    /// without `Secure`, `__Secure-` without `Secure`, `__Host-` without it or with a domain; and
    /// for a name or domain that does not fit into a header.
    pub fn new(settings: CookieSettings) -> Result<Self> {
        let config = |what| Err(Error::new(ErrorKind::Config, what));
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if settings.name.is_empty() || !settings.name.bytes().all(is_name) {
            return config("a cookie name holds letters, digits, - and _");
        }
        if settings.same_site == SameSite::None && !settings.secure {
            return config("SameSite=None needs a secure cookie");
        }
        if settings.domain.as_deref().is_some_and(|domain| !is_host_name(domain)) {
            return config("a cookie domain is a host name");
        }
        let name = prefixed(&settings)?;
        Ok(Self { name, settings })
    }

    /// The name, prefix included.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The header that sets it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] when the token is no header value.
    pub fn holding(&self, token: &SessionToken) -> Result<HeaderValue> {
        header(&self.cookie(token.expose()))
    }

    /// The header that deletes it, with the same attributes: a browser ignores any other.
    ///
    /// # Errors
    ///
    /// As [`SessionCookie::holding`].
    pub fn deletion(&self) -> Result<HeaderValue> {
        let mut cookie = self.cookie("");
        cookie.make_removal();
        header(&cookie)
    }

    /// The token a request carries. Two cookies of the name count as none: one of them was put
    /// there by somebody else, and nobody can tell which.
    pub fn token(&self, headers: &HeaderMap) -> Option<String> {
        match self.presented(headers) {
            Presented::One(token) => Some(token.to_owned()),
            Presented::Nothing | Presented::Several => None,
        }
    }

    /// As [`SessionCookie::token`], and tells two cookies from none.
    pub(super) fn presented<'a>(&self, headers: &'a HeaderMap) -> Presented<'a> {
        let mut found = None;
        for header in headers.get_all(COOKIE) {
            // As bytes: a cookie of somebody else's may be no text, and says nothing about ours.
            for cookie in header.as_bytes().split(|&byte| byte == b';') {
                let Some(equals) = cookie.iter().position(|&byte| byte == b'=') else { continue };
                let (name, value) = (trimmed(&cookie[..equals]), trimmed(&cookie[equals + 1..]));
                if name == self.name.as_bytes() && found.replace(value).is_some() {
                    return Presented::Several;
                }
            }
        }
        found
            .and_then(|value| std::str::from_utf8(value).ok())
            .map_or(Presented::Nothing, Presented::One)
    }

    /// Whether a `Set-Cookie` header is about this cookie.
    pub(super) fn is_set_by(&self, header: &HeaderValue) -> bool {
        let bytes = header.as_bytes();
        let equals = bytes.iter().position(|&byte| byte == b'=');
        equals.is_some_and(|equals| trimmed(&bytes[..equals]) == self.name.as_bytes())
    }

    fn cookie<'a>(&'a self, value: &'a str) -> Cookie<'a> {
        let same_site = match self.settings.same_site {
            SameSite::Lax => cookie::SameSite::Lax,
            SameSite::Strict => cookie::SameSite::Strict,
            SameSite::None => cookie::SameSite::None,
        };
        let mut cookie = Cookie::new(&*self.name, value);
        cookie.set_path("/");
        cookie.set_http_only(true);
        cookie.set_secure(self.settings.secure);
        cookie.set_same_site(same_site);
        if let Some(domain) = &self.settings.domain {
            cookie.set_domain(domain);
        }
        cookie
    }
}

/// The name with its prefix.
fn prefixed(settings: &CookieSettings) -> Result<String> {
    let config = |what| Err(Error::new(ErrorKind::Config, what));
    let CookieSettings { name, secure, domain, .. } = settings;
    if name.starts_with("__Host-") {
        return match (secure, domain) {
            (true, None) => Ok(name.clone()),
            _ => config("a __Host- cookie is secure and has no domain"),
        };
    }
    if name.starts_with("__Secure-") {
        return if *secure { Ok(name.clone()) } else { config("a __Secure- cookie is secure") };
    }
    // Browsers take prefixes in any case, and more of them come: all are written `__Name-`.
    if name.starts_with("__") {
        return config("a cookie name begins with __Host-, __Secure- or no prefix");
    }
    let prefix = match (secure, domain) {
        (true, None) => "__Host-",
        (true, Some(_)) => "__Secure-",
        (false, _) => "",
    };
    Ok(format!("{prefix}{name}"))
}

fn is_host_name(text: &str) -> bool {
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    !text.is_empty() && text.bytes().all(is_host)
}

fn header(cookie: &Cookie<'_>) -> Result<HeaderValue> {
    let mut value = HeaderValue::try_from(cookie.to_string())
        .map_err(|_| Error::new(ErrorKind::Internal, "the session cookie is no header value"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(settings: CookieSettings) -> SessionCookie {
        SessionCookie::new(settings).unwrap()
    }

    fn carrying(cookies: &[&'static [u8]]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in cookies {
            headers.append(COOKIE, HeaderValue::from_bytes(value).unwrap());
        }
        cookie(CookieSettings::default()).token(&headers)
    }

    #[test]
    fn the_prefix_follows_from_secure_and_domain() {
        let default = CookieSettings::default();
        assert_eq!(cookie(default.clone()).name(), "__Host-session");
        let domain = CookieSettings { domain: Some("example.org".into()), ..default.clone() };
        assert_eq!(cookie(domain).name(), "__Secure-session");
        assert_eq!(cookie(CookieSettings { secure: false, ..default }).name(), "session");
    }

    #[test]
    fn a_prefix_that_is_given_is_kept() {
        let named = |name: &str, domain: Option<&str>| {
            let domain = domain.map(str::to_owned);
            let settings =
                CookieSettings { name: name.into(), domain, ..CookieSettings::default() };
            cookie(settings).name().to_owned()
        };
        assert_eq!(named("__Host-id", None), "__Host-id");
        assert_eq!(named("__Secure-id", None), "__Secure-id");
        assert_eq!(named("__Secure-id", Some("example.org")), "__Secure-id");
    }

    #[test]
    fn a_set_cookie_header_is_known_by_its_name() {
        let ours = cookie(CookieSettings::default());
        let is_ours = |text| ours.is_set_by(&HeaderValue::from_static(text));
        assert!(is_ours("__Host-session=x; Path=/"));
        assert!(is_ours(" __Host-session =; Max-Age=0"));
        assert!(!is_ours("__Host-session2=x"));
        assert!(!is_ours("other=__Host-session=x"));
        assert!(!is_ours("__Host-session"));
    }

    #[test]
    fn contradictions_are_refused() {
        let default = CookieSettings::default();
        let wrong = [
            CookieSettings { same_site: SameSite::None, secure: false, ..default.clone() },
            CookieSettings { name: String::new(), ..default.clone() },
            CookieSettings { name: "a;b".into(), ..default.clone() },
            CookieSettings { domain: Some("a; Path=/x".into()), ..default.clone() },
            CookieSettings { domain: Some(String::new()), ..default.clone() },
            CookieSettings {
                name: "__Host-id".into(),
                domain: Some("example.org".into()),
                ..default.clone()
            },
            CookieSettings { name: "__Host-id".into(), secure: false, ..default.clone() },
            CookieSettings { name: "__Secure-id".into(), secure: false, ..default.clone() },
            CookieSettings { name: "__host-id".into(), ..default.clone() },
            CookieSettings { name: "__Http-id".into(), ..default },
        ];
        for settings in wrong {
            assert_eq!(SessionCookie::new(settings).unwrap_err().kind(), ErrorKind::Config);
        }
    }

    #[test]
    fn a_deletion_has_the_attributes_of_what_it_deletes() {
        let settings =
            CookieSettings { domain: Some("example.org".into()), ..CookieSettings::default() };
        let cookie = cookie(settings);
        let attributes = |value: HeaderValue| {
            let text = value.to_str().unwrap().to_owned();
            let mut all: Vec<_> = text.split("; ").skip(1).map(str::to_owned).collect();
            all.retain(|each| !each.starts_with("Max-Age") && !each.starts_with("Expires"));
            all.sort();
            all
        };
        let set = attributes(cookie.holding(&SessionToken::new("token".into())).unwrap());
        assert_eq!(set, ["Domain=example.org", "HttpOnly", "Path=/", "SameSite=Lax", "Secure"]);
        assert_eq!(attributes(cookie.deletion().unwrap()), set);
        let deletion = cookie.deletion().unwrap();
        assert!(deletion.to_str().unwrap().starts_with("__Secure-session=;"));
        assert!(deletion.to_str().unwrap().contains("Max-Age=0"));
        assert!(deletion.is_sensitive());
    }

    /// One cookie of another application, written by a script in Latin-1, logged everybody out.
    #[test]
    fn a_foreign_cookie_that_is_no_text_does_not_matter() {
        let foreign = b"theme=caf\xe9; __Host-session=token; x=\xff";
        assert_eq!(carrying(&[foreign]).as_deref(), Some("token"));
        assert_eq!(carrying(&[b"\xff", b"__Host-session=token"]).as_deref(), Some("token"));
    }

    #[test]
    fn one_cookie_of_the_name_is_read_and_two_are_none() {
        assert_eq!(carrying(&[b"a=1; __Host-session=token; b=2"]).as_deref(), Some("token"));
        assert_eq!(carrying(&[b"a=1", b"__Host-session=token"]).as_deref(), Some("token"));
        assert_eq!(carrying(&[b"session=token; __host-session=token"]), None);
        assert_eq!(carrying(&[b"__Host-session=one; __Host-session=one"]), None);
        assert_eq!(carrying(&[b"__Host-session=one", b"__Host-session=two"]), None);
        assert_eq!(carrying(&[b"__Host-session=one", b"x=\xff; __Host-session=two"]), None);
        assert_eq!(carrying(&[]), None);
        assert_eq!(carrying(&[b" \t__Host-session \t= token\t "]).as_deref(), Some("token"));
        assert_eq!(carrying(&[b"__Host-session=token\xff"]), None);
        assert_eq!(carrying(&["\u{a0}__Host-session=token".as_bytes()]), None);
        let hidden = "__Host-session=one; \u{a0}__Host-session=two".as_bytes();
        assert_eq!(carrying(&[hidden]).as_deref(), Some("one"));
        assert_eq!(carrying(&[b";;;=;=x; ="]), None);
    }
}
