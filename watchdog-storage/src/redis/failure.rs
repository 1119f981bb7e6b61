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
    if error.details().starts_with("ERR max number of clients reached")
        || is_moving(error.details())
    {
        return ErrorKind::Refusing;
    }
    match error.kind() {
        ClientKind::IO if is_refused_tls(error.details()) => ErrorKind::Config,
        ClientKind::Auth => ErrorKind::Denied,
        ClientKind::Backpressure => ErrorKind::Saturated,
        ClientKind::Timeout => ErrorKind::CommandTimeout,
        ClientKind::Config | ClientKind::Url | ClientKind::Tls => ErrorKind::Config,
        ClientKind::IO
        | ClientKind::Canceled
        | ClientKind::Cluster
        | ClientKind::Routing
        | ClientKind::Sentinel => ErrorKind::Unavailable,
        // What the client calls unknown is an answer of the server, except for these of its own.
        ClientKind::Unknown if is_lost(error.details()) => ErrorKind::Unavailable,
        // A Cluster whose nodes do not agree yet who takes over from a primary.
        ClientKind::Protocol if is_headless(error.details()) => ErrorKind::Unavailable,
        _ => ErrorKind::Unexpected,
    }
}

/// What the client makes of a handshake that cannot succeed: the debug form of an I/O error around
/// one of rustls. The last is a server that does not speak TLS.
fn is_refused_tls(details: &str) -> bool {
    const AROUND: &str = "Custom { kind: InvalidData, error: ";
    details.strip_prefix(AROUND).is_some_and(|error| {
        ["InvalidCertificate(", "PeerIncompatible(", "InvalidMessage(InvalidContentType"]
            .iter()
            .any(|refused| error.starts_with(refused))
    })
}

/// A script met a key that is on its way to another shard.
fn is_moving(details: &str) -> bool {
    details.starts_with("ERR ") && details.contains("cript attempted to access a non local key")
}

fn is_lost(details: &str) -> bool {
    details.starts_with("Too many failed write attempts")
        || details.starts_with("Client is not initialized")
        || details.starts_with("Failed to send command to router")
        || details.starts_with("Failed to route command")
        || details.starts_with("channel closed")
}

