//! The ids of a request, as its headers say them.

use axum::http::HeaderMap;

/// The header with the id of a request, in requests and answers.
pub const REQUEST_ID: &str = "x-request-id";

/// Longest request id that is taken from a header, in bytes.
pub(super) const MAX_REQUEST_ID: usize = 128;

/// The id that a request brings along, when it is one word of printable ASCII.
pub(super) fn given_request_id(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(REQUEST_ID).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let id = value.to_str().ok()?;
    let is_one = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic());
    (is_one && id.len() <= MAX_REQUEST_ID).then_some(id)
}

/// The trace id of a `traceparent` header (W3C Trace Context, section 3.2): 32 digits, not all
/// zero. The caller says it, and nobody vouches for it.
pub(super) fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all("traceparent").iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let mut parts = value.to_str().ok()?.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let (parent, flags) = (parts.next()?, parts.next()?);
    let is_known =
        is_hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
    (is_known && is_id(trace, 32) && is_id(parent, 16) && is_hex(flags, 2)).then_some(trace)
}

fn is_id(text: &str, digits: usize) -> bool {
    is_hex(text, digits) && text.bytes().any(|byte| byte != b'0')
}

fn is_hex(text: &str, digits: usize) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == digits && text.bytes().all(is_digit)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn with(name: &'static str, values: &[&str]) -> HeaderMap {
        let name = HeaderName::from_static(name);
        let value = |value: &&str| (name.clone(), HeaderValue::from_str(value).unwrap());
        values.iter().map(value).collect()
    }

    #[test]
    fn a_trace_id_is_taken_from_a_whole_traceparent_only() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let read = |values: &[&str]| trace_id(&with("traceparent", values)).map(str::to_owned);
        let whole = format!("00-{trace}-00f067aa0ba902b7-01");
        assert_eq!(read(&[&whole]).as_deref(), Some(trace));
        let later = format!("01-{trace}-00f067aa0ba902b7-01-more");
        assert_eq!(read(&[&later]).as_deref(), Some(trace), "a later version may say more");
        let zero = "0".repeat(32);
        for broken in [
            format!("ff-{trace}-00f067aa0ba902b7-01"),
            format!("00-{zero}-00f067aa0ba902b7-01"),
            format!("00-{trace}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()),
            format!("00-{trace}-00f067aa0ba902b7-1"),
            format!("00-{trace}-00f067aa0ba902b7-01-more"),
            format!("00-{trace}-00f067aa0ba902b7"),
            format!("00-{trace}"),
            String::new(),
        ] {
            assert_eq!(read(&[&broken]), None, "{broken}");
        }
        assert_eq!(read(&[&whole, &whole]), None, "two are none");
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn a_request_id_is_one_short_word() {
        let read = |values: &[&str]| given_request_id(&with(REQUEST_ID, values)).map(str::to_owned);
        assert_eq!(read(&["a-1"]).as_deref(), Some("a-1"));
        let longest = "x".repeat(MAX_REQUEST_ID);
        assert_eq!(read(&[&longest]), Some(longest.clone()));
        assert_eq!(read(&[&format!("{longest}x")]), None);
        for broken in ["", "two words", "tab\there"] {
            assert_eq!(read(&[broken]), None, "{broken}");
        }
        assert_eq!(read(&["a", "b"]), None, "two are none");
    }
}
