//! A span of the calendar: `2years`, `6months`, `90days`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::Span;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::quantity;
use crate::error::{Error, ErrorKind};

pub(super) const EXPECTED: &str = "a period: whole numbers with the units years, months, weeks, \
                                   days, largest first (2years, 1year6months, 90days)";

/// A span of the calendar. The unit is kept: two years are two years, whether one is a leap year
/// or not.
///
/// ```
/// use watchdog_core::config::Period;
///
/// let history: Period = "2years".parse()?;
/// let start = jiff::civil::date(2026, 3, 1).checked_sub(history.span()).unwrap();
/// assert_eq!(start, jiff::civil::date(2024, 3, 1));
/// # Ok::<(), watchdog_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Period {
    years: u16,
    months: u16,
    weeks: u16,
    days: u16,
}

impl Period {
    /// Whole years, at most 9999.
    pub const fn years(years: u16) -> Self {
        Self { years: if years > MOST { MOST } else { years }, months: 0, weeks: 0, days: 0 }
    }

    /// Whole days, at most 9999.
    pub const fn days(days: u16) -> Self {
        Self { years: 0, months: 0, weeks: 0, days: if days > MOST { MOST } else { days } }
    }

    /// The period as a span, to add to or subtract from a date.
    pub fn span(&self) -> Span {
        Span::new()
            .years(i64::from(self.years))
            .months(i64::from(self.months))
            .weeks(i64::from(self.weeks))
            .days(i64::from(self.days))
    }

    /// Whether it has no length.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

/// Of each unit. Within what the calendar of [`jiff`] can subtract.
const MOST: u16 = 9_999;

impl FromStr for Period {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text)
            .ok_or_else(|| Error::new(ErrorKind::Config, format_args!("expected {EXPECTED}")))
    }
}

fn parse(text: &str) -> Option<Period> {
    let mut period = Period::default();
    let mut last = 0;
    for (number, unit) in quantity::split(text)? {
        let number = u16::try_from(number).ok().filter(|number| *number <= MOST)?;
        let (rank, field) = match unit {
            "y" | "year" | "years" => (1, &mut period.years),
            "mo" | "month" | "months" => (2, &mut period.months),
            "w" | "week" | "weeks" => (3, &mut period.weeks),
            "d" | "day" | "days" => (4, &mut period.days),
            _ => return None,
        };
        if rank <= last {
            return None;
        }
        last = rank;
        *field = number;
    }
    Some(period)
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0days");
        }
        for (number, unit) in
            [(self.years, "year"), (self.months, "month"), (self.weeks, "week"), (self.days, "day")]
        {
            match number {
                0 => {}
                1 => write!(f, "1{unit}")?,
                _ => write!(f, "{number}{unit}s")?,
            }
        }
        Ok(())
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Period {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "period" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_unit_is_kept() {
        assert_eq!("2years".parse::<Period>().unwrap(), Period::years(2));
        assert_eq!("90days".parse::<Period>().unwrap(), Period::days(90));
        assert_eq!("1year6months".parse::<Period>().unwrap().to_string(), "1year6months");
        assert_ne!("12months".parse::<Period>().unwrap(), Period::years(1));
    }

    #[test]
    fn anything_else_is_refused_without_being_shown() {
        for text in [
            "",
            "2",
            "2 years",
            "-2years",
            "2m",
            "1.5years",
            "6months1year",
            "1d1d",
            "10000years",
            "30s",
            "years",
        ] {
            let error = text.parse::<Period>().unwrap_err();
            assert!(error.to_string().starts_with("expected a period"), "{text:?}");
        }
    }

    #[test]
    fn the_longest_period_is_still_a_span() {
        let longest: Period = "9999years9999months9999weeks9999days".parse().unwrap();
        assert_eq!(longest.span().get_weeks(), 9_999);
    }
}