fn is_headless(details: &str) -> bool {
    details.starts_with("Invalid or missing cluster state")
        || details.starts_with("Invalid or missing CLUSTER SLOTS response")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the client makes of a line of the server, see its `pretty_error`.
    fn from_server(line: &'static str) -> ClientError {
        let kind = match line.split(' ').next() {
            Some("NOAUTH" | "WRONGPASS") => ClientKind::Auth,
            Some("CLUSTERDOWN" | "MOVED" | "ASK") => ClientKind::Cluster,
            Some("WRONGTYPE") => ClientKind::InvalidArgument,
            _ => ClientKind::Unknown,
        };
        ClientError::new(kind, line)
    }

    #[test]
    fn the_first_word_of_the_server_decides() {
        for (line, expected) in [
            ("NOAUTH Authentication required.", ErrorKind::Denied),
            ("WRONGPASS invalid username-password pair", ErrorKind::Denied),
            ("NOPERM this user has no permissions", ErrorKind::Denied),
            ("OOM command not allowed when used memory > 'maxmemory'.", ErrorKind::Refusing),
            ("READONLY You can't write against a read only replica.", ErrorKind::Refusing),
            ("LOADING Redis is loading the dataset in memory", ErrorKind::Refusing),
            ("MASTERDOWN Link with MASTER is down", ErrorKind::Refusing),
            ("CLUSTERDOWN The cluster is down", ErrorKind::Refusing),
            ("MISCONF Redis is configured to save RDB snapshots", ErrorKind::Refusing),
            ("BUSY Redis is busy running a script", ErrorKind::Refusing),
            ("NOREPLICAS Not enough good replicas to write.", ErrorKind::Refusing),
            ("TRYAGAIN Multiple keys request during rehashing", ErrorKind::Refusing),
            ("ERR max number of clients reached", ErrorKind::Refusing),
            (
                "ERR Script attempted to access a non local key in a cluster node script: 5f, on \
                 @user_script:7.",
                ErrorKind::Refusing,
            ),
            ("ASK 3999 127.0.0.1:6381", ErrorKind::Unavailable),
            ("ERR unknown command 'FOO'", ErrorKind::Unexpected),
            ("WRONGTYPE Operation against a key", ErrorKind::Unexpected),
            ("OOMPH is no code of Redis", ErrorKind::Unexpected),
            // The client's own: it has no connection to write to just then.
            ("Failed to route command.", ErrorKind::Unavailable),
            ("", ErrorKind::Unexpected),
        ] {
            assert_eq!(kind(&from_server(line)), expected, "{line}");
        }
    }

    #[test]
    fn the_classes_of_the_client_follow() {
        for (class, expected) in [
            (ClientKind::Auth, ErrorKind::Denied),
            (ClientKind::Backpressure, ErrorKind::Saturated),
            (ClientKind::Timeout, ErrorKind::CommandTimeout),
            (ClientKind::Config, ErrorKind::Config),
            (ClientKind::Url, ErrorKind::Config),
            (ClientKind::IO, ErrorKind::Unavailable),
            (ClientKind::Tls, ErrorKind::Config),
            (ClientKind::Canceled, ErrorKind::Unavailable),
            (ClientKind::Cluster, ErrorKind::Unavailable),
            (ClientKind::Routing, ErrorKind::Unavailable),
            (ClientKind::Sentinel, ErrorKind::Unavailable),
            (ClientKind::Protocol, ErrorKind::Unexpected),
            (ClientKind::Parse, ErrorKind::Unexpected),
            (ClientKind::InvalidArgument, ErrorKind::Unexpected),
        ] {
            assert_eq!(kind(&ClientError::new(class.clone(), "x")), expected, "{class:?}");
        }
        for (details, expected) in [
            ("InvalidCertificate(UnknownIssuer)", ErrorKind::Config),
            ("InvalidMessage(InvalidContentType)", ErrorKind::Config),
            ("\"broken\"", ErrorKind::Unavailable),
        ] {
            let details = format!("Custom {{ kind: InvalidData, error: {details} }}");
            assert_eq!(kind(&ClientError::new(ClientKind::IO, details)), expected);
        }
        for headless in
            ["Invalid or missing cluster state.", "Invalid or missing CLUSTER SLOTS response."]
        {
            let error = ClientError::new(ClientKind::Protocol, headless);
            assert_eq!(kind(&error), ErrorKind::Unavailable);
        }
        for lost in
            ["Too many failed write attempts.", "Client is not initialized.", "channel closed"]
        {
            assert_eq!(kind(&ClientError::new(ClientKind::Unknown, lost)), ErrorKind::Unavailable);
        }
    }

    #[test]
    fn a_forgotten_script_is_known_by_its_code() {
        assert!(is_unknown_script(&from_server("NOSCRIPT No matching script. Please use EVAL.")));
        assert!(!is_unknown_script(&from_server("ERR Error running script")));
    }

    #[test]
    fn the_arguments_of_a_command_stay_out_of_the_error() {
        let line = "ERR unknown command 'FOO', with args beginning with: 'hunter2' ";
        let error = error("foo.v1", &from_server(line));
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(source, "ERR unknown command 'FOO'");
        assert_eq!(error.to_string(), "foo.v1 failed");
        assert!(!format!("{error:?}").contains("hunter2"));
    }

    #[test]
    fn long_messages_are_cut() {
        let long: String = "é".repeat(500);
        let error = error("x", &ClientError::new(ClientKind::Unknown, long));
        assert_eq!(std::error::Error::source(&error).unwrap().to_string().chars().count(), 200);
    }
}
