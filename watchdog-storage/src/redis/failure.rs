//! What an error of the client or the server means to a caller.

use fred::error::{Error as ClientError, ErrorKind as ClientKind};

use crate::error::{Error, ErrorKind};

/// What the server or the client said, cut to a length that logs can hold.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Said(String);

/// Longest message of a server that is kept, in characters.
const MESSAGE_LIMIT: usize = 200;

/// The error of a call that failed. `what` names the command or script.
pub(super) fn error(what: &str, error: &ClientError) -> Error {
    Error::new(kind(error), format!("{what} failed")).with_source(Said(message(error)))
}

/// Whether the server does not know the script of an `EVALSHA`.
pub(super) fn is_unknown_script(error: &ClientError) -> bool {
    error.details().starts_with("NOSCRIPT")
}

fn message(error: &ClientError) -> String {
    // The server repeats the arguments of a command it does not know, and they may be anything.
    let details = error.details().split(", with args beginning with").next().unwrap_or_default();
    details.chars().take(MESSAGE_LIMIT).collect()
}

/// The kind of an error: the server's first word decides, then the client's own classes.
pub(super) fn kind(error: &ClientError) -> ErrorKind {
    let code = error.details().split([' ', ':']).next().unwrap_or_default();
    match code {
        "NOAUTH" | "WRONGPASS" | "NOPERM" | "DENIED" => return ErrorKind::Denied,
        "OOM" | "READONLY" | "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "MISCONF" | "BUSY"
        | "NOREPLICAS" | "TRYAGAIN" => return ErrorKind::Refusing,
        _ => {}
    }
    match error.kind() {
        ClientKind::Auth => ErrorKind::Denied,
        ClientKind::Backpressure => ErrorKind::Saturated,
        ClientKind::Timeout => ErrorKind::CommandTimeout,
        ClientKind::Config | ClientKind::Url => ErrorKind::Config,
        ClientKind::IO
        | ClientKind::Tls
        | ClientKind::Canceled
        | ClientKind::Cluster
        | ClientKind::Routing
        | ClientKind::Sentinel => ErrorKind::Unavailable,
        // What the client calls unknown is an answer of the server, except for these of its own.
        ClientKind::Unknown if is_lost(error.details()) => ErrorKind::Unavailable,
        _ => ErrorKind::Unexpected,
    }
}

fn is_lost(details: &str) -> bool {
    details.starts_with("Too many failed write attempts")
        || details.starts_with("Client is not initialized")
        || details.starts_with("Failed to send command to router")
        || details.starts_with("channel closed")
}
