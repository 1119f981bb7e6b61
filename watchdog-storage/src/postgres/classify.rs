//! What an error of the driver means to a caller.

use sqlx::migrate::MigrateError;

use crate::error::{Error, ErrorKind};

/// Gives an error of a query its kind, so that code which runs its own queries treats errors like
/// the rest of the SDK does.
///
/// The driver's error becomes the [`source`](std::error::Error::source). The message of the server
/// stays there: it may quote a value of the statement.
pub fn classify(error: sqlx::Error) -> Error {
    let (kind, context) = explain(&error);
    Error::new(kind, context).with_source(error)
}

impl From<sqlx::Error> for Error {
    /// As [`classify`].
    fn from(error: sqlx::Error) -> Self {
        classify(error)
    }
}

fn explain(error: &sqlx::Error) -> (ErrorKind, String) {
    use sqlx::Error as Driver;

    let (kind, text) = match error {
        Driver::Database(error) => {
            let code = error.code().unwrap_or_default();
            let (kind, text) = if is_refused_setting(&code, error.message()) {
                (ErrorKind::Config, "PgBouncer refused a setting of the sign-in: set pgbouncer")
            } else {
                explain_state(&code)
            };
            return (kind, format!("{text} (SQLSTATE {code})"));
        }
        Driver::Migrate(error) => return explain_migration(error),
        // How the TLS layer reports a certificate that it does not accept.
        Driver::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            (ErrorKind::Config, "the certificate of the database server was refused")
        }
        Driver::Io(_) => (ErrorKind::Unavailable, "the database server cannot be reached"),
        Driver::Tls(_) => (ErrorKind::Config, "no TLS with the database server"),
        Driver::Configuration(_) | Driver::ConfigFile(_) => {
            (ErrorKind::Config, "the database settings do not work")
        }
        Driver::RowNotFound => (ErrorKind::NotFound, "no such row"),
        Driver::PoolTimedOut => (ErrorKind::AcquireTimeout, "no connection became free in time"),
        Driver::PoolClosed => (ErrorKind::Unavailable, "the connection pool is closed"),
        Driver::WorkerCrashed => (ErrorKind::Unavailable, "the database driver stopped"),
        Driver::BeginFailed => (ErrorKind::Unexpected, "the transaction did not begin"),
        Driver::InvalidArgument(_)
        | Driver::TypeNotFound { .. }
        | Driver::ColumnIndexOutOfBounds { .. }
        | Driver::ColumnNotFound(_)
        | Driver::Encode(_)
        | Driver::InvalidSavePointStatement => {
            (ErrorKind::Misuse, "the query does not fit its statement")
        }
        Driver::ColumnDecode { .. } | Driver::Decode(_) => {
            (ErrorKind::Unexpected, "the answer is of another type than the query asked for")
        }
        _ => (ErrorKind::Unexpected, "the answer of the database server makes no sense"),
    };
    (kind, text.to_owned())
}

/// `PgBouncer` has one code for all that it says, a wait that took too long included.
fn is_refused_setting(code: &str, message: &str) -> bool {
    code == "08P01" && message.starts_with("unsupported startup parameter")
}

/// What a SQLSTATE means, see appendix A of the PostgreSQL manual.
fn explain_state(code: &str) -> (ErrorKind, &'static str) {
    match code {
        "23505" | "23P01" => (ErrorKind::AlreadyExists, "a row with this key exists already"),
        "25006" => (ErrorKind::Refusing, "the database is read only"),
        "25P02" => {
            (ErrorKind::Precondition, "a statement of the transaction failed: nothing of it lasts")
        }
        "25P03" | "25P04" => (ErrorKind::Unavailable, "the database server ended the connection"),
        "40001" | "40P01" => {
            (ErrorKind::Refusing, "the transaction lost against another one: run it again")
        }
        "3D000" | "57P04" => (ErrorKind::NotFound, "there is no such database"),
        "42P01" => (ErrorKind::NotFound, "there is no such table: have the migrations run?"),
        "42501" => (ErrorKind::Denied, "the role may not do this"),
        "42P04" | "42P06" | "42P07" | "42710" => (ErrorKind::AlreadyExists, "it exists already"),
        "53300" => (ErrorKind::Refusing, "the database server has no connection to spare"),
        "55P03" => (ErrorKind::CommandTimeout, "a lock did not become free in time"),
        "57014" => (ErrorKind::CommandTimeout, "the server cancelled the statement in time"),
        "57P03" => (ErrorKind::Refusing, "the database server is starting or stopping"),
        "XX001" | "XX002" => (ErrorKind::Corrupt, "the database server found its files damaged"),
        _ => explain_class(code.get(..2).unwrap_or_default()),
    }
}

