//! What the metrics tell.

#![cfg(test)]

use metrics_exporter_prometheus::PrometheusBuilder;
use watchdog_core::KeyRing;
use watchdog_session::{Client, Sessions, Subject};

#[tokio::test]
async fn operations_verdicts_and_reuse_are_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _recorder = metrics::set_default_local_recorder(&recorder);
    let keys = KeyRing::ephemeral().unwrap();
    let sessions = Sessions::builder(&keys).build().unwrap();
    let client = Client::unknown();
    let issued = sessions.issue(Subject::user("alice"), &client).await.unwrap();
    let first = issued.refresh_token.expose();
    let second = sessions.rotate(first, &client).await.unwrap().refresh_token;
    sessions.rotate(first, &client).await.unwrap();
    sessions.rotate(second.expose(), &client).await.unwrap();
    sessions.rotate(first, &client).await.unwrap_err();
    sessions.authenticate("forged", &client).await.unwrap_err();
    let text = handle.render();
    for line in [
        r#"watchdog_session_operations_total{operation="issue",outcome="ok"} 1"#,
        r#"watchdog_session_operations_total{operation="rotate",outcome="ok"} 3"#,
        r#"watchdog_session_operations_total{operation="rotate",outcome="reused"} 1"#,
        r#"watchdog_session_operations_total{operation="authenticate",outcome="invalid"} 1"#,
        r#"watchdog_session_rotations_total{verdict="rotated"} 2"#,
        r#"watchdog_session_rotations_total{verdict="reuse"} 1"#,
        "watchdog_session_reuse_total 1",
        "watchdog_session_grace_used_total 1",
        r#"watchdog_session_operation_duration_seconds_count{operation="rotate"} 4"#,
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains("alice"));
}
