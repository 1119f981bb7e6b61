//! Scripts: Lua with a versioned name.

use std::fmt::Write as _;
use std::sync::OnceLock;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use fred::bytes_utils::Str;

use super::metric::Meter;

/// A Lua script, kept in a `static`.
///
/// The name is versioned (`session.rotate.v1`) and shows in metrics and errors.
#[derive(Debug)]
pub struct Script {
    name: &'static str,
    source: &'static str,
    sha: OnceLock<Str>,
    meter: OnceLock<Meter>,
}

impl Script {
    /// A script from its source, usually `include_str!`.
    pub const fn new(name: &'static str, source: &'static str) -> Self {
        Self { name, source, sha: OnceLock::new(), meter: OnceLock::new() }
    }

    /// The versioned name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The Lua source.
    pub const fn source(&self) -> &'static str {
        self.source
    }

    /// What the server calls the script: the SHA-1 of its source, in hexadecimal.
    pub fn sha(&self) -> &str {
        self.shared_sha()
    }

    pub(super) fn shared_sha(&self) -> &Str {
        self.sha.get_or_init(|| {
            let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, self.source.as_bytes());
            let hex = digest.as_ref().iter().fold(String::with_capacity(40), |mut hex, byte| {
                // Writing to a String cannot fail.
                let _ = write!(hex, "{byte:02x}");
                hex
            });
            hex.into()
        })
    }

    pub(super) fn meter(&self) -> Meter {
        self.meter.get_or_init(|| self.name.into()).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::Script;

    #[test]
    fn the_sha_is_the_one_redis_computes() {
        // `redis-cli SCRIPT LOAD "return 1"`
        let script = Script::new("one.v1", "return 1");
        assert_eq!(script.sha(), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    }
}
