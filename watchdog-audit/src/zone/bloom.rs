//! A Bloom filter with fixed, specified bits, so that another reader can use it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};

use crate::merkle::sha256;

/// Most bytes of one filter before they are written as base64: 16 KiB. Up to 13 107 distinct values
/// a filter is wrong 1 time in 120; at 28 000 1 in 10.
pub const MAX_FILTER_BYTES: usize = 16 * 1024;

/// Ten bits for each distinct value give 0.8 % with seven positions.
const BITS_PER_VALUE: usize = 10;
const MAX_POSITIONS: u32 = 7;

/// What a value is looked up by: the first 16 bytes of the SHA-256 of its spelling.
pub(crate) type Token = (u64, u64);

/// Which values may be there. One that holds nothing has no bits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Encoded", into = "Encoded")]
pub struct BloomFilter {
    /// Positions of each value, 1 to 7.
    positions: u32,
    bits: Vec<u8>,
}

/// The filter as it stands in a manifest.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Encoded {
    positions: u32,
    bits: String,
}

impl BloomFilter {
    /// An empty filter with room for so many values.
    pub(crate) fn for_values(count: usize) -> Self {
        if count == 0 {
            return Self::default();
        }
        let bytes = count.saturating_mul(BITS_PER_VALUE).div_ceil(8).clamp(8, MAX_FILTER_BYTES);
        // The best number of positions is ln 2 bits for each value.
        let positions = (bytes * 8 * 7 / 10 / count).clamp(1, MAX_POSITIONS as usize);
        Self { positions: u32::try_from(positions).unwrap_or(1), bits: vec![0; bytes] }
    }

    /// The bytes it takes in memory.
    pub(crate) fn size(&self) -> usize {
        self.bits.len()
    }

    pub(crate) fn insert(&mut self, token: &Token) {
        for position in self.positions_of(token) {
            if let Some(byte) = self.bits.get_mut(position / 8) {
                *byte |= 1 << (position % 8);
            }
        }
    }

    /// Whether a value may be there: no is certain.
    pub(crate) fn may_hold(&self, token: &Token) -> bool {
        !self.bits.is_empty()
            && self.positions_of(token).all(|position| {
                self.bits.get(position / 8).is_some_and(|byte| byte & (1 << (position % 8)) != 0)
            })
    }

    fn positions_of(&self, (start, step): &Token) -> impl Iterator<Item = usize> + use<> {
        let (start, step) = (*start, *step | 1);
        let bits = (self.bits.len() * 8).max(1) as u64;
        (0..u64::from(self.positions)).map(move |index| {
            // Below the number of bits, which is a usize.
            usize::try_from(start.wrapping_add(step.wrapping_mul(index)) % bits).unwrap_or(0)
        })
    }
}

impl From<BloomFilter> for Encoded {
    fn from(filter: BloomFilter) -> Self {
        Self { positions: filter.positions, bits: BASE64.encode(filter.bits) }
    }
}

impl TryFrom<Encoded> for BloomFilter {
    type Error = &'static str;

    fn try_from(encoded: Encoded) -> Result<Self, Self::Error> {
        let bits = BASE64.decode(encoded.bits).map_err(|_| "filter is not base64")?;
        let is_empty = bits.is_empty() && encoded.positions == 0;
        let is_filled = (1..=MAX_POSITIONS).contains(&encoded.positions) && !bits.is_empty();
        if bits.len() > MAX_FILTER_BYTES || !(is_empty || is_filled) {
            return Err("filter has a size no writer makes");
        }
        Ok(Self { positions: encoded.positions, bits })
    }
}

/// Adds the spelling of a value to `bytes`: its parts, with a zero byte between them.
pub(crate) fn spell(parts: &[&str], bytes: &mut Vec<u8>) {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            bytes.push(0);
        }
        bytes.extend_from_slice(part.as_bytes());
    }
}

pub(crate) fn hash(spelling: &[u8]) -> Token {
    let hash = sha256(&[spelling]);
    let half = |from: usize| {
        hash[from..from + 8].iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte))
    };
    (half(0), half(8))
}

/// The token of a value.
pub(crate) fn token(parts: &[&str]) -> Token {
    let mut spelling = Vec::new();
    spell(parts, &mut spelling);
    hash(&spelling)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(count: usize) -> BloomFilter {
        let mut filter = BloomFilter::for_values(count);
        (0..count).for_each(|n| filter.insert(&token(&["in", &n.to_string()])));
        filter
    }

    /// Of 20 000 values that are not there, how many are said to be, in thousandths.
    fn wrong(filter: &BloomFilter) -> usize {
        let asked = (0..20_000).filter(|n| filter.may_hold(&token(&["out", &n.to_string()])));
        asked.count() * 1000 / 20_000
    }

    #[test]
    fn it_is_wrong_as_seldom_as_documented() {
        for count in [1, 10, 100, 13_107] {
            assert!(wrong(&filled(count)) <= 12, "{count} values");
        }
        let crowded = wrong(&filled(28_000));
        assert!((60..=130).contains(&crowded), "{crowded} of 1000");
    }

    #[test]
    fn it_never_denies_what_is_there() {
        for count in [1, 7, 500, 50_000] {
            let filter = filled(count);
            assert!((0..count).all(|n| filter.may_hold(&token(&["in", &n.to_string()]))));
            assert!(filter.bits.len() <= MAX_FILTER_BYTES);
        }
    }

    #[test]
    fn an_empty_one_holds_nothing() {
        assert!(!BloomFilter::default().may_hold(&token(&["x"])));
        assert_eq!(filled(0), BloomFilter::default());
    }

    #[test]
    fn it_reads_back_and_a_shape_nobody_writes_is_refused() {
        for count in [0, 1, 100] {
            let filter = filled(count);
            let text = serde_json::to_string(&filter).unwrap();
            assert_eq!(serde_json::from_str::<BloomFilter>(&text).unwrap(), filter);
        }
        let huge = format!("{{\"positions\":7,\"bits\":\"{}\"}}", "A".repeat(23_000));
        for text in [
            "{\"positions\":0,\"bits\":\"AAAA\"}",
            "{\"positions\":8,\"bits\":\"AAAA\"}",
            "{\"positions\":7,\"bits\":\"\"}",
            "{\"positions\":7,\"bits\":\"!\"}",
            huge.as_str(),
        ] {
            assert!(serde_json::from_str::<BloomFilter>(text).is_err(), "{text}");
        }
    }
}
