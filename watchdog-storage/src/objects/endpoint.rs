//! Where an S3 store is: pure decisions about endpoint, scheme and addressing style.

use url::{Host, Url};

/// Why an endpoint cannot be used. Never holds the endpoint: somebody may have put a password into
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// Not a host, a host and port, or an `http(s)` URL.
    Malformed,
    /// A user, a password, a query or a fragment in the URL.
    Extra,
}

/// Reads a host, a host and port, or a URL. `secure` decides the scheme where none is given.
pub(super) fn parse(text: &str, secure: bool) -> Result<Url, Unusable> {
    let full = match (text.contains("://"), secure) {
        (true, _) => text.to_owned(),
        (false, true) => format!("https://{text}"),
        (false, false) => format!("http://{text}"),
    };
    let url = Url::parse(&full).map_err(|_| Unusable::Malformed)?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(Unusable::Malformed);
    }
    let bare = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if bare { Ok(url) } else { Err(Unusable::Extra) }
}

/// Whether the text itself says `http://` or `https://`, and which.
pub(super) fn stated_secure(text: &str) -> Option<bool> {
    let (scheme, _) = text.split_once("://")?;
    Some(scheme.eq_ignore_ascii_case("https"))
}

/// Whether the bucket goes into the path instead of the host name.
///
/// Path style unless AWS itself is meant: stores of one's own rarely have a wildcard host name. A
/// dot in the bucket's name breaks the wildcard certificate of AWS.
pub(super) fn is_path_style(stated: Option<bool>, has_endpoint: bool, bucket: &str) -> bool {
    stated.unwrap_or(has_endpoint || bucket.contains('.'))
}

/// The endpoint with the bucket in its host name, `None` when the host is an address.
pub(super) fn with_bucket_in_host(endpoint: &Url, bucket: &str) -> Option<Url> {
    let Some(Host::Domain(domain)) = endpoint.host() else { return None };
    let mut url = endpoint.clone();
    url.set_host(Some(&format!("{bucket}.{domain}"))).ok()?;
    Some(url)
}

/// Whether a name follows the rules for buckets of AWS: 3 to 63 of `a-z 0-9 . -`, beginning and
/// ending with a letter or digit, no two dots together, not an IPv4 address.
pub(super) fn is_bucket_name(name: &str) -> bool {
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    (3..=63).contains(&bytes.len())
        && bytes.iter().all(|&byte| is_alphanumeric(byte) || byte == b'.' || byte == b'-')
        && bytes.first().is_some_and(|&byte| is_alphanumeric(byte))
        && bytes.last().is_some_and(|&byte| is_alphanumeric(byte))
        && !name.contains("..")
        && name.parse::<std::net::Ipv4Addr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, secure: bool) -> String {
        parse(text, secure).map_or_else(|error| format!("{error:?}"), |url| url.to_string())
    }

    #[test]
    fn an_endpoint_is_a_host_or_a_url() {
        assert_eq!(read("minio:9000", true), "https://minio:9000/");
        assert_eq!(read("minio:9000/", false), "http://minio:9000/");
        assert_eq!(read("http://minio:9000", true), "http://minio:9000/");
        assert_eq!(read("HTTPS://s3.example.com", false), "https://s3.example.com/");
        assert_eq!(read("[::1]:9000", false), "http://[::1]:9000/");
        assert_eq!(
            read("https://x.example/storage/v1/s3/", true),
            "https://x.example/storage/v1/s3/"
        );
    }

    #[test]
    fn what_is_no_endpoint_is_refused_without_being_repeated() {
        for text in ["", "ftp://minio", "min io", "minio:70000", "https://", "://"] {
            assert_eq!(parse(text, true), Err(Unusable::Malformed), "{text:?}");
        }
        for text in ["https://user:pw@minio", "user@minio", "minio?a=b", "minio#a"] {
            assert_eq!(parse(text, true), Err(Unusable::Extra), "{text:?}");
        }
    }

    #[test]
    fn a_stated_scheme_is_found() {
        assert_eq!(stated_secure("http://a"), Some(false));
        assert_eq!(stated_secure("HTTPS://a"), Some(true));
        assert_eq!(stated_secure("a:9000"), None);
    }

    #[test]
    fn the_bucket_is_in_the_path_unless_aws_is_meant() {
        assert!(is_path_style(None, true, "bucket"));
        assert!(!is_path_style(None, false, "bucket"));
        assert!(is_path_style(None, false, "my.bucket"));
        assert!(!is_path_style(Some(false), true, "bucket"));
        assert!(is_path_style(Some(true), false, "bucket"));
    }

    #[test]
    fn a_bucket_goes_into_a_host_name_but_not_into_an_address() {
        let host = |text| with_bucket_in_host(&parse(text, true).unwrap(), "b-1").map(String::from);
        assert_eq!(host("s3.example.com:444").as_deref(), Some("https://b-1.s3.example.com:444/"));
        assert_eq!(host("127.0.0.1:9000"), None);
        assert_eq!(host("[::1]:9000"), None);
    }

    #[test]
    fn bucket_names_follow_the_rules_of_aws() {
        for name in ["abc", "my-bucket.logs", "0aa", &"a".repeat(63)] {
            assert!(is_bucket_name(name), "{name}");
        }
        for name in ["ab", "Abc", "-ab", "ab-", "a..b", "10.0.0.1", "a_b", "ä-b", &"a".repeat(64)]
        {
            assert!(!is_bucket_name(name), "{name}");
        }
    }
}
