//! Which requests are recorded, and when their answers may go: decisions alone.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest;
use axum::http::{Method, StatusCode};
use watchdog_core::audit::{Category, Outcome};

/// The template of requests that no route takes.
pub const UNMATCHED: &str = "(unmatched)";

/// Which share of requests is recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate(f64);

impl Rate {
    /// Each one.
    pub const ALL: Self = Self(1.0);
    /// None.
    pub const NONE: Self = Self(0.0);

    /// A share between 0 and 1. What is beyond counts as the nearer of the two, and what is no
    /// number as 1.
    pub fn new(share: f64) -> Self {
        if share.is_nan() { Self::ALL } else { Self(share.clamp(0.0, 1.0)) }
    }

    /// The share.
    pub fn share(self) -> f64 {
        self.0
    }

    /// Whether the request with this id is among the recorded: by the first 32 bits of the SHA-256
    /// of the id, so that every process that sees the id decides alike.
    pub fn takes(self, request_id: &str) -> bool {
        let hash = digest::digest(&digest::SHA256, request_id.as_bytes());
        let first = hash.as_ref().iter().take(4);
        let drawn = first.fold(0_u32, |drawn, byte| (drawn << 8) | u32::from(*byte));
        f64::from(drawn) < self.0 * (f64::from(u32::MAX) + 1.0)
    }
}

/// When the answer to a request may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recording {
    /// At once: the entry is handed to the log, and recorded when the body has gone.
    #[default]
    Queued,
    /// When the log has acknowledged the entry; without, the answer is 503.
    Acknowledged,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// With an answer.
    Answered(StatusCode),
    /// With an answer whose body the client did not take whole.
    Cut(StatusCode),
    /// With an error of the service, and no answer.
    Failed,
    /// With a panic of the handler.
    Panicked,
    /// Nobody waited for the answer any more.
    Cancelled,
}

impl Ending {
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::Answered(status) if is_refusal(status) => Outcome::Denied,
            Self::Answered(status) if is_success(status) => Outcome::Success,
            Self::Answered(_) | Self::Cut(_) | Self::Failed | Self::Panicked => Outcome::Failure,
            Self::Cancelled => Outcome::Unknown,
        }
    }

    pub(super) fn status(self) -> Option<StatusCode> {
        match self {
            Self::Answered(status) | Self::Cut(status) => Some(status),
            Self::Failed | Self::Panicked | Self::Cancelled => None,
        }
    }

    /// What an entry says of an end that is no answer.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Self::Answered(_) => None,
            Self::Cut(_) => Some("cut"),
            Self::Failed => Some("failed"),
            Self::Panicked => Some("panicked"),
            Self::Cancelled => Some("cancelled"),
        }
    }
}

fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

fn is_success(status: StatusCode) -> bool {
    status.is_informational() || status.is_success() || status.is_redirection()
}

/// How one request is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// It is none of the log's business.
    Pass,
    /// It may change something: begun before the handler, acknowledged before the answer.
    Change,
    /// It is a read.
    Read(Recording),
    /// No route is known to take it.
    Unmatched { may_change: bool },
}

/// What an application says about its routes.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) reads: Recording,
    pub(super) trusts_request_ids: bool,
    /// Share of the reads that went well, by category.
    rates: BTreeMap<Category, Rate>,
    unmatched: Rate,
    categories: BTreeMap<String, Category>,
    passed: BTreeSet<String>,
    answered_anyway: BTreeSet<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            reads: Recording::Queued,
            trusts_request_ids: false,
            rates: BTreeMap::new(),
            unmatched: Rate::ALL,
            categories: BTreeMap::new(),
            passed: BTreeSet::new(),
            answered_anyway: BTreeSet::new(),
        }
    }
}

impl Policy {
    pub(super) fn set_rate(&mut self, category: Category, rate: Rate) {
        self.rates.insert(category, rate);
    }

    pub(super) fn set_unmatched(&mut self, rate: Rate) {
        self.unmatched = rate;
    }

    pub(super) fn set_category(&mut self, route: String, category: Category) {
        self.categories.insert(route, category);
    }

    pub(super) fn pass(&mut self, route: String) {
        self.passed.insert(route);
    }

    pub(super) fn answer_anyway(&mut self, route: String) {
        self.answered_anyway.insert(route);
    }

    pub(super) fn category(&self, route: &str) -> Category {
        self.categories.get(route).copied().unwrap_or(Category::Access)
    }

    pub(super) fn treatment(&self, method: &Method, route: &str) -> Treatment {
        if route == UNMATCHED {
            // Mostly no handler runs for these, and everybody can send them: nothing is begun.
            Treatment::Unmatched { may_change: !is_safe(method) }
        } else if !is_safe(method) {
            Treatment::Change
        } else if self.passed.contains(route) {
            Treatment::Pass
        } else {
            Treatment::Read(self.reads)
        }
    }

    /// Whether an answer goes although its entry is not acknowledged.
    pub(super) fn is_answered_anyway(&self, route: &str) -> bool {
        self.answered_anyway.contains(route)
    }

    /// The share of requests that are recorded, of those that ended so.
    pub(super) fn rate(&self, treatment: Treatment, route: &str, outcome: Outcome) -> Rate {
        match treatment {
            Treatment::Pass => Rate::NONE,
            Treatment::Change => Rate::ALL,
            // A fallback or a service without routes has done it.
            Treatment::Unmatched { may_change: true } if outcome == Outcome::Success => Rate::ALL,
            Treatment::Unmatched { .. } => self.unmatched,
            Treatment::Read(_) if outcome == Outcome::Success => {
                self.rates.get(&self.category(route)).copied().unwrap_or(Rate::ALL)
            }
            Treatment::Read(_) => Rate::ALL,
        }
    }
}

