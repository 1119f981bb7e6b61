//! The registry of checks and what it says.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use watchdog_core::health::{HealthCheck, Status};
use watchdog_core::{Clock, SystemClock};

use crate::error::{Error, Result};
use crate::metrics;
use crate::pulse::{self, Pulse};
use crate::runner;
use crate::slot::{CheckState, Slot};
use crate::spec::CheckSpec;
use crate::state::State;
use crate::task::Task;

/// The health of one process: registered checks, probed in the background.
///
/// A clone shares the checks. With the last clone the probing ends.
#[derive(Clone, Debug)]
pub struct Health {
    state: Arc<State>,
    _tasks: Arc<Vec<Task<()>>>,
}

impl Health {
    /// Begins a registry.
    pub fn builder() -> HealthBuilder {
        HealthBuilder::default()
    }

    /// Whether the process itself works: its runtime ran the heartbeat lately. No check and no
    /// dependency has a say.
    pub fn liveness(&self) -> Status {
        self.state.pulse.status()
    }

    /// Whether the process should get traffic: pass, warn or fail. Fails while draining.
    pub fn readiness(&self) -> Status {
        if self.is_draining() {
            return Status::Fail;
        }
        self.state.status(|slot| slot.spec.readiness)
    }

    /// Whether the process has started: every check has a first result and every critical startup
    /// check has passed. Stays so for good.
    pub fn startup(&self) -> Status {
        if self.state.started.load(Ordering::Relaxed) { Status::Pass } else { Status::Fail }
    }

    /// The status over all checks: pass, warn or fail.
    pub fn overall(&self) -> Status {
        self.state.status(|_| true)
    }

    /// One check, `None` when there is none of that name.
    pub fn check(&self, name: &str) -> Option<CheckState> {
        self.slot(name).map(|slot| slot.state(Instant::now()))
    }

    /// Every check, in the order of registration.
    pub fn checks(&self) -> Vec<CheckState> {
        let now = Instant::now();
        self.state.slots.iter().map(|slot| slot.state(now)).collect()
    }

    /// Waits until every check has its first result, at most the longest timeout.
    pub async fn first_results(&self) {
        for slot in &self.state.slots {
            slot.first_result().await;
        }
    }

    /// Makes readiness fail from now on, so that no new traffic comes. Call it first at shutdown,
    /// wait until load balancers have noticed, then close. There is no way back.
    pub fn drain(&self) {
        if !self.state.draining.swap(true, Ordering::Relaxed) {
            tracing::info!("draining: readiness fails from now on");
        }
    }

    /// Whether [`Health::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.state.is_draining()
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn slot(&self, name: &str) -> Option<&Slot> {
        self.state.slots.iter().find(|slot| slot.spec.name == name)
    }
}

/// Collects the checks of a [`Health`].
#[derive(Debug)]
#[must_use]
pub struct HealthBuilder {
    checks: Vec<(CheckSpec, Arc<dyn HealthCheck>)>,
    clock: Arc<dyn Clock>,
    service_id: Option<String>,
    release_id: Option<String>,
    stall_limit: Duration,
}

impl Default for HealthBuilder {
    fn default() -> Self {
        Self {
            checks: Vec::new(),
            clock: Arc::new(SystemClock),
            service_id: None,
            release_id: None,
            stall_limit: Duration::from_secs(10),
        }
    }
}

impl HealthBuilder {
    /// Registers a check.
    pub fn check(mut self, spec: CheckSpec, check: Arc<dyn HealthCheck>) -> Self {
        self.checks.push((spec, check));
        self
    }

    /// The `serviceId` of detailed reports.
    pub fn with_service_id(mut self, id: impl Into<String>) -> Self {
        self.service_id = Some(id.into());
        self
    }

    /// The `releaseId` of detailed reports, such as the version of the service.
    pub fn with_release_id(mut self, id: impl Into<String>) -> Self {
        self.release_id = Some(id.into());
        self
    }

    /// How long the runtime may go without a heartbeat before liveness fails; 10 s by default, at
    /// least 2 s.
    pub fn with_stall_limit(mut self, limit: Duration) -> Self {
        self.stall_limit = limit;
        self
    }

    /// The wall clock of the times in reports. Ages and timeouts use the monotonic clock.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Starts probing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with every problem at once: a name that is
    /// taken or malformed, an interval or timeout of zero, a timeout that is not below its
    /// interval, a hysteresis of zero results, a stall limit below 2 s.
    /// [`ErrorKind::NoRuntime`](crate::ErrorKind::NoRuntime) outside a tokio runtime.
    pub fn build(self) -> Result<Health> {
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(Error::config(&problems));
        }
        tokio::runtime::Handle::try_current().map_err(Error::no_runtime)?;
        metrics::describe();
        let (specs, checks): (Vec<_>, Vec<_>) = self.checks.into_iter().unzip();
        let state = Arc::new(State {
            slots: specs.into_iter().map(Slot::new).collect(),
            pulse: Pulse::new(self.stall_limit),
            clock: self.clock,
            service_id: self.service_id,
            release_id: self.release_id,
            draining: AtomicBool::new(false),
            started: AtomicBool::new(false),
        });
        state.latch_started();
        let mut tasks = vec![Task::spawn(pulse::run(Arc::clone(&state)))];
        for (position, check) in checks.into_iter().enumerate() {
            tasks.push(Task::spawn(runner::run(Arc::clone(&state), position, check)));
        }
        Ok(Health { state, _tasks: Arc::new(tasks) })
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut names = HashSet::new();
        for (spec, _) in &self.checks {
            spec.problems(&mut problems);
            if !names.insert(&spec.name) {
                problems.push(format!("check name {:?} is taken twice", spec.name));
            }
        }
        if self.stall_limit < 2 * pulse::BEAT {
            problems.push(format!(
                "a stall limit of {:?} is below two heartbeats, {:?}",
                self.stall_limit,
                2 * pulse::BEAT
            ));
        }
        problems
    }
}
