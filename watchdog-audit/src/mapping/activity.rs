//! Which class of OCSF an entry belongs to, and which activity of it: tables alone.

use watchdog_core::audit::{Category, Entry, Outcome};

/// A class of OCSF events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    AccountChange,
    Authentication,
    ApiActivity,
    DatastoreActivity,
}

impl Class {
    pub(super) fn of(entry: &Entry) -> Self {
        let domain = entry.action.split('.').next().unwrap_or_default();
        let resource = entry.resource.kind.as_str();
        match (domain, resource) {
            ("auth" | "session", _) => Self::Authentication,
            ("account" | "user", "account" | "user") => Self::AccountChange,
            (_, "table" | "database" | "bucket") if entry.category == Category::Database => {
                Self::DatastoreActivity
            }
            _ => Self::ApiActivity,
        }
    }

    pub(super) fn uid(self) -> u64 {
        match self {
            Self::AccountChange => 3001,
            Self::Authentication => 3002,
            Self::ApiActivity => 6003,
            Self::DatastoreActivity => 6005,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::AccountChange => "Account Change",
            Self::Authentication => "Authentication",
            Self::ApiActivity => "API Activity",
            Self::DatastoreActivity => "Datastore Activity",
        }
    }

    pub(super) fn category(self) -> (u64, &'static str) {
        match self {
            Self::AccountChange | Self::Authentication => (3, "Identity & Access Management"),
            Self::ApiActivity | Self::DatastoreActivity => (6, "Application Activity"),
        }
    }

    /// What each activity is called by the schema, and by the words of our actions.
    fn activities(self) -> &'static [(u64, &'static str, &'static [&'static str])] {
        match self {
            Self::Authentication => &[
                (1, "Logon", &["login", "issued"]),
                (2, "Logoff", &["logout", "revoked", "expired", "evicted", "ended"]),
            ],
            // `mfa` and `password` come before the verbs that they qualify.
            Self::AccountChange => &[
                (10, "MFA Factor Enable", &["mfa_enabled"]),
                (11, "MFA Factor Disable", &["mfa_disabled"]),
                (3, "Password Change", &["password_changed"]),
                (4, "Password Reset", &["password_reset"]),
                (1, "Create", &["created", "registered"]),
                (2, "Enable", &["enabled"]),
                (5, "Disable", &["disabled"]),
                (6, "Delete", &["deleted", "removed", "erased"]),
                (7, "Attach Policy", &["granted", "assigned"]),
                (8, "Detach Policy", &["withdrawn"]),
                (9, "Lock", &["locked"]),
            ],
            Self::ApiActivity => &[
                (1, "Create", &["created", "added", "issued", "uploaded", "post"]),
                (2, "Read", &["read", "listed", "queried", "exported", "get", "head", "options"]),
                (3, "Update", &["updated", "written", "changed", "renamed", "put", "patch"]),
                (4, "Delete", &["deleted", "removed", "erased", "delete"]),
            ],
            Self::DatastoreActivity => &[
                (1, "Read", &["read", "exported"]),
                (2, "Update", &["updated", "changed", "altered", "migrated"]),
                (3, "Connect", &["connected"]),
                (4, "Query", &["queried"]),
                (5, "Write", &["written", "inserted", "restored"]),
                (6, "Create", &["created"]),
                (7, "Delete", &["deleted", "dropped", "removed", "erased"]),
            ],
        }
    }

    /// The activity of an action: 99 with a name of ours where the schema has none.
    pub(super) fn activity(self, action: &str) -> (u64, &str) {
        let verb = action.rsplit('.').next().unwrap_or(action);
        let is_named = |word: &&str| {
            let edges = (verb.strip_suffix(*word), verb.strip_prefix(*word));
            let ends = edges.0.is_some_and(|before| before.is_empty() || before.ends_with('_'));
            ends || edges.1.is_some_and(|after| after.starts_with('_'))
        };
        let mut known = self.activities().iter();
        match known.find(|(_, _, words)| words.iter().any(is_named)) {
            Some((id, name, _)) => (*id, name),
            None if verb.is_empty() => (0, "Unknown"),
            None => (99, verb),
        }
    }
}

