//! What the seam counts: in a process of its own, since the recorder is one for the process.

use metrics_exporter_prometheus::PrometheusBuilder;
use watchdog_storage::redis::{Invalidations, Redis, RedisConfig, Script};
use watchdog_storage::testing::eventually;
use watchdog_storage::testing::proxy::FaultProxy;
use watchdog_storage::testing::redis::{RedisServer, is_available};

static WRONG: Script = Script::new("test.wrong.v1", "return redis.call('GET')");

/// Tracking counts by itself.
struct Nobody;

impl Invalidations for Nobody {
    fn changed(&self, _: &[u8]) {}
    fn lost(&self) {}
    fn restored(&self) {}
}

#[tokio::test]
async fn commands_errors_durations_reconnects_and_fallbacks() {
    if !is_available() {
        return;
    }
    let recorder = PrometheusBuilder::new().install_recorder().unwrap();
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port()).await.unwrap();
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let redis = Redis::connect(&RedisConfig::from_url(&url).unwrap()).await.unwrap();
    let key = redis.keys().key("k", "t", &["personal data"]);
    redis.get(&key).await.unwrap();
    redis.get(&key).await.unwrap();
    redis.call(&WRONG, &[&key], &[]).await.unwrap_err();
    proxy.cut_once().await;
    redis.ping().await.unwrap();
    let has = |line: &str| recorder.render().lines().any(|found| found == line);
    eventually("the reconnect is counted", std::time::Duration::from_secs(5), async || {
        has("watchdog_storage_redis_reconnects_total 1")
    })
    .await;
    for line in [
        "watchdog_storage_redis_commands_total{command=\"GET\",outcome=\"ok\"} 2",
        "watchdog_storage_redis_commands_total{command=\"test.wrong.v1\",outcome=\"error\"} 1",
        "watchdog_storage_redis_errors_total{kind=\"unexpected\"} 1",
        "watchdog_storage_redis_script_fallbacks_total{script=\"test.wrong.v1\"} 1",
        "watchdog_storage_redis_command_duration_seconds_count{command=\"GET\"} 2",
        "# TYPE watchdog_storage_redis_commands_total counter",
    ] {
        assert!(has(line), "{line} is missing in\n{}", recorder.render());
    }
    let tracking = redis.track(&["wd:k:"], std::sync::Arc::new(Nobody));
    let counts = async |line: &str| {
        let line = format!("watchdog_storage_redis_tracking_{line}");
        eventually(&line, std::time::Duration::from_secs(5), async || has(&line)).await;
    };
    counts("connected 1").await;
    counts("losses_total 0").await;
    redis.set(&key, "x".into(), None).await.unwrap();
    counts("invalidations_total 1").await;
    proxy.cut_once().await;
    counts("losses_total 1").await;
    counts("connected 1").await;
    drop(tracking);
    counts("connected 0").await;
    // A call that its caller drops is counted, too.
    drop(redis.get(&key));
    server.pause();
    let dropped = tokio::time::timeout(std::time::Duration::from_millis(20), redis.get(&key)).await;
    assert!(dropped.is_err());
    assert!(has("watchdog_storage_redis_commands_total{command=\"GET\",outcome=\"cancelled\"} 1"));
    assert!(!recorder.render().contains("personal"));
}
