//! The brake on replacements.

use model::brake::Engaged;
use model::time::Wall;
use serde::{Deserialize, Serialize};

use crate::time::rfc3339_option;

/// Whether replacements are held back, since most of what they would replace vanished at once.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct BrakeBody {
    /// It is engaged, and not released.
    pub engaged: bool,
    /// An operator released it, and the storm goes on.
    pub released: bool,
    /// How many workers (of a root: clusters) vanished.
    pub vanished: u32,
    /// Of how many.
    pub of: u32,
    /// How many slots wait for it.
    pub waiting: u32,
    /// Until then nothing is replaced; after it one slot a second.
    #[serde(default, with = "rfc3339_option")]
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<crate::rest::schema::Time>")
    )]
    pub until: Option<Wall>,
}

impl BrakeBody {
    /// Of a brake, and how many slots wait for it.
    pub fn of(brake: Option<(&Engaged, usize)>) -> Self {
        brake.map_or_else(Self::default, |(engaged, waiting)| Self {
            engaged: !engaged.released,
            released: engaged.released,
            vanished: engaged.vanished,
            of: engaged.of,
            waiting: waiting as u32,
            until: Some(engaged.until_wall),
        })
    }
}
