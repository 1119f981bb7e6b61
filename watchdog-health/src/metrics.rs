//! The metrics of this crate. The one label is the name of a registered check.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use watchdog_core::health::Status;

use crate::slot::CheckState;

const STATUS: &str = "watchdog_health_status";
const AGE: &str = "watchdog_health_age_seconds";
const DURATION: &str = "watchdog_health_check_duration_seconds";
const TRANSITIONS: &str = "watchdog_health_transitions_total";

pub(crate) fn describe() {
    describe_gauge!(STATUS, "How a check stands: 0 pass, 1 warn, 2 unknown, 3 fail");
    describe_gauge!(AGE, Unit::Seconds, "Age of a check's last result");
    describe_histogram!(DURATION, Unit::Seconds, "Time one probe took");
    describe_counter!(TRANSITIONS, "Changes of a check's shown status");
}

/// After each probe.
pub(crate) fn probed(check: &str, duration: Duration) {
    histogram!(DURATION, "check" => check.to_owned()).record(duration.as_secs_f64());
}

/// After each change of the shown status.
pub(crate) fn changed(check: &str) {
    counter!(TRANSITIONS, "check" => check.to_owned()).increment(1);
}

/// At each heartbeat.
pub(crate) fn standing(state: &CheckState) {
    let status = match state.status {
        Status::Pass => 0.0,
        Status::Warn => 1.0,
        Status::Unknown => 2.0,
        Status::Fail => 3.0,
    };
    gauge!(STATUS, "check" => state.name.clone()).set(status);
    if let Some(age) = state.age {
        gauge!(AGE, "check" => state.name.clone()).set(age.as_secs_f64());
    }
}
