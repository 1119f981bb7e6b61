//! The `redis` section of the configuration.

/// How to reach Redis.
#[derive(Clone, Debug)]
pub struct RedisConfig {}