/// Whether a method changes nothing (RFC 9110, section 9.2.1).
fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// The name of a method in actions; anybody can make up others.
pub(super) fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "get",
        Method::HEAD => "head",
        Method::OPTIONS => "options",
        Method::TRACE => "trace",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        Method::CONNECT => "connect",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcome_is_that_of_the_ending() {
        let answered = |status: u16| Ending::Answered(StatusCode::from_u16(status).unwrap());
        let expected = [
            (answered(101), Outcome::Success),
            (answered(200), Outcome::Success),
            (answered(204), Outcome::Success),
            (answered(304), Outcome::Success),
            (answered(400), Outcome::Failure),
            (answered(401), Outcome::Denied),
            (answered(403), Outcome::Denied),
            (answered(404), Outcome::Failure),
            (answered(503), Outcome::Failure),
            (Ending::Cut(StatusCode::OK), Outcome::Failure),
            (Ending::Failed, Outcome::Failure),
            (Ending::Panicked, Outcome::Failure),
            (Ending::Cancelled, Outcome::Unknown),
        ];
        for (ending, outcome) in expected {
            assert_eq!(ending.outcome(), outcome, "{ending:?}");
        }
        assert_eq!(Ending::Cut(StatusCode::OK).status(), Some(StatusCode::OK));
        assert_eq!((Ending::Panicked.status(), Ending::Panicked.name()), (None, Some("panicked")));
        assert_eq!((answered(200).name(), Ending::Cancelled.name()), (None, Some("cancelled")));
    }

    #[test]
    fn what_may_change_something_is_always_recorded() {
        let mut policy = Policy::default();
        policy.pass("/livez".into());
        policy.reads = Recording::Acknowledged;
        for (method, route, treatment) in [
            (Method::GET, "/livez", Treatment::Pass),
            (Method::POST, "/livez", Treatment::Change),
            (Method::GET, "/notes/{id}", Treatment::Read(Recording::Acknowledged)),
            (Method::HEAD, "/notes/{id}", Treatment::Read(Recording::Acknowledged)),
            (Method::PATCH, "/notes/{id}", Treatment::Change),
            (Method::from_bytes(b"PURGE").unwrap(), "/notes/{id}", Treatment::Change),
            (Method::POST, UNMATCHED, Treatment::Unmatched { may_change: true }),
            (Method::HEAD, UNMATCHED, Treatment::Unmatched { may_change: false }),
        ] {
            assert_eq!(policy.treatment(&method, route), treatment, "{method} {route}");
        }
        policy.set_rate(Category::Access, Rate::NONE);
        let all = policy.rate(Treatment::Change, "/notes/{id}", Outcome::Success);
        assert_eq!(all, Rate::ALL);
    }

    #[test]
    fn reads_that_went_well_are_sampled_by_category_and_nothing_else_is() {
        let mut policy = Policy::default();
        let read = Treatment::Read(Recording::Queued);
        assert_eq!(policy.rate(read, "/notes", Outcome::Success), Rate::ALL);
        policy.set_rate(Category::Access, Rate::new(0.25));
        policy.set_category("/keys".into(), Category::Security);
        assert_eq!(policy.rate(read, "/notes", Outcome::Success), Rate::new(0.25));
        assert_eq!(policy.rate(read, "/keys", Outcome::Success), Rate::ALL);
        for outcome in [Outcome::Denied, Outcome::Failure, Outcome::Unknown] {
            assert_eq!(policy.rate(read, "/notes", outcome), Rate::ALL, "{outcome:?}");
        }
        let unmatched = |may_change| Treatment::Unmatched { may_change };
        assert_eq!(policy.rate(unmatched(true), UNMATCHED, Outcome::Failure), Rate::ALL);
        policy.set_unmatched(Rate::new(0.1));
        for (may_change, outcome, rate) in [
            (true, Outcome::Failure, Rate::new(0.1)),
            (false, Outcome::Success, Rate::new(0.1)),
            (true, Outcome::Success, Rate::ALL),
        ] {
            assert_eq!(policy.rate(unmatched(may_change), UNMATCHED, outcome), rate);
        }
        assert_eq!(policy.rate(Treatment::Pass, "/livez", Outcome::Failure), Rate::NONE);
    }

    #[test]
    fn a_rate_is_a_share_and_the_same_for_the_same_request() {
        let ids: Vec<String> = (0..4000).map(|number| format!("request-{number}")).collect();
        let taken = |rate: Rate| ids.iter().filter(|id| rate.takes(id)).count();
        assert_eq!((taken(Rate::ALL), taken(Rate::NONE)), (4000, 0));
        let quarter = taken(Rate::new(0.25));
        assert!((900..1100).contains(&quarter), "{quarter}");
        assert_eq!(quarter, taken(Rate::new(0.25)));
        // The hashes begin with 0x2c and 0xfc: at 0.17 and 0.99 of the way.
        assert!(Rate::new(0.2).takes("foo") && !Rate::new(0.9).takes("bar"));
        let odd = [Rate::new(7.0), Rate::new(-1.0), Rate::new(f64::NAN)];
        assert_eq!(odd, [Rate::ALL, Rate::NONE, Rate::ALL]);
        assert!((Rate::new(0.5).share() - 0.5).abs() < f64::EPSILON);
    }

    #[test]
    fn made_up_methods_have_one_name() {
        let made_up = Method::from_bytes(b"X-1234").unwrap();
        assert_eq!((method_name(&made_up), method_name(&Method::PUT)), ("other", "put"));
    }
}
