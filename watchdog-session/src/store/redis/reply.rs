use watchdog_storage::redis::{Script, Value};

use crate::error::{Error, ErrorKind, Result};
use crate::record::Millis;
use crate::store::Life;

/// What every script answers: a word, the time, and what belongs to the word.
pub(super) struct Reply {
    script: &'static str,
    word: Value,
    pub(super) now: Millis,
    pub(super) rest: Vec<Value>,
}

impl Reply {
    pub(super) fn parse(script: &Script, value: Value) -> Result<Self> {
        let script = script.name();
        let unexpected = || unexpected(script);
        let Value::Array(values) = value else { return Err(unexpected()) };
        let mut values = values.into_iter();
        let (Some(word @ Value::Bytes(_)), Some(Value::Integer(now))) =
            (values.next(), values.next())
        else {
            return Err(unexpected());
        };
        let now = now.try_into().map_err(|_| unexpected())?;
        Ok(Self { script, word, now, rest: values.collect() })
    }

    /// The word; none of ours when it is not even text.
    pub(super) fn word(&self) -> &str {
        match &self.word {
            Value::Bytes(word) => std::str::from_utf8(word).unwrap_or_default(),
            _ => "",
        }
    }

    pub(super) fn number<T: TryFrom<i64>>(&self, position: usize) -> Result<T> {
        match self.rest.get(position) {
            Some(&Value::Integer(number)) => number.try_into().map_err(|_| self.unexpected()),
            _ => Err(self.unexpected()),
        }
    }

    pub(super) fn life(&self) -> Result<Life> {
        match self.word() {
            "alive" => Ok(Life::Alive),
            "expired" => Ok(Life::Expired),
            "gone" => Ok(Life::Gone),
            _ => Err(self.unexpected()),
        }
    }

    pub(super) fn unexpected(&self) -> Error {
        unexpected(self.script)
    }
}

pub(super) fn unexpected(what: &str) -> Error {
    Error::new(ErrorKind::Internal, format_args!("{what} answered out of contract"))
}
