//! The metrics, as a scraper sees them.

use std::time::Duration;

use crate::support::{Act, Told};
use metrics_exporter_prometheus::PrometheusBuilder;
use watchdog_core::health::CheckReport;
use watchdog_health::{CheckSpec, Health};

#[test]
fn every_check_has_status_age_duration_and_transitions() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let scrape = recorder.handle();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let db = Told::pass();
            let spec = CheckSpec::new("db").with_hysteresis(1, 1);
            let health = Health::builder().check(spec, db.port()).build().unwrap();
            tokio::time::sleep(Duration::from_secs(12)).await;
            db.now(Act::Answer(CheckReport::fail("down")));
            tokio::time::sleep(Duration::from_secs(12)).await;
            drop(health);
        });
    });
    let text = scrape.render();
    for line in [
        "watchdog_health_status{check=\"db\"} 3",
        "watchdog_health_transitions_total{check=\"db\"} 1",
        "watchdog_health_age_seconds{check=\"db\"} ",
        "watchdog_health_check_duration_seconds_count{check=\"db\"} ",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}
