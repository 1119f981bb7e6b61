//! The one seam to Redis: no other crate names the client behind it.

mod config;
mod key;
mod script;
mod value;

use bytes::Bytes;

use crate::error::Result;

pub use config::RedisConfig;
pub use key::{Key, KeySpace};
pub use script::Script;
pub use value::{Arg, StreamEntry, Ttl, Value};

/// A client of one Redis deployment: standalone, Sentinel or Cluster.
///
/// A clone shares the connections.
#[derive(Clone, Debug)]
pub struct Redis {
    keys: KeySpace,
}

#[expect(clippy::unimplemented, clippy::missing_errors_doc, reason = "skeleton")]
impl Redis {
    /// Connects and proves the connection with a `PING`.
    pub async fn connect(_config: &RedisConfig) -> Result<Self> {
        unimplemented!()
    }

    /// The key space the configuration names.
    pub fn keys(&self) -> &KeySpace {
        &self.keys
    }

    /// `PING`.
    pub async fn ping(&self) -> Result<()> {
        unimplemented!()
    }

    /// `GET`.
    pub async fn get(&self, _key: &Key) -> Result<Option<Bytes>> {
        unimplemented!()
    }

    /// `HMGET`: one answer per field, in order.
    pub async fn hmget(&self, _key: &Key, _fields: &[&[u8]]) -> Result<Vec<Option<Bytes>>> {
        unimplemented!()
    }

    /// `HGETALL`.
    pub async fn hgetall(&self, _key: &Key) -> Result<Vec<(Bytes, Bytes)>> {
        unimplemented!()
    }

    /// `XRANGE key from to COUNT count`.
    pub async fn xrange(
        &self,
        _key: &Key,
        _from: &str,
        _to: &str,
        _count: u64,
    ) -> Result<Vec<StreamEntry>> {
        unimplemented!()
    }

    /// `XLEN`.
    pub async fn xlen(&self, _key: &Key) -> Result<u64> {
        unimplemented!()
    }

    /// `XDEL`: how many entries left.
    pub async fn xdel(&self, _key: &Key, _ids: &[&str]) -> Result<u64> {
        unimplemented!()
    }

    /// `PTTL`.
    pub async fn pttl(&self, _key: &Key) -> Result<Ttl> {
        unimplemented!()
    }

    /// `DEL`: whether the key existed.
    pub async fn del(&self, _key: &Key) -> Result<bool> {
        unimplemented!()
    }

    /// Runs a script by SHA, with `EVAL` when the server does not know it.
    ///
    /// The script may run twice when a reply is lost: it must be idempotent under verbatim replay.
    pub async fn call(&self, _script: &Script, _keys: &[&Key], _args: &[Arg<'_>]) -> Result<Value> {
        unimplemented!()
    }

    /// `maxmemory-policy` of the server, `None` where the server does not tell.
    pub async fn maxmemory_policy(&self) -> Result<Option<String>> {
        unimplemented!()
    }

    /// Finishes what is in flight and closes the connections.
    pub async fn close(&self) {}
}
