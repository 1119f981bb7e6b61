//! The health of a Redis deployment.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::Mutex;
use watchdog_core::HealthCheck;
use watchdog_core::health::CheckReport;

use super::Redis;
use crate::error::ErrorKind;

/// How long the probe waits for its answer, whatever the command timeout.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the eviction policy is believed.
const POLICY_AGE: Duration = Duration::from_secs(300);

/// A probe of a Redis deployment: one `PING`.
///
/// Fails when it is not answered within a second. Warns when the server may evict keys, as with
/// every `maxmemory-policy` but `noeviction`: sessions have a time to live, so that `volatile-*`
/// loses them silently too. Warns also when the server does not tell its policy. With a Cluster
/// one of its primaries answers.
#[derive(Debug)]
pub struct RedisHealth {
    redis: Redis,
    policy: Mutex<Option<(Instant, Option<String>)>>,
}

impl RedisHealth {
    pub(super) fn new(redis: Redis) -> Self {
        Self { redis, policy: Mutex::new(None) }
    }

    /// The eviction policy, asked for rarely; `None` where the server does not tell.
    async fn policy(&self) -> Option<String> {
        let mut known = self.policy.lock().await;
        if let Some((asked, policy)) = &*known
            && asked.elapsed() < POLICY_AGE
        {
            return policy.clone();
        }
        let policy = tokio::time::timeout(PATIENCE, self.redis.maxmemory_policy()).await;
        let policy = policy.ok()?.ok()?;
        *known = Some((Instant::now(), policy.clone()));
        policy
    }
}

#[async_trait]
impl HealthCheck for RedisHealth {
    async fn check(&self) -> CheckReport {
        let start = Instant::now();
        match tokio::time::timeout(PATIENCE, self.redis.ping()).await {
            Err(_) => return CheckReport::fail("no answer within a second"),
            Ok(Err(error)) => return CheckReport::fail(reason(error.kind())),
            Ok(Ok(())) => {}
        }
        let millis = start.elapsed().as_secs_f64() * 1_000.0;
        let report = match self.policy().await {
            Some(policy) => judge(&policy),
            None => CheckReport::warn(
                "maxmemory-policy cannot be read: make sure that it is noeviction",
            ),
        };
        report.with_observation("round_trip_ms", millis)
    }
}

/// Every policy but one takes keys away without a word when the memory is full.
fn judge(policy: &str) -> CheckReport {
    match policy {
        "noeviction" => CheckReport::pass(),
        _ => CheckReport::warn(format!(
            "maxmemory-policy {policy} may evict sessions and audit entries; set noeviction, or \
             volatile-ttl only for a Redis that holds nothing but the audit log"
        )),
    }
}

fn reason(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Denied => "the server refuses the credentials",
        ErrorKind::Refusing => "the server refuses commands",
        ErrorKind::Saturated => "too many calls in flight",
        ErrorKind::CommandTimeout => "no answer in time",
        _ => "not reachable",
    }
}

#[cfg(test)]
mod tests {
    use watchdog_core::health::Status;

    use super::*;

    #[test]
    fn only_noeviction_keeps_sessions() {
        assert_eq!(judge("noeviction").status, Status::Pass);
        for policy in ["allkeys-lru", "volatile-lru", "volatile-ttl", "volatile-random"] {
            let report = judge(policy);
            assert_eq!(report.status, Status::Warn, "{policy}");
            assert!(report.output.is_some_and(|text| text.contains(policy)));
        }
    }
}
