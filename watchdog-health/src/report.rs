//! Reports in the shape of draft-inadarei-api-health-check-06.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use watchdog_core::Timestamp;
use watchdog_core::health::Status;

use crate::fold::Impact;
use crate::health::Health;
use crate::slot::{CheckState, Slot};
use crate::state::State;

/// A detailed report. Serialises to `application/health+json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Report {
    /// Pass, warn or fail.
    pub status: Status,
    /// Name of the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_id: Option<String>,
    /// Release of the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release_id: Option<String>,
    /// What a reader should know besides: `draining`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The checks by name, and their numbers as `name:number`.
    pub checks: BTreeMap<String, Vec<Check>>,
}

impl Report {
    /// The HTTP status that goes with the report: 200 for pass and warn, 503 for fail.
    pub fn http_status(&self) -> u16 {
        http_status(self.status)
    }
}

pub(crate) fn http_status(status: Status) -> u16 {
    match status {
        Status::Pass | Status::Warn => 200,
        Status::Unknown | Status::Fail => 503,
    }
}

/// One check of a [`Report`], or one number of a check.
///
/// `status`, `time`, `output` and `observedValue` are the draft's; `impact`, `lastResult`,
/// `ageSeconds` and `durationSeconds` extend it. `status` may be `unknown`, which the draft leaves
/// room for ("SHOULD use").
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Check {
    /// How the check stands, damped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// What the last probe said, undamped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_result: Option<Status>,
    /// What the check's trouble does to the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impact: Option<Impact>,
    /// When the last result came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// Age of the last result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<f64>,
    /// Time the last probe took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<f64>,
    /// A number the check measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_value: Option<f64>,
    /// Why, when it is anything but a pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

/// Which part of a [`Health`] is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum View<'a> {
    Liveness,
    Readiness,
    Startup,
    All,
    One(&'a Slot),
}

/// A [`Health`] seen from one endpoint.
#[derive(Debug)]
pub(crate) struct Viewed<'a> {
    health: &'a Health,
    view: View<'a>,
}

/// For a web framework other than axum: what the endpoints answer to callers who may see details.
impl Health {
    /// `/livez`.
    pub fn liveness_report(&self) -> Report {
        self.view(View::Liveness).report()
    }

    /// `/readyz`.
    pub fn readiness_report(&self) -> Report {
        self.view(View::Readiness).report()
    }

    /// `/startupz`.
    pub fn startup_report(&self) -> Report {
        self.view(View::Startup).report()
    }

    /// `/health`.
    pub fn report(&self) -> Report {
        self.view(View::All).report()
    }

    /// `/health/{name}`, `None` when there is no check of that name. Asked about alone, every
    /// check counts as critical.
    pub fn check_report(&self, name: &str) -> Option<Report> {
        self.slot(name).map(|slot| self.view(View::One(slot)).report())
    }

    pub(crate) fn view<'a>(&'a self, view: View<'a>) -> Viewed<'a> {
        Viewed { health: self, view }
    }
}

impl Viewed<'_> {
    /// Pass, warn or fail.
    pub(crate) fn status(&self) -> Status {
        match self.view {
            View::Liveness => self.health.liveness(),
            View::Readiness => self.health.readiness(),
            View::Startup => self.health.startup(),
            View::All => self.health.overall(),
            View::One(slot) => State::status_alone(slot),
        }
    }

    pub(crate) fn report(&self) -> Report {
        let state = self.health.state();
        let draining = state.is_draining() && !matches!(self.view, View::Liveness);
        Report {
            status: self.status(),
            service_id: state.service_id.clone(),
            release_id: state.release_id.clone(),
            notes: if draining { vec!["draining".to_owned()] } else { Vec::new() },
            checks: self.checks(),
        }
    }

    fn checks(&self) -> BTreeMap<String, Vec<Check>> {
        if matches!(self.view, View::Liveness) {
            let pulse = &self.health.state().pulse;
            let check = Check {
                status: Some(pulse.status()),
                age_seconds: Some(pulse.age().as_secs_f64()),
                ..Check::default()
            };
            return BTreeMap::from([("runtime".to_owned(), vec![check])]);
        }
        let now = tokio::time::Instant::now();
        self.health
            .state()
            .slots
            .iter()
            .filter(|slot| self.shows(slot))
            .flat_map(|slot| entries(slot.state(now)))
            .collect()
    }

    fn shows(&self, slot: &Slot) -> bool {
        match self.view {
            View::Liveness => false,
            View::Readiness => slot.spec.readiness,
            View::Startup => slot.spec.startup,
            View::All => true,
            View::One(one) => one.spec.name == slot.spec.name,
        }
    }
}

/// The check itself, then its numbers.
fn entries(state: CheckState) -> Vec<(String, Vec<Check>)> {
    let output = output(&state);
    let (last_result, observations) =
        state.last.map_or((None, BTreeMap::new()), |last| (Some(last.status), last.observations));
    let check = Check {
        status: Some(state.status),
        last_result,
        impact: Some(state.impact),
        time: state.time,
        age_seconds: state.age.as_ref().map(Duration::as_secs_f64),
        duration_seconds: state.duration.as_ref().map(Duration::as_secs_f64),
        observed_value: None,
        output,
    };
    let numbers = observations.into_iter().map(|(name, value)| {
        let number = Check { observed_value: Some(value), time: state.time, ..Check::default() };
        (format!("{}:{name}", state.name), vec![number])
    });
    std::iter::once((state.name.clone(), vec![check])).chain(numbers).collect()
}

/// Why the check stands as it does.
fn output(state: &CheckState) -> Option<String> {
    if state.is_stale() {
        return Some(format!("no probe has finished for {:?}", state.stale_after));
    }
    match &state.last {
        None => Some("no result yet".to_owned()),
        Some(last) => last.output.clone(),
    }
}
