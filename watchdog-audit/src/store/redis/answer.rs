//! What scripts answer, and what they are told.

use std::time::Duration;

use watchdog_storage::redis::{Arg, StreamEntry, Value};

use crate::error::{Error, ErrorKind, Result};
use crate::segment::Totals;

/// What a script answers: a verdict, then values.
pub(super) struct Answer<'a> {
    pub(super) verdict: &'a str,
    values: &'a [Value],
}

impl<'a> Answer<'a> {
    pub(super) fn new(value: &'a Value) -> Result<Self> {
        match value {
            Value::Array(values) => match values.first() {
                Some(Value::Bytes(verdict)) => Ok(Self { verdict: text(verdict)?, values }),
                _ => Err(unexpected()),
            },
            _ => Err(unexpected()),
        }
    }

    pub(super) fn number(&self, index: usize) -> Result<u64> {
        match self.values.get(index) {
            Some(Value::Integer(number)) => u64::try_from(*number).map_err(|_| unexpected()),
            Some(Value::Bytes(bytes)) => decimal(bytes),
            _ => Err(unexpected()),
        }
    }

    pub(super) fn text(&self, index: usize) -> Result<&'a str> {
        match self.values.get(index) {
            Some(Value::Bytes(bytes)) => text(bytes),
            _ => Err(unexpected()),
        }
    }
}

/// What an entry of a stream holds: the bytes of a frame, or, where there is none, its names and
/// values one after the other, each after its length in 4 bytes.
pub(super) fn raw(entry: &StreamEntry) -> Vec<u8> {
    match entry.fields.as_slice() {
        [(name, bytes)] if name.as_ref() == b"d" => bytes.to_vec(),
        fields => fields
            .iter()
            .flat_map(|(name, value)| [name, value])
            .flat_map(|part| {
                // Redis takes no value of 4 GiB.
                let length = u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes();
                length.into_iter().chain(part.iter().copied())
            })
            .collect(),
    }
}

pub(super) fn totals_from(text: &str) -> Result<Totals> {
    let numbers = text
        .split(':')
        .map(|number| number.parse().map_err(|_| unexpected()))
        .collect::<Result<Vec<u64>>>()?;
    let [entries, frames, bytes, first_millis, last_millis] = numbers[..] else {
        return Err(unexpected());
    };
    Ok(Totals { entries, frames, bytes, first_millis, last_millis })
}

/// Lua counts in doubles: whole numbers are exact up to 2^53.
pub(super) fn integer(number: u64) -> Result<Arg<'static>> {
    match i64::try_from(number) {
        Ok(number) if number <= 1 << 53 => Ok(number.into()),
        _ => Err(Error::new(ErrorKind::Misuse, "number is over 2^53")),
    }
}

pub(super) fn millis(duration: Duration) -> Result<Arg<'static>> {
    integer(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

pub(super) fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| unexpected())
}

pub(super) fn decimal(bytes: &[u8]) -> Result<u64> {
    text(bytes)?.parse().map_err(|_| unexpected())
}

pub(super) fn unexpected() -> Error {
    Error::corrupt("redis answered with something the audit log does not write")
}
