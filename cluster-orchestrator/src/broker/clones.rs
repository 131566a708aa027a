//! Machines that share one identity: a disk that was copied, or a certificate that was stolen with its key.
//!
//! Machines that run at the same time have different boot ids, and the endpoint refuses the second one as long as the first
//! answers. Where that does not tell them apart, since a thief copies the boot id too, they push each other out: a worker that
//! moves to another network goes once, two machines go back and forth.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use model::id::NodeId;

/// A worker that goes from one address to another and back by pushing itself out within so long is two.
const TAKING_TURNS: Duration = Duration::from_mins(1);

/// Where workers were pushed out of their seats lately.
#[derive(Debug, Default)]
pub(super) struct Clones(HashMap<NodeId, Seats>);

#[derive(Debug)]
struct Seats {
    /// Who sits there, or did last.
    here: IpAddr,
    /// A newer connection took its seat.
    pushed: bool,
    /// From where it was pushed out last, and when.
    before: Option<(IpAddr, Instant)>,
}

impl Clones {
    /// A newer connection takes the seat of a worker.
    pub(super) fn pushed_out(&mut self, node: NodeId) {
        if let Some(seats) = self.0.get_mut(&node) {
            seats.pushed = true;
        }
    }

    /// A worker sits down; whether two machines take turns.
    pub(super) fn came(&mut self, node: NodeId, from: IpAddr, now: Instant) -> bool {
        let from = from.to_canonical();
        let Some(seats) = self.0.get_mut(&node) else {
            let seats = Seats {
                here: from,
                pushed: false,
                before: None,
            };
            self.0.insert(node, seats);
            return false;
        };
        let was = std::mem::replace(&mut seats.here, from);
        if !std::mem::take(&mut seats.pushed) || was == from {
            return false;
        }
        let before = seats.before.replace((was, now));
        before.is_some_and(|(place, at)| {
            place == from && now.saturating_duration_since(at) <= TAKING_TURNS
        })
    }

    /// It left by itself: nobody pushed it out.
    pub(super) fn left(&mut self, node: NodeId) {
        self.0.remove(&node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Comes from these last bytes of addresses, a second after each other, each pushing the one before out.
    fn turns(places: &[u8], between: Duration) -> Vec<bool> {
        let (mut clones, node) = (Clones::default(), NodeId::from_bits(7));
        let begun = Instant::now();
        let come = |(number, place): (usize, &u8)| {
            clones.pushed_out(node);
            let now = begun + between * number as u32;
            clones.came(node, IpAddr::from([192, 0, 2, *place]), now)
        };
        places.iter().enumerate().map(come).collect()
    }

    #[test]
    fn two_machines_take_turns_and_one_that_moves_does_not() {
        let second = Duration::from_secs(1);
        assert_eq!(turns(&[1, 2, 1], second), [false, false, true]);
        assert_eq!(turns(&[1, 2, 1, 2], second), [false, false, true, true]);
        assert_eq!(turns(&[1, 2, 2, 3], second), [false; 4]);
        assert_eq!(turns(&[1, 1, 1, 1], second), [false; 4]);
        assert_eq!(turns(&[1, 2, 1], second * 50), [false, false, true]);
        assert_eq!(turns(&[1, 2, 1], second * 70), [false; 3]);
    }

    #[test]
    fn who_left_before_was_not_pushed_out() {
        let (mut clones, node) = (Clones::default(), NodeId::from_bits(7));
        let now = Instant::now();
        for place in [1, 2, 1, 2] {
            assert!(!clones.came(node, IpAddr::from([192, 0, 2, place]), now));
            clones.left(node);
        }
        for place in [1, 2, 1, 2] {
            // Its connection was lost, which ends no session by another one.
            assert!(!clones.came(node, IpAddr::from([192, 0, 2, place]), now));
        }
    }
}
