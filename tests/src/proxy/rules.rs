//! What a proxy does to what passes through, and what it did.

use std::time::Duration;

/// Which way something travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From who connected to the server.
    Up,
    /// From the server to who connected.
    Down,
}

impl Direction {
    /// The other one.
    #[must_use]
    pub const fn back(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }
}

/// What befalls what travels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Towards the server.
    pub up: Way,
    /// From the server.
    pub down: Way,
}

impl Rules {
    /// The same both ways.
    pub fn both(way: &Way) -> Self {
        Self {
            up: way.clone(),
            down: way.clone(),
        }
    }

    pub(super) const fn way(&self, direction: Direction) -> &Way {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }
}

/// One direction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Way {
    /// Each piece is late by something between these two; their order stays.
    pub delay: Option<(Duration, Duration)>,
    /// Nothing goes through, and nothing is closed.
    pub stalled: bool,
    /// A connection is reset after so many bytes, in the middle of whatever it is in.
    pub cap: Option<u64>,
    /// What befalls PUBLISH packets; the first rule that hits decides.
    pub packets: Vec<PacketRule>,
}

impl Way {
    /// This fate for so many percent of the packets of a topic filter, after the rules that are there.
    #[must_use]
    pub fn fate(mut self, filter: &str, percent: u64, fate: Fate) -> Self {
        self.packets.push(PacketRule {
            filter: filter.to_owned(),
            percent,
            fate,
        });
        self
    }
}

/// What befalls some PUBLISH packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketRule {
    /// Of which topics, with `+` and `#` as MQTT has them.
    pub filter: String,
    /// How many of a hundred.
    pub percent: u64,
    /// What.
    pub fate: Fate,
}

/// What can befall a PUBLISH packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is lost behind its acknowledgement, as by a broker that forgets.
    Lose,
    /// It is lost, and never acknowledged: who sent it may end the connection.
    Swallow,
    /// It comes so many times more, each so much after the one before.
    Double {
        /// How often again.
        times: u32,
        /// Between two of them.
        apart: Duration,
    },
    /// It is late by something between these two; what comes after it is not.
    Late(Duration, Duration),
    /// Up to eight bytes of its payload are others.
    Corrupt,
}

/// What a proxy did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that came.
    pub connections: u64,
    /// Connections that it reset: asked to, at their cap, or since the other side broke.
    pub resets: u64,
    /// Towards the server.
    pub up: Tally,
    /// From the server.
    pub down: Tally,
}

/// What it did in one direction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bytes that it wrote.
    pub bytes: u64,
    /// PUBLISH packets that came to it.
    pub publishes: u64,
    /// Lost behind their acknowledgement.
    pub lost: u64,
    /// Lost without one.
    pub swallowed: u64,
    /// Packets that came again: each one more.
    pub doubled: u64,
    /// Made late.
    pub late: u64,
    /// Made wrong.
    pub corrupted: u64,
    /// Sent again by [`super::Proxy::inject`].
    pub injected: u64,
}
