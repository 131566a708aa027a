//! Times and durations as people and messages write them.

use std::time::Duration;

use jiff::Timestamp;
use model::time::Wall;

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no duration; write a whole number and its unit, as in 200ms, 10s, 1m, 2h or 1d"
)]
pub struct DurationError {
    text: String,
}

/// Why a text is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no time; write it as in 2026-11-05T08:30:00Z")]
pub struct TimeError {
    text: String,
}

const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads a whole number with one unit: `200ms`, `10s`, `1m`, `2h`, `1d`.
///
/// # Errors
/// When the unit is missing or unknown, the number is not a whole one, or the product leaves 64 bits.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    UNITS
        .iter()
        .find(|(word, _)| *word == unit)
        .and_then(|(_, millis)| number.parse::<u64>().ok()?.checked_mul(*millis))
        .map(Duration::from_millis)
        .ok_or_else(|| DurationError {
            text: text.chars().take(80).collect(),
        })
}

/// Writes a duration in the largest unit that divides it: the inverse of [`parse_duration`] down to milliseconds.
pub fn format_duration(duration: Duration) -> String {
    let millis = duration.as_millis() as u64;
    let (unit, size) = UNITS
        .into_iter()
        .find(|(_, size)| millis >= *size && millis.is_multiple_of(*size))
        .unwrap_or(("s", 1_000));
    format!("{}{unit}", millis / size)
}

/// The first moment of year 0, the earliest that RFC 3339 can write.
const YEAR_ZERO_MS: i64 = -62_167_219_200_000;
/// The last millisecond that any time zone can show as a day of the year 9999.
const LAST_MS: i64 = 253_402_207_199_999;

/// RFC 3339 in UTC with milliseconds: `2026-11-05T08:30:00.000Z`. What it cannot write becomes the nearest that it can.
pub fn format_wall(wall: Wall) -> String {
    let millis = wall.0.clamp(YEAR_ZERO_MS, LAST_MS);
    let timestamp = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{timestamp:.3}")
}

/// Reads RFC 3339 with any offset; what is finer than a millisecond is cut off.
///
/// # Errors
/// When it is no such time.
pub fn parse_wall(text: &str) -> Result<Wall, TimeError> {
    text.parse::<Timestamp>()
        .map(|timestamp| Wall(timestamp.as_millisecond()))
        .map_err(|_| TimeError {
            text: text.chars().take(80).collect(),
        })
}

/// For `#[serde(with)]` on a [`Wall`]: RFC 3339 text.
pub mod rfc3339 {
    use model::time::Wall;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the text.
    pub fn serialize<S: Serializer>(wall: &Wall, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format_wall(*wall))
    }

    /// Reads the text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Wall, D::Error> {
        super::parse_wall(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// For `#[serde(with)]` on an `Option<Wall>`: RFC 3339 text or null.
pub mod rfc3339_option {
    use model::time::Wall;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes the text or null.
    pub fn serialize<S: Serializer>(wall: &Option<Wall>, serializer: S) -> Result<S::Ok, S::Error> {
        wall.map(super::format_wall).serialize(serializer)
    }

    /// Reads the text or null.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Wall>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| super::parse_wall(&text))
            .transpose()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_unit_and_survive_their_text() {
        for (text, millis) in [
            ("200ms", 200),
            ("10s", 10_000),
            ("1m", 60_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("0s", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)));
            assert_eq!(format_duration(Duration::from_millis(millis)), text);
        }
        for bad in [
            "",
            "10",
            "s",
            "1.5s",
            "-1s",
            "1m30s",
            "1 s",
            "99999999999999999999s",
            "18446744073709551615d",
            "１s",
        ] {
            assert!(
                parse_duration(bad).unwrap_err().to_string().contains("10s"),
                "{bad}"
            );
        }
    }

    #[test]
    fn times_are_utc_with_milliseconds_and_never_fail() {
        assert_eq!(
            format_wall(Wall(1_793_867_400_123)),
            "2026-11-05T08:30:00.123Z"
        );
        assert_eq!(
            parse_wall("2026-11-05T09:30:00.1239+01:00"),
            Ok(Wall(1_793_867_400_123))
        );
        assert_eq!(format_wall(Wall(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(format_wall(Wall(i64::MIN)), "0000-01-01T00:00:00.000Z");
        assert_eq!(format_wall(Wall(i64::MAX)), "9999-12-30T21:59:59.999Z");
        assert!(parse_wall("yesterday").is_err());
    }
}
