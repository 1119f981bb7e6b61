//! What the seam counts and measures.
//!
//! Handles are looked up at each use, which works when the recorder is installed after the client
//! connected; the keys they are looked up by are made once for what is called often.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{
    Key, Label, Level, Metadata, Unit, counter, describe_counter, describe_gauge,
    describe_histogram, gauge, with_recorder,
};

use crate::error::ErrorKind;

const COMMANDS: &str = "watchdog_storage_redis_commands_total";
const DURATION: &str = "watchdog_storage_redis_command_duration_seconds";
const ERRORS: &str = "watchdog_storage_redis_errors_total";
const CONNECTION_ERRORS: &str = "watchdog_storage_redis_connection_errors_total";
const RECONNECTS: &str = "watchdog_storage_redis_reconnects_total";
const RESTARTS: &str = "watchdog_storage_redis_client_restarts_total";
const FALLBACKS: &str = "watchdog_storage_redis_script_fallbacks_total";

const TRACKING_LOSSES: &str = "watchdog_storage_redis_tracking_losses_total";
const TRACKING_INVALIDATIONS: &str = "watchdog_storage_redis_tracking_invalidations_total";
const TRACKING_CONNECTED: &str = "watchdog_storage_redis_tracking_connected";

pub(super) fn describe() {
    describe_counter!(COMMANDS, Unit::Count, "Commands and scripts by name and outcome");
    describe_histogram!(
        DURATION,
        Unit::Seconds,
        "Time from call to answer, waiting and repeated attempts included"
    );
    describe_counter!(ERRORS, Unit::Count, "Failed commands and scripts by kind of error");
    describe_counter!(CONNECTION_ERRORS, Unit::Count, "Broken connections by kind of error");
    describe_counter!(RECONNECTS, Unit::Count, "Connections made again");
    describe_counter!(
        RESTARTS,
        Unit::Count,
        "Clients replaced: they stopped for good, or a server hung"
    );
    describe_counter!(FALLBACKS, Unit::Count, "Scripts sent in full because a server forgot them");
}

pub(super) fn describe_tracking() {
    describe_counter!(TRACKING_LOSSES, Unit::Count, "Times that changes may have been missed");
    describe_counter!(TRACKING_INVALIDATIONS, Unit::Count, "Changed keys the servers told of");
    describe_gauge!(TRACKING_CONNECTED, Unit::Count, "Connections that are told of changes");
    counter!(TRACKING_LOSSES).increment(0);
    gauge!(TRACKING_CONNECTED).increment(0.0);
}

static METADATA: Metadata<'static> =
    Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// What one command or script is measured by: its name and the keys of its metrics.
#[derive(Clone, Debug)]
pub(super) struct Meter(Arc<Keys>);

#[derive(Debug)]
struct Keys {
    name: &'static str,
    succeeded: Key,
    duration: Key,
}

impl From<&'static str> for Meter {
    fn from(name: &'static str) -> Self {
        let duration = Key::from_parts(DURATION, vec![Label::new("command", name)]);
        Self(Arc::new(Keys { name, succeeded: outcome(name, "ok"), duration }))
    }
}

fn outcome(command: &'static str, outcome: &'static str) -> Key {
    let labels = vec![Label::new("command", command), Label::new("outcome", outcome)];
    Key::from_parts(COMMANDS, labels)
}

/// A running command. One that is dropped before its end counts as cancelled.
pub(super) struct Timing {
    meter: Meter,
    start: Instant,
    outcome: &'static str,
}

impl Timing {
    pub(super) fn start(meter: Meter) -> Self {
        Self { meter, start: Instant::now(), outcome: "cancelled" }
    }

    pub(super) fn name(&self) -> &'static str {
        self.meter.0.name
    }

    pub(super) fn succeeded(mut self) {
        self.outcome = "ok";
    }

    pub(super) fn failed(mut self, kind: ErrorKind) {
        self.outcome = "error";
        counter!(ERRORS, "kind" => label(kind)).increment(1);
    }
}

impl Drop for Timing {
    fn drop(&mut self) {
        let elapsed: Duration = self.start.elapsed();
        let count = |key: &Key| {
            with_recorder(|recorder| recorder.register_counter(key, &METADATA)).increment(1);
        };
        match self.outcome {
            "ok" => count(&self.meter.0.succeeded),
            other => count(&outcome(self.meter.0.name, other)),
        }
        with_recorder(|recorder| recorder.register_histogram(&self.meter.0.duration, &METADATA))
            .record(elapsed.as_secs_f64());
    }
}

pub(super) fn reconnected(times: u64) {
    counter!(RECONNECTS).increment(times);
}

pub(super) fn connection_failed(kind: ErrorKind) {
    counter!(CONNECTION_ERRORS, "kind" => label(kind)).increment(1);
}

pub(super) fn restarted() {
    counter!(RESTARTS).increment(1);
}

pub(super) fn fell_back(script: &'static str) {
    counter!(FALLBACKS, "script" => script).increment(1);
}

pub(super) fn tracking_lost() {
    counter!(TRACKING_LOSSES).increment(1);
}

pub(super) fn invalidated() {
    counter!(TRACKING_INVALIDATIONS).increment(1);
}

pub(super) fn tracked(more: f64) {
    gauge!(TRACKING_CONNECTED).increment(more);
}

fn label(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::ConnectTimeout => "connect_timeout",
        ErrorKind::Saturated => "saturated",
        ErrorKind::CommandTimeout => "command_timeout",
        ErrorKind::Denied => "denied",
        ErrorKind::Refusing => "refusing",
        ErrorKind::Config => "config",
        ErrorKind::Misuse => "misuse",
        _ => "unexpected",
    }
}
