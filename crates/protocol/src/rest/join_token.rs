//! Tokens by which workers join a cluster, and clusters a root.

use std::ops::RangeInclusive;
use std::time::Duration;

use model::id::JoinTokenId;
use model::joining::{JoinBook, JoinGrant};
use model::time::Wall;
use serde::{Deserialize, Serialize};

use super::request::known;
use crate::document::{Fault, Format, parse_one};
use crate::time::{format_duration, rfc3339};

/// How many may join with one.
const USES: RangeInclusive<u64> = 1..=JoinBook::USES as u64;
/// How long a token lives at least and at most.
const LIFE: RangeInclusive<Duration> = Duration::from_secs(1)..=JoinBook::LONGEST;
/// How long it lives where nothing is said.
const USUAL: Duration = Duration::from_hours(1);

/// `POST /join-tokens`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinTokenRequest {
    /// How many machines may join with it.
    pub uses: u32,
    /// How long it lives.
    pub ttl: Duration,
}

impl Default for JoinTokenRequest {
    /// One machine, within an hour.
    fn default() -> Self {
        Self {
            uses: 1,
            ttl: USUAL,
        }
    }
}

impl JoinTokenRequest {
    /// Reads a body; an empty one asks for the usual.
    ///
    /// # Errors
    /// With all faults.
    pub fn parse(body: &[u8], format: Format) -> Result<Self, Vec<Fault>> {
        let usual = Self::default();
        if body.trim_ascii().is_empty() {
            return Ok(usual);
        }
        parse_one(body, format, |root, faults| {
            let fields = known(root, &["uses", "ttl"], faults)?;
            let uses = match fields.get("uses") {
                Some(spot) => spot.whole(&USES, faults).map(|uses| uses as u32),
                None => Some(usual.uses),
            };
            let ttl = match fields.get("ttl") {
                Some(spot) => spot.duration(&LIFE, faults),
                None => Some(usual.ttl),
            };
            Some(Self {
                uses: uses?,
                ttl: ttl?,
            })
        })
    }

    /// The body that [`JoinTokenRequest::parse`] reads, as JSON.
    pub fn body(&self) -> serde_json::Value {
        serde_json::json!({"uses": self.uses, "ttl": format_duration(self.ttl)})
    }
}

/// A join token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct JoinTokenBody {
    /// Which token it is; no secret.
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "crate::rest::schema::JoinTokenIdText")
    )]
    pub token_id: JoinTokenId,
    /// How many may join with it.
    pub uses: u32,
    /// How many have.
    pub used: u32,
    /// Who made it.
    pub created_by: String,
    /// When.
    #[serde(with = "rfc3339")]
    #[cfg_attr(feature = "openapi", schemars(with = "crate::rest::schema::Time"))]
    pub created_at: Wall,
    /// From then on nobody joins with it.
    #[serde(with = "rfc3339")]
    #[cfg_attr(feature = "openapi", schemars(with = "crate::rest::schema::Time"))]
    pub expires_at: Wall,
}

impl JoinTokenBody {
    /// Of a token that was used so often.
    pub fn new(grant: &JoinGrant, used: u32) -> Self {
        Self {
            token_id: grant.id,
            uses: grant.uses,
            used,
            created_by: grant.by.clone(),
            created_at: grant.created_at,
            expires_at: grant.expires_at,
        }
    }
}

/// A join token that was just made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct NewJoinTokenBody {
    /// The whole token, its secret with it: shown now and never again.
    pub token: String,
    /// What is known of it later.
    #[serde(flatten)]
    pub about: JoinTokenBody,
}

impl std::fmt::Debug for NewJoinTokenBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewJoinTokenBody")
            .field("about", &self.about)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<JoinTokenRequest, Vec<Fault>> {
        JoinTokenRequest::parse(body.as_bytes(), Format::Yaml)
    }

    #[test]
    fn what_is_left_out_is_the_usual_and_what_is_asked_for_survives() {
        assert_eq!(read(""), Ok(JoinTokenRequest::default()));
        assert_eq!(read("{}"), Ok(JoinTokenRequest::default()));
        let many = JoinTokenRequest {
            uses: 100,
            ttl: Duration::from_mins(90),
        };
        assert_eq!(read("{uses: 100, ttl: 90m}"), Ok(many));
        let json = many.body().to_string();
        assert_eq!(
            JoinTokenRequest::parse(json.as_bytes(), Format::Json),
            Ok(many)
        );
    }

    #[test]
    fn what_would_be_of_no_use_is_refused() {
        for bad in [
            "uses: 0",
            "uses: 10001",
            "uses: '1'",
            "ttl: 0s",
            "ttl: 721h",
            "ttl: soon",
            "use: 1",
        ] {
            assert_eq!(read(bad).unwrap_err().len(), 1, "{bad}");
        }
    }
}