/// How much it matters, as OCSF counts: thefts and losses most.
pub(super) fn severity(entry: &Entry) -> (u64, &'static str) {
    const GRAVE: [&str; 4] = [
        "session.refresh_token_reused",
        "session.events_dropped",
        "audit.entries_lost",
        "audit.writer_superseded",
    ];
    match entry.outcome {
        _ if GRAVE.contains(&entry.action.as_str()) => (4, "High"),
        Outcome::Success => (1, "Informational"),
        Outcome::Denied if entry.category == Category::Security => (3, "Medium"),
        Outcome::Denied | Outcome::Failure => (2, "Low"),
        _ => (0, "Unknown"),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;
    use watchdog_core::Timestamp;
    use watchdog_core::audit::{Actor, Resource};

    use super::*;

    fn entry(category: Category, action: &str, kind: &str) -> Entry {
        let resource = Resource::new(kind, "1");
        Entry::new(Uuid::nil(), Timestamp::UNIX_EPOCH, category, Actor::user("a"), action, resource)
    }

    #[test]
    fn the_class_and_the_activity_follow_from_the_action() {
        use Category::{Access, Application, Database, Security};
        for (category, action, kind, uid, activity) in [
            (Security, "auth.login", "account", 3002, 1),
            (Security, "auth.logout_all", "account", 3002, 2),
            (Security, "session.issued", "session", 3002, 1),
            (Security, "session.everybody_revoked", "session", 3002, 2),
            (Security, "session.refreshed", "session", 3002, 99),
            (Security, "account.created", "account", 3001, 1),
            (Security, "user.password_changed", "user", 3001, 3),
            (Security, "user.mfa_disabled", "user", 3001, 11),
            (Security, "user.role_granted", "user", 3001, 7),
            (Application, "user.invited", "note", 6003, 99),
            (Database, "schema.migrated", "database", 6005, 2),
            (Database, "rows.deleted", "table", 6005, 7),
            (Database, "rows.deleted", "row", 6003, 4),
            (Application, "rows.deleted", "table", 6003, 4),
            (Application, "file.written", "file", 6003, 3),
            (Access, "http.get", "route", 6003, 2),
            (Access, "http.post", "route", 6003, 1),
            (Access, "http.other", "route", 6003, 99),
            (Security, "audit.subject_erased", "subject", 6003, 4),
            (Application, "note.", "note", 6003, 0),
            (Application, "", "", 6003, 0),
            // `read` is a word of its own, and no part of another.
            (Application, "note.spread", "note", 6003, 99),
        ] {
            let entry = entry(category, action, kind);
            let class = Class::of(&entry);
            assert_eq!((class.uid(), class.activity(action).0), (uid, activity), "{action}");
        }
        assert_eq!(Class::ApiActivity.activity("note.pinned"), (99, "pinned"));
    }

    #[test]
    fn thefts_and_losses_matter_most() {
        let of = |category, action, outcome| {
            severity(&entry(category, action, "x").with_outcome(outcome)).0
        };
        assert_eq!(of(Category::Security, "session.refresh_token_reused", Outcome::Denied), 4);
        assert_eq!(of(Category::Security, "audit.entries_lost", Outcome::Failure), 4);
        assert_eq!(of(Category::Security, "auth.login", Outcome::Denied), 3);
        assert_eq!(of(Category::Access, "http.get", Outcome::Denied), 2);
        assert_eq!(of(Category::Access, "http.get", Outcome::Failure), 2);
        assert_eq!(of(Category::Access, "http.get", Outcome::Success), 1);
        assert_eq!(of(Category::Access, "http.get", Outcome::Unknown), 0);
    }
}