fn explain_class(class: &str) -> (ErrorKind, &'static str) {
    match class {
        "08" | "57" => (ErrorKind::Unavailable, "the database server ended the connection"),
        "28" => (ErrorKind::Denied, "the database server refused the sign-in"),
        "23" => (ErrorKind::Precondition, "the change would break a rule of the table"),
        "53" => (ErrorKind::Refusing, "the database server is out of a resource"),
        "0A" | "22" | "25" | "42" => {
            (ErrorKind::Misuse, "the database server refused the statement")
        }
        _ => (ErrorKind::Unexpected, "the database server reported an error"),
    }
}

/// Gives an error of the migrations its kind and names the version.
pub(super) fn classify_migration(error: MigrateError) -> Error {
    let (kind, context) = explain_migration(&error);
    Error::new(kind, context).with_source(error)
}

fn explain_migration(error: &MigrateError) -> (ErrorKind, String) {
    match error {
        MigrateError::VersionMismatch(version) => (
            ErrorKind::Precondition,
            format!(
                "migration {version} was applied with another content: \
                 undo the change and put it into a new migration"
            ),
        ),
        MigrateError::VersionMissing(version) => (
            ErrorKind::Precondition,
            format!(
                "migration {version} was applied, and this program does not have it: \
                 the database is newer than the program"
            ),
        ),
        MigrateError::Dirty(version) => (
            ErrorKind::Precondition,
            format!("migration {version} was applied in part and must be mended by hand"),
        ),
        MigrateError::ExecuteMigration(error, version) => {
            let (kind, text) = explain(error);
            (kind, format!("migration {version} failed: {text}"))
        }
        MigrateError::Execute(error) => {
            let (kind, text) = explain(error);
            (kind, format!("the migrations failed: {text}"))
        }
        MigrateError::Source(_) => (ErrorKind::Config, "the migrations cannot be read".to_owned()),
        _ => (ErrorKind::Unexpected, "the migrations failed".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::io;

    use super::*;

    #[test]
    fn states_have_the_kind_of_what_they_mean() {
        for (code, kind) in [
            ("57014", ErrorKind::CommandTimeout),
            ("55P03", ErrorKind::CommandTimeout),
            ("28P01", ErrorKind::Denied),
            ("28000", ErrorKind::Denied),
            ("42501", ErrorKind::Denied),
            ("57P03", ErrorKind::Refusing),
            ("53300", ErrorKind::Refusing),
            ("53200", ErrorKind::Refusing),
            ("25006", ErrorKind::Refusing),
            ("40001", ErrorKind::Refusing),
            ("40P01", ErrorKind::Refusing),
            ("57P01", ErrorKind::Unavailable),
            ("08006", ErrorKind::Unavailable),
            ("25P03", ErrorKind::Unavailable),
            ("25P04", ErrorKind::Unavailable),
            ("25P02", ErrorKind::Precondition),
            ("25001", ErrorKind::Misuse),
            ("23505", ErrorKind::AlreadyExists),
            ("42P07", ErrorKind::AlreadyExists),
            ("23503", ErrorKind::Precondition),
            ("3D000", ErrorKind::NotFound),
            ("42P01", ErrorKind::NotFound),
            ("42601", ErrorKind::Misuse),
            ("22P02", ErrorKind::Misuse),
            ("XX001", ErrorKind::Corrupt),
            ("XX000", ErrorKind::Unexpected),
            ("", ErrorKind::Unexpected),
        ] {
            assert_eq!(explain_state(code).0, kind, "{code}");
        }
    }

    #[test]
    fn a_setting_that_pgbouncer_refuses_is_told_from_its_other_errors() {
        let refused = "unsupported startup parameter in options: statement_timeout";
        assert!(is_refused_setting("08P01", refused));
        assert!(!is_refused_setting("08P01", "query_wait_timeout"));
        assert!(!is_refused_setting("08006", refused));
    }

    #[test]
    fn broken_connections_are_told_from_refused_certificates() {
        let broken = classify(sqlx::Error::Io(io::ErrorKind::ConnectionReset.into()));
        assert_eq!(broken.kind(), ErrorKind::Unavailable);
        assert!(broken.is_retryable());
        let refused = classify(sqlx::Error::Io(io::ErrorKind::InvalidData.into()));
        assert_eq!(refused.kind(), ErrorKind::Config);
        assert!(!refused.is_retryable());
    }

    #[test]
    fn the_driver_is_the_source_and_not_repeated() {
        let error = classify(sqlx::Error::Protocol("quoted value".into()));
        assert!(!error.to_string().contains("quoted value"));
        assert!(error.source().is_some_and(|source| source.to_string().contains("quoted value")));
    }

    #[test]
    fn errors_of_migrations_name_the_version() {
        for error in [
            MigrateError::VersionMismatch(7),
            MigrateError::VersionMissing(7),
            MigrateError::Dirty(7),
            MigrateError::ExecuteMigration(sqlx::Error::RowNotFound, 7),
        ] {
            assert!(classify_migration(error).to_string().contains("migration 7 "));
        }
    }
}
