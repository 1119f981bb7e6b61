//! How long keys in memory may be used without asking their vault: pure decisions.

use std::time::Duration;

use tokio::time::Instant;

/// The vault is asked this often whether somebody was erased, as long as keys are used.
pub(crate) const CHECK_EVERY: Duration = Duration::from_millis(500);

/// A key in memory is used at most this long after it was erased, while its vault answers.
pub const ERASED_WITHIN: Duration = Duration::from_secs(1);

/// What is known of the generation of a vault.
#[derive(Debug, Default)]
pub(crate) struct Freshness {
    generation: Option<u64>,
    /// When it was last asked for.
    asked: Option<Instant>,
    /// When the newest question that was answered was asked.
    confirmed: Option<Instant>,
    is_failing: bool,
    /// How many questions had no answer.
    failures: u64,
}

/// What is to be done before a key is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Nothing,
    /// The vault is to be asked, and nobody needs to wait for its answer.
    Question,
    /// The vault is to be asked, and its answer waited for.
    Answer,
}

impl Freshness {
    /// What is to be done before something is sealed now. While the vault does not answer, keys in
    /// memory go on: what is sealed under an erased one nobody can read.
    pub(crate) fn sealing_need(&mut self, now: Instant) -> Need {
        let is_due = self.asked.is_none_or(|asked| now - asked >= CHECK_EVERY);
        let need = match (self.is_fresh(now), self.is_failing) {
            (true, _) | (false, true) if is_due => Need::Question,
            (true, _) | (false, true) => Need::Nothing,
            (false, false) => Need::Answer,
        };
        if need != Need::Nothing {
            self.asked = Some(now);
        }
        need
    }

    /// What is to be done before something is opened now: an erased key opens nothing.
    pub(crate) fn opening_need(&mut self, now: Instant) -> Need {
        match self.sealing_need(now) {
            need if self.is_fresh(now) => need,
            _ => Need::Answer,
        }
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.confirmed.is_some_and(|confirmed| now - confirmed < ERASED_WITHIN)
    }

    /// Notes an answer to a question that was asked then; whether keys in memory are to be dropped.
    pub(crate) fn answered(&mut self, asked: Instant, generation: u64) -> bool {
        self.is_failing = false;
        self.confirmed = self.confirmed.max(Some(asked));
        self.generation.replace(generation) != Some(generation)
    }

    pub(crate) fn failed(&mut self) {
        self.is_failing = true;
        self.failures += 1;
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures
    }

    /// Whether a question that was due when so many had failed need not be asked now.
    pub(crate) fn is_settled(&self, now: Instant, failures: u64) -> bool {
        self.failures != failures
            || self.confirmed.is_some_and(|confirmed| now - confirmed < CHECK_EVERY)
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.is_failing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times() -> impl Fn(u64) -> Instant {
        let begun = Instant::now();
        move |millis| begun + Duration::from_millis(millis)
    }

    #[test]
    fn the_first_use_waits_and_later_ones_ask_beside_it() {
        let (at, mut fresh) = (times(), Freshness::default());
        assert_eq!(fresh.sealing_need(at(0)), Need::Answer);
        assert!(fresh.answered(at(0), 7), "nothing was known before");
        assert_eq!(fresh.sealing_need(at(499)), Need::Nothing);
        assert_eq!(fresh.sealing_need(at(500)), Need::Question);
        assert_eq!(fresh.sealing_need(at(501)), Need::Nothing, "one question is enough");
        assert!(!fresh.answered(at(500), 7));
        assert_eq!(fresh.opening_need(at(999)), Need::Nothing);
        assert_eq!(fresh.opening_need(at(1000)), Need::Question);
    }

    #[test]
    fn no_key_is_used_a_second_after_the_last_answer_unless_the_vault_fails() {
        let (at, mut fresh) = (times(), Freshness::default());
        fresh.answered(at(0), 7);
        assert_eq!(fresh.sealing_need(at(999)), Need::Question);
        assert_eq!(fresh.sealing_need(at(1000)), Need::Answer, "the question has no answer yet");
        assert_eq!(fresh.opening_need(at(1000)), Need::Answer);
        fresh.failed();
        assert_eq!(fresh.sealing_need(at(1001)), Need::Nothing, "sealing goes on");
        assert_eq!(fresh.sealing_need(at(1500)), Need::Question, "and asks again");
        assert_eq!(fresh.opening_need(at(1501)), Need::Answer, "opening does not");
        assert!(!fresh.answered(at(1500), 7));
        assert_eq!(fresh.sealing_need(at(1502)), Need::Nothing);
    }

    #[test]
    fn those_who_wait_for_their_turn_share_an_answer() {
        let (at, mut fresh) = (times(), Freshness::default());
        assert!(!fresh.is_settled(at(0), 0));
        fresh.answered(at(0), 7);
        assert!(fresh.is_settled(at(499), 0));
        assert!(!fresh.is_settled(at(500), 0), "then the next question is due");
        fresh.failed();
        assert!(fresh.is_settled(at(500), 0), "it failed since");
        assert!(!fresh.is_settled(at(500), fresh.failures()));
    }

    #[test]
    fn every_other_generation_drops_the_keys() {
        let (at, mut fresh) = (times(), Freshness::default());
        assert!(fresh.answered(at(0), 7));
        assert!(fresh.answered(at(1), 8));
        assert!(fresh.answered(at(2), 7), "a promoted replica may lack the newest");
        assert!(!fresh.answered(at(1), 7));
        assert_eq!(fresh.confirmed, Some(at(2)), "an old answer confirms nothing new");
    }
}
