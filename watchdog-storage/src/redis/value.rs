//! What goes into a script and what comes out of it.

use std::fmt::Write as _;

use bytes::{Bytes, BytesMut};
use fred::types::Value as Wire;

use crate::error::{Error, ErrorKind, Result};

/// An argument of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg<'a> {
    /// Bytes, or text as UTF-8.
    Bytes(&'a [u8]),
    /// An integer, handed over in decimal.
    Integer(i64),
}

impl<'a> From<&'a [u8]> for Arg<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Bytes(value)
    }
}

impl<'a> From<&'a str> for Arg<'a> {
    fn from(value: &'a str) -> Self {
        Self::Bytes(value.as_bytes())
    }
}

impl From<i64> for Arg<'_> {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl Arg<'_> {
    /// No 64-bit integer is longer in decimal.
    const INTEGER_BYTES: usize = 20;

    fn most_bytes(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Integer(_) => Self::INTEGER_BYTES,
        }
    }
}

/// The arguments as the client takes them: slices of one buffer, so that their copies for a second
/// attempt copy nothing.
pub(super) fn wire(args: &[Arg<'_>]) -> Vec<Wire> {
    let mut buffer = BytesMut::with_capacity(args.iter().map(Arg::most_bytes).sum());
    let put = |arg: &Arg<'_>| {
        match arg {
            Arg::Bytes(bytes) => buffer.extend_from_slice(bytes),
            // Writing to memory cannot fail.
            Arg::Integer(number) => drop(write!(buffer, "{number}")),
        }
        Wire::Bytes(buffer.split().freeze())
    };
    args.iter().map(put).collect()
}

/// What a script answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Nil,
    /// An integer.
    Integer(i64),
    /// A bulk or simple string.
    Bytes(Bytes),
    /// A list.
    Array(Vec<Self>),
}

impl Value {
    /// What came over the wire. RESP3 has more types than scripts make: a boolean is 0 or 1, a
    /// double its text, a map the list of its keys and values.
    pub(super) fn from_wire(wire: Wire) -> Result<Self> {
        Ok(match wire {
            Wire::Null => Self::Nil,
            Wire::Boolean(flag) => Self::Integer(flag.into()),
            Wire::Integer(number) => Self::Integer(number),
            Wire::Double(number) => Self::Bytes(number.to_string().into()),
            Wire::String(text) => Self::Bytes(text.into_inner()),
            Wire::Bytes(bytes) => Self::Bytes(bytes),
            Wire::Array(items) => {
                let mut values = Vec::with_capacity(items.len());
                for item in items {
                    values.push(Self::from_wire(item)?);
                }
                Self::Array(values)
            }
            Wire::Map(map) => {
                let mut items = Vec::with_capacity(2 * map.len());
                for (key, value) in map.inner() {
                    items.push(Self::Bytes(key.into_bytes()));
                    items.push(Self::from_wire(value)?);
                }
                Self::Array(items)
            }
            Wire::Queued => return Err(unexpected("a transaction nobody began")),
        })
    }

    /// The integer.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unexpected`] when it is something else.
    pub fn integer(&self) -> Result<i64> {
        match self {
            Self::Integer(number) => Ok(*number),
            other => Err(unexpected(other.name())),
        }
    }

    /// The bytes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unexpected`] when it is something else.
    pub fn into_bytes(self) -> Result<Bytes> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            other => Err(unexpected(other.name())),
        }
    }

    /// The bytes, or `None` for nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unexpected`] when it is something else.
    pub fn into_optional_bytes(self) -> Result<Option<Bytes>> {
        match self {
            Self::Nil => Ok(None),
            other => other.into_bytes().map(Some),
        }
    }

    /// The list.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unexpected`] when it is something else.
    pub fn into_array(self) -> Result<Vec<Self>> {
        match self {
            Self::Array(items) => Ok(items),
            other => Err(unexpected(other.name())),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Nil => "nothing",
            Self::Integer(_) => "an integer",
            Self::Bytes(_) => "a string",
            Self::Array(_) => "a list",
        }
    }
}

fn unexpected(what: &str) -> Error {
    Error::new(ErrorKind::Unexpected, format!("redis answered {what}"))
}

/// Pairs out of a flat list, such as the fields of a hash.
pub(super) fn pairs(value: Value) -> Result<Vec<(Bytes, Bytes)>> {
    let mut items = value.into_array()?.into_iter();
    let mut pairs = Vec::with_capacity(items.len() / 2);
    while let Some(first) = items.next() {
        let second = items.next().ok_or_else(|| unexpected("an odd list"))?;
        pairs.push((first.into_bytes()?, second.into_bytes()?));
    }
    Ok(pairs)
}

/// Members with their scores: a list of pairs in RESP3, a flat one in RESP2.
pub(super) fn scored(value: Value) -> Result<Vec<(Bytes, i64)>> {
    let items = value.into_array()?;
    let flat = items.iter().any(|item| !matches!(item, Value::Array(_)));
    let pairs: Vec<(Bytes, Bytes)> = if flat {
        pairs(Value::Array(items))?
    } else {
        let nested: Result<Vec<_>> = items.into_iter().map(pairs).collect();
        nested?.into_iter().flatten().collect()
    };
    let score = |text: &[u8]| {
        let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
        number.is_finite().then_some(number as i64)
    };
    let scored = pairs.into_iter().map(|(member, text)| Some((member, score(&text)?)));
    scored.collect::<Option<_>>().ok_or_else(|| unexpected("a score that is no number"))
}

/// The entries of a stream, each a list of its id and its fields.
pub(super) fn entries(value: Value) -> Result<Vec<StreamEntry>> {
    // No stream at all is an empty list in RESP2 and nothing in some RESP3 answers.
    if value == Value::Nil {
        return Ok(Vec::new());
    }
    value.into_array()?.into_iter().map(entry).collect()
}

fn entry(value: Value) -> Result<StreamEntry> {
    let mut parts = value.into_array()?.into_iter();
    let (Some(id), Some(fields), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(unexpected("a stream entry of other than two parts"));
    };
    let id = String::from_utf8(id.into_bytes()?.into()).map_err(|_| unexpected("a strange id"))?;
    Ok(StreamEntry { id, fields: pairs(fields)? })
}

/// One entry of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamEntry {
    /// The id: `milliseconds-number`.
    pub id: String,
    /// The fields, in order.
    pub fields: Vec<(Bytes, Bytes)>,
}

/// How long a key lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// There is no such key.
    Missing,
    /// It lives until it is deleted.
    Unbounded,
    /// It expires in this many milliseconds.
    Millis(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_go_out_as_they_are_and_integers_in_decimal() {
        let args = [
            Arg::from("text"),
            Arg::from(&b"\0\xff"[..]),
            Arg::Integer(i64::MIN),
            Arg::from(""),
            Arg::Integer(7),
        ];
        let wanted: [&[u8]; 5] = [b"text", b"\0\xff", b"-9223372036854775808", b"", b"7"];
        let sent = wire(&args);
        assert_eq!(sent, wanted.map(|bytes| Wire::Bytes(Bytes::copy_from_slice(bytes))));
        assert_eq!(wire(&[]), []);
    }
}
