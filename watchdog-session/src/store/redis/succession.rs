use watchdog_storage::redis::Arg;

use super::RedisStore;
use super::script::{REGENERATE, REPORT};
use crate::error::Result;
use crate::store::{Regenerate, RegenerateOutcome, Regenerated, Report, Reported};

impl RedisStore {
    pub(super) async fn regenerate_by_script(&self, request: &Regenerate) -> Result<Regenerated> {
        let successor = request.session.to_string();
        let more = [(&*successor).into(), Arg::Bytes(&request.record)];
        let outbox = request.outbox.as_ref();
        let reply = self.run_at(&REGENERATE, &request.place, outbox, &more).await?;
        let outcome = match reply.word() {
            "done" => RegenerateOutcome::Done,
            "gone" => RegenerateOutcome::Gone,
            "expired" => RegenerateOutcome::Expired,
            "skewed" => RegenerateOutcome::Skewed,
            "unfit" => RegenerateOutcome::Unfit,
            _ => return Err(reply.unexpected()),
        };
        Ok(Regenerated { now: reply.now, outcome })
    }

    pub(super) async fn report_by_script(&self, request: &Report) -> Result<Reported> {
        let details: Vec<_> = request
            .details
            .iter()
            .map(|(name, value)| (format!("d:{name}"), value.as_str()))
            .collect();
        let mut more = vec![Arg::from(request.action)];
        for (name, value) in &details {
            more.extend([Arg::from(&**name), Arg::from(*value)]);
        }
        let reply = self.run_at(&REPORT, &request.place, request.outbox.as_ref(), &more).await?;
        Ok(Reported { now: reply.now, life: reply.life()? })
    }
}
