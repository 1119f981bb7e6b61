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
/// Fails when it is not answered within a second; warns when the server may evict keys that have
/// no time to live (`allkeys-*`), since that loses sessions and audit entries silently. With a
/// Cluster one of its primaries answers.
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
            Some(policy) if policy.starts_with("allkeys-") => CheckReport::warn(format!(
                "maxmemory-policy {policy} may evict sessions and audit entries; \
                 set volatile-ttl or noeviction"
            )),
            _ => CheckReport::pass(),
        };
        report.with_observation("round_trip_ms", millis)
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
