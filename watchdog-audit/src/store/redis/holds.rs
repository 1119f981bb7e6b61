//! The life of segments under legal hold.

use std::time::Duration;

use uuid::Uuid;
use watchdog_storage::redis::{Script, Value};

use super::RedisStore;
use super::answer::{Answer, decimal, integer, millis, unexpected};
use crate::error::{Result, storage};
use crate::segment::{Resuming, SegmentId};

static HOLDS: Script = Script::new("audit.holds.v1", include_str!("../scripts/holds.lua"));
static SUSPEND: Script = Script::new("audit.suspend.v1", include_str!("../scripts/suspend.lua"));
static RESUME: Script = Script::new("audit.resume.v1", include_str!("../scripts/resume.lua"));

/// Segments that one call suspends.
const SUSPEND_AT_ONCE: usize = 256;

pub(super) async fn announce(store: &RedisStore, partition: u16, change: Uuid) -> Result<()> {
    let change = change.to_string();
    store
        .redis
        .call(&HOLDS, &[&store.partition_key(partition)], &[change.as_str().into()])
        .await
        .map_err(storage("redis did not note that the legal holds have changed"))
        .map(drop)
}

pub(super) async fn suspend(
    store: &RedisStore,
    partition: u16,
    segments: &[u64],
) -> Result<Vec<u64>> {
    let mut held = Vec::new();
    for numbers in segments.chunks(SUSPEND_AT_ONCE) {
        let mut keys = vec![store.held_key(partition)];
        let mut arguments = Vec::with_capacity(numbers.len());
        for number in numbers {
            let segment = SegmentId { partition, number: *number };
            keys.extend([store.segment_key(segment), store.proof_key(segment)]);
            arguments.push(integer(*number)?);
        }
        let answer = store
            .redis
            .call(&SUSPEND, &keys.iter().collect::<Vec<_>>(), &arguments)
            .await
            .map_err(storage("redis did not suspend the expiry of segments"))?;
        let Value::Array(numbers) = answer else { return Err(unexpected()) };
        for number in numbers {
            let Value::Bytes(number) = number else { return Err(unexpected()) };
            held.push(decimal(&number)?);
        }
    }
    Ok(held)
}

pub(super) async fn resume(
    store: &RedisStore,
    segment: SegmentId,
    ttl: Duration,
    holds: Uuid,
) -> Result<Resuming> {
    let keys = [
        store.partition_key(segment.partition),
        store.held_key(segment.partition),
        store.segment_key(segment),
        store.proof_key(segment),
    ];
    let holds = holds.to_string();
    let answer = store
        .redis
        .call(
            &RESUME,
            &[&keys[0], &keys[1], &keys[2], &keys[3]],
            &[integer(segment.number)?, millis(ttl)?, holds.as_str().into()],
        )
        .await
        .map_err(storage("redis did not give a segment its life back"))?;
    let answer = Answer::new(&answer)?;
    match answer.verdict {
        "resumed" => Ok(Resuming::Resumed { expires_at: answer.number(1)? }),
        "not_held" => Ok(Resuming::NotHeld),
        "holds_changed" => Ok(Resuming::HoldsChanged),
        _ => Err(unexpected()),
    }
}

pub(super) async fn held(store: &RedisStore, partition: u16) -> Result<Vec<u64>> {
    let held = store
        .redis
        .hgetall(&store.held_key(partition))
        .await
        .map_err(storage("redis did not list held segments"))?;
    let mut held = held.iter().map(|(number, _)| decimal(number)).collect::<Result<Vec<_>>>()?;
    held.sort_unstable();
    Ok(held)
}
