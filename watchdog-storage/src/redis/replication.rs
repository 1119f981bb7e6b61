//! Waiting until replicas have what was written.

use std::time::Duration;

use fred::interfaces::ClientLike as _;
use fred::types::{CustomCommand, Value as Wire};

use super::config::RedisConfig;
use super::{Arg, Key, Redis, Script, Value, value};
use crate::error::{Error, ErrorKind, Result};

/// A connection that `WAIT` may hold up.
///
/// `WAIT` holds up every other command of its connection, so it has one of its own, and none of its
/// commands is sent a second time.
#[derive(Clone, Debug)]
pub struct Replication {
    redis: Redis,
}

impl Redis {
    /// Connects once more, for [`Replication::reach`] that takes up to `longest`.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn replication(&self, longest: Duration) -> Result<Replication> {
        let config = RedisConfig {
            pool_size: 1,
            attempts: 1,
            command_timeout: self.inner.command_timeout.saturating_add(longest),
            ..self.inner.config.clone()
        };
        Ok(Replication { redis: Self::connect(&config).await? })
    }
}

impl Replication {
    /// Runs a script that writes something, and waits up to `limit` for `replicas` replicas that
    /// have it. Replication is one ordered stream: they then have all that the server had taken
    /// when the script ran. Answers what the script answered, and how many replicas there were.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`] without keys; [`ErrorKind::Unavailable`] when the connection was made
    /// again in between, so that nothing is known; else as every command: see the
    /// [module](super).
    pub async fn reach(
        &self,
        (script, keys, args): (&Script, &[&Key], &[Arg<'_>]),
        replicas: u8,
        limit: Duration,
    ) -> Result<(Value, u64)> {
        let Some(first) = keys.first().copied() else {
            let context = format!("{} needs keys", script.name());
            return Err(Error::new(ErrorKind::Misuse, context));
        };
        let slot = first.slot();
        let command = move |name| CustomCommand::new_static(name, slot, false);
        let integer = |number: u64| Wire::from(number.to_string());
        let mut eval = vec![Wire::from(script.source()), integer(keys.len() as u64)];
        eval.extend(keys.iter().map(|key| Wire::from(key.as_str())));
        eval.extend(value::wire(args));
        // Zero would wait for ever.
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).max(1);
        let wait = vec![integer(replicas.into()), integer(limit)];
        let call = move |client: fred::clients::Client| async move {
            let pipeline = client.pipeline();
            let id = || vec![Wire::from("ID")];
            // `WAIT` tells of what its own connection wrote: on another one it would answer at once.
            let () = pipeline.custom(command("CLIENT"), id()).await?;
            let () = pipeline.custom(command("EVAL"), eval).await?;
            let () = pipeline.custom(command("WAIT"), wait).await?;
            let () = pipeline.custom(command("CLIENT"), id()).await?;
            pipeline.all::<Wire>().await
        };
        let answers = self.redis.write(script.meter(), Some(first), call).await?.into_array()?;
        let [before, answer, reached, after] = <[Value; 4]>::try_from(answers).map_err(|_| {
            Error::new(ErrorKind::Unexpected, "redis answered another number of commands")
        })?;
        if before != after {
            let context = "the connection was made again before the replicas answered";
            return Err(Error::new(ErrorKind::Unavailable, context));
        }
        let reached = u64::try_from(reached.integer()?).unwrap_or(0);
        Ok((answer, reached))
    }
}
