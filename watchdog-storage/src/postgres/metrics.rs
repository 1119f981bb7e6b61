//! The metrics of the pool. The one place that knows their names.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use super::stats::PoolStats;

const CONNECTIONS: &str = "watchdog_storage_postgres_connections";
const CONNECTIONS_MAX: &str = "watchdog_storage_postgres_connections_max";
const IN_USE: &str = "watchdog_storage_postgres_connections_in_use";
const IDLE: &str = "watchdog_storage_postgres_connections_idle";
const WAITING: &str = "watchdog_storage_postgres_acquires_waiting";
const ACQUIRE_SECONDS: &str = "watchdog_storage_postgres_acquire_wait_seconds";
const TIMEOUTS: &str = "watchdog_storage_postgres_timeouts_total";
const REFUSED: &str = "watchdog_storage_postgres_acquires_refused_total";
const CONNECTS: &str = "watchdog_storage_postgres_connects_total";
const DISCARDED: &str = "watchdog_storage_postgres_connections_discarded_total";

/// Describes all of them to the recorder in force.
pub(super) fn describe() {
    describe_gauge!(CONNECTIONS, Unit::Count, "Open connections of the pool.");
    describe_gauge!(CONNECTIONS_MAX, Unit::Count, "The greatest number of connections.");
    describe_gauge!(
        IN_USE,
        Unit::Count,
        "Connections lent out, being opened or on their way back."
    );
    describe_gauge!(IDLE, Unit::Count, "Open connections that nobody uses.");
    describe_gauge!(WAITING, Unit::Count, "Calls that wait for a connection.");
    describe_histogram!(ACQUIRE_SECONDS, Unit::Seconds, "How long calls waited for a place.");
    describe_counter!(TIMEOUTS, Unit::Count, "Timeouts, by kind: acquire, connect, check.");
    describe_counter!(REFUSED, Unit::Count, "Calls refused because the queue was full.");
    describe_counter!(CONNECTS, Unit::Count, "Connections opened, by outcome: success, failure.");
    describe_counter!(DISCARDED, Unit::Count, "Connections thrown away because they were broken.");
}

/// Shows how the pool of a database stands.
pub(super) fn show(database: &str, stats: PoolStats) {
    let set = |name: &'static str, value: usize| {
        #[expect(clippy::cast_precision_loss, reason = "no pool has 2^53 connections")]
        gauge!(name, "database" => database.to_owned()).set(value as f64);
    };
    set(CONNECTIONS, stats.connections);
    set(CONNECTIONS_MAX, stats.max);
    set(IN_USE, stats.in_use);
    set(IDLE, stats.idle);
    set(WAITING, stats.waiting);
}

pub(super) fn waited(time: Duration) {
    histogram!(ACQUIRE_SECONDS).record(time.as_secs_f64());
}

pub(super) fn timed_out(kind: &'static str) {
    counter!(TIMEOUTS, "kind" => kind).increment(1);
}

pub(super) fn refused() {
    counter!(REFUSED).increment(1);
}

pub(super) fn connect_ended(success: bool) {
    counter!(CONNECTS, "outcome" => if success { "success" } else { "failure" }).increment(1);
}

pub(super) fn discarded() {
    counter!(DISCARDED).increment(1);
}
