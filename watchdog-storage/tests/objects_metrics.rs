//! What `Objects` counts.

use metrics_exporter_prometheus::PrometheusBuilder;
use watchdog_storage::objects::Objects;

#[test]
fn calls_are_counted_and_timed_by_operation_and_outcome() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let scrape = recorder.handle();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let objects = Objects::memory();
            objects.put("a", "1".into()).await.unwrap();
            objects.get("a").await.unwrap();
            objects.get("b").await.unwrap_err();
            objects.put_if_absent("a", "1".into()).await.unwrap();
        });
    });
    let text = scrape.render();
    for line in [
        "# HELP watchdog_storage_objects_requests_total ",
        r#"watchdog_storage_objects_requests_total{operation="put",outcome="ok"} 1"#,
        r#"watchdog_storage_objects_requests_total{operation="get",outcome="ok"} 1"#,
        r#"watchdog_storage_objects_requests_total{operation="get",outcome="not_found"} 1"#,
        r#"watchdog_storage_objects_requests_total{operation="create",outcome="conflict"} 1"#,
        r#"watchdog_storage_objects_duration_seconds_count{operation="put"} 1"#,
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}
