//! Whether the server may throw away what is not archived.

use watchdog_storage::redis::Redis;

use crate::error::{Error, ErrorKind, Result, storage};

/// Refuses a server that evicts what has no life that ends.
pub(crate) async fn refuse_evicting(redis: &Redis) -> Result<()> {
    let policy = redis.maxmemory_policy().await;
    match policy.map_err(storage("redis did not tell its eviction policy"))? {
        Some(policy) if policy.starts_with("allkeys-") => Err(Error::new(
            ErrorKind::Config,
            format_args!(
                "redis runs with maxmemory-policy {policy}, which evicts entries that are not \
                 archived and keys of subjects: set it to noeviction or volatile-ttl (CONFIG SET \
                 maxmemory-policy noeviction), or give the audit log a redis of its own"
            ),
        )),
        Some(_) => Ok(()),
        None => {
            tracing::warn!(
                "redis does not tell its maxmemory-policy: make sure that it is noeviction or \
                 volatile-*, any other evicts audit entries"
            );
            Ok(())
        }
    }
}
