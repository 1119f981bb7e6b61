//! When an entry is acknowledged, and how long the spool keeps it, without I/O.

use std::time::Duration;

use crate::config::{AuditConfig, Durability};

/// The store that is a file of this process: what it acknowledged is synced, and nobody replaces it.
const EMBEDDED: &str = "embedded";

/// What the writer holds to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) durability: Durability,
    pub(crate) replicas: u8,
    pub(crate) replication_timeout: Duration,
    /// Whether the spool keeps what the store has, until the archive has it.
    pub(crate) keeps_until_archived: bool,
    /// Whether the store may lose what it acknowledged.
    pub(crate) doubts: bool,
}

impl Policy {
    pub(crate) fn new(config: &AuditConfig, store: &str, is_archived: bool) -> Self {
        Self {
            durability: config.durability,
            replicas: config.replicas,
            replication_timeout: config.replication_timeout,
            keeps_until_archived: is_archived && config.durability == Durability::Spool,
            doubts: store != EMBEDDED,
        }
    }

    /// Whether every entry goes to the spool first.
    pub(crate) fn spools_first(self) -> bool {
        self.durability == Durability::Spool
    }

    /// Whether an entry that is in the spool alone is acknowledged.
    pub(crate) fn spool_acknowledges(self) -> bool {
        self.durability != Durability::Replicated
    }

    /// Whether replicas are asked before an entry is acknowledged.
    pub(crate) fn asks_replicas(self) -> bool {
        self.durability == Durability::Replicated
    }
}

/// Whether a log has a spool at all. The embedded store is on the same disk: a spool beside it
/// would help when it is asked for only.
pub(crate) fn has_spool(durability: Durability, store: &str) -> bool {
    durability == Durability::Spool || store != EMBEDDED
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(durability: Durability, is_archived: bool) -> Policy {
        Policy::new(&AuditConfig { durability, ..AuditConfig::default() }, "redis", is_archived)
    }

    #[test]
    fn each_durability_has_its_rules() {
        use Durability::{Replicated, Spool, Store};
        for (durability, first, acknowledges, asks) in [
            (Store, false, true, false),
            (Replicated, false, false, true),
            (Spool, true, true, false),
        ] {
            let policy = policy(durability, true);
            assert_eq!(policy.spools_first(), first, "{durability:?}");
            assert_eq!(policy.spool_acknowledges(), acknowledges, "{durability:?}");
            assert_eq!(policy.asks_replicas(), asks, "{durability:?}");
        }
    }

    #[test]
    fn the_spool_keeps_until_the_archive_has_it_where_there_is_one() {
        assert!(policy(Durability::Spool, true).keeps_until_archived);
        assert!(!policy(Durability::Spool, false).keeps_until_archived);
        assert!(!policy(Durability::Store, true).keeps_until_archived);
    }

    #[test]
    fn the_embedded_store_is_not_doubted() {
        let doubts = |store| Policy::new(&AuditConfig::default(), store, true).doubts;
        assert!(doubts("redis"));
        assert!(!doubts("embedded"));
    }

    #[test]
    fn the_embedded_store_has_a_spool_when_it_is_asked_for() {
        assert!(has_spool(Durability::Store, "redis"));
        assert!(!has_spool(Durability::Store, "embedded"));
        assert!(has_spool(Durability::Spool, "embedded"));
    }
}
