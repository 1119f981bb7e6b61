use watchdog_storage::redis::{Script, Value};

use crate::error::{Error, ErrorKind, Result};
use crate::record::Millis;
use crate::store::Life;

/// What every script answers: a word, the time, and what belongs to the word.
pub(super) struct Reply {
    script: &'static str,
    pub(super) word: String,
    pub(super) now: Millis,
    pub(super) rest: Vec<Value>,
}

impl Reply {
    pub(super) fn parse(script: &Script, value: Value) -> Result<Self> {
        let script = script.name();
        let unexpected = || unexpected(script);
        let Value::Array(values) = value else { return Err(unexpected()) };
        let mut values = values.into_iter();
        let (Some(Value::Bytes(word)), Some(Value::Integer(now))) = (values.next(), values.next())
        else {
            return Err(unexpected());
        };
        let word = String::from_utf8(word.to_vec()).map_err(|_| unexpected())?;
        let now = now.try_into().map_err(|_| unexpected())?;
        Ok(Self { script, word, now, rest: values.collect() })
    }

    pub(super) fn number<T: TryFrom<i64>>(&self, position: usize) -> Result<T> {
        match self.rest.get(position) {
            Some(&Value::Integer(number)) => number.try_into().map_err(|_| self.unexpected()),
            _ => Err(self.unexpected()),
        }
    }

    pub(super) fn life(&self) -> Result<Life> {
        match &*self.word {
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
