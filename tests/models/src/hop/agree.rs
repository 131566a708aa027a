//! Whether both sides agree soon after the faults have stopped.

use std::collections::VecDeque;

use super::run::{LATE, Message};
use super::world::World;
use super::{Hop, Sabotage};

/// Within so many exchanges both agree when nothing is lost any more, and with so many messages at most.
const EXCHANGES: u64 = 6;
const MESSAGES: usize = 40;

impl World {
    /// With the faults over and what is under way lost, the child comes to hold the present set: at once after a new
    /// connection, and on the old one when the time of a resend comes.
    pub(super) fn settles(&self, hop: &Hop) -> bool {
        self.agrees(hop, false) && self.agrees(hop, true)
    }

    fn agrees(&self, hop: &Hop, reconnect: bool) -> bool {
        let mut world = self.clone();
        world.runs.drain(..world.runs.len() - 1);
        if let Some(run) = world.runs.last_mut().filter(|_| reconnect) {
            run.parent.disconnected();
        }
        let mut messages = 0;
        for _ in 0..EXCHANGES {
            let mut now = late(hop);
            let mut queue = VecDeque::from([Message::Held(world.child.held())]);
            while let Some(message) = queue.pop_front() {
                let mut out = Vec::new();
                world.arrive(hop, &message, std::mem::take(&mut now), &mut out);
                messages += out.len();
                queue.extend(out);
                if messages > MESSAGES {
                    return false;
                }
            }
            if world.is_agreed() {
                return true;
            }
        }
        // Of two copies of one store neither knows what the other one did. The child keeps what it has, and an operator is
        // needed.
        world.is_astray() && world.child.set() == self.child.set()
    }

    fn is_agreed(&self) -> bool {
        self.runs.last().is_some_and(|run| {
            run.parent.is_synced(run.incarnation)
                && self.child.mark().incarnation == Some(run.incarnation)
                && self.child.mark().term.nonce == run.term.nonce
                && self.child.set() == run.parent.set()
        })
    }

    /// The child has what a run on another copy of the store has decided, and the present run is behind that.
    fn is_astray(&self) -> bool {
        let mark = self.child.mark();
        self.runs.last().is_some_and(|run| {
            mark.incarnation == Some(run.incarnation)
                && mark.term.nonce != run.term.nonce
                && mark.revision > run.parent.revision()
        })
    }
}

/// When a resend is due; never, where nothing is sent twice.
pub(super) fn late(hop: &Hop) -> u64 {
    if hop.sabotage == Some(Sabotage::SentOnce) {
        0
    } else {
        LATE
    }
}
