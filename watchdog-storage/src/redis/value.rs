//! What goes into a script and what comes out of it.

use bytes::Bytes;

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
    Array(Vec<Value>),
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
