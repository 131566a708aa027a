//! A broker that is not heard any more.

use std::time::Duration;

use rumqttc::{Event as Incident, Outgoing, Packet};
use tokio::time::{Instant, sleep_until};

use super::stream::Heard;

/// Later than this a timer shows that our own process stood still.
const LATE: Duration = Duration::from_millis(500);

/// What the broker gets after that: its bytes may not have been read yet.
const GRACE: Duration = Duration::from_secs(1);

/// How long nothing was heard, and what the broker owes us.
///
/// Both sides miss each other after the same silence of one and a half keep-alives, so that a worker is back on a new
/// connection before its cluster has counted it as lost. The library alone is later: it pings after a keep-alive in which it
/// sent nothing, and looks for the answer another one after that. It also hangs up on a broker whose answer stands behind a
/// large message on a slow link, although bytes of that arrive: while it waits for one, its own patience has to be off.
#[derive(Debug)]
pub(super) struct Silence {
    keep_alive: Duration,
    /// Since when an answer is owed.
    asked: Option<Instant>,
    /// That the answer to a ping is among them.
    pinged: bool,
    /// Until then nothing is overdue, since we stood still ourselves.
    excused: Option<Instant>,
}

impl Silence {
    /// With nothing owed. A keep-alive of zero means that silence is no sign of anything.
    pub(super) const fn new(keep_alive: Duration) -> Self {
        Self {
            keep_alive,
            asked: None,
            pinged: false,
            excused: None,
        }
    }

    /// Takes note of what went over the connection at a time.
    pub(super) fn note(&mut self, incident: &Incident, now: Instant) {
        match incident {
            Incident::Incoming(Packet::PingResp) => {
                self.pinged = false;
                self.asked = None;
            }
            // The ping is the question that will be put again; what else is unanswered does not outlast it.
            Incident::Incoming(_) if self.pinged => {}
            Incident::Incoming(_) => self.asked = None,
            Incident::Outgoing(outgoing) => match outgoing {
                Outgoing::PingReq => {
                    self.pinged = true;
                    self.asked.get_or_insert(now);
                }
                Outgoing::Publish(1..) | Outgoing::Subscribe(_) | Outgoing::Unsubscribe(_) => {
                    self.asked.get_or_insert(now);
                }
                Outgoing::Publish(0)
                | Outgoing::PubAck(_)
                | Outgoing::PubRec(_)
                | Outgoing::PubRel(_)
                | Outgoing::PubComp(_)
                | Outgoing::PingResp
                | Outgoing::Disconnect
                | Outgoing::AwaitAck(_) => {}
            },
        }
    }

    /// That a ping waits for its answer.
    pub(super) const fn awaits_pong(&self) -> bool {
        self.pinged
    }

    /// When the broker counts as gone if no more is heard of it: after one and a half keep-alives, of which it had half a one to
    /// answer.
    fn gone_at(&self, heard: Instant) -> Option<Instant> {
        let asked = self.asked.filter(|_| !self.keep_alive.is_zero())?;
        let silent = heard + self.keep_alive + self.keep_alive / 2;
        let at = silent.max(asked + self.keep_alive / 2);
        Some(self.excused.map_or(at, |until| until.max(at)))
    }

    /// Waits until the broker counts as gone; for ever while nothing is owed. Safe to cancel.
    pub(super) async fn too_long(&mut self, heard: &Heard) {
        loop {
            let Some(at) = self.gone_at(heard.last()) else {
                return std::future::pending().await;
            };
            sleep_until(at).await;
            let now = Instant::now();
            if self.gone_at(heard.last()).is_some_and(|at| at > now) {
                continue;
            }
            if now < at + LATE {
                return;
            }
            self.excused = Some(now + GRACE);
        }
    }
}

#[cfg(test)]
mod tests {
    use rumqttc::{ConnAck, ConnectReturnCode, PubAck};

    use super::*;

    const KEEP_ALIVE: Duration = Duration::from_secs(4);

    /// When the broker counts as gone after these, in seconds; it was heard at `heard`.
    fn gone_at(heard: u64, incidents: &[(u64, Incident)]) -> Option<u64> {
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        let mut silence = Silence::new(KEEP_ALIVE);
        for (at, incident) in incidents {
            silence.note(incident, after(*at));
        }
        let at = silence.gone_at(after(heard))?;
        Some(at.duration_since(begun).as_secs())
    }

    fn ping() -> Incident {
        Incident::Outgoing(Outgoing::PingReq)
    }

    fn publish() -> Incident {
        Incident::Outgoing(Outgoing::Publish(7))
    }

    fn pong() -> Incident {
        Incident::Incoming(Packet::PingResp)
    }

    fn ack() -> Incident {
        Incident::Incoming(Packet::PubAck(PubAck::new(7)))
    }

    #[test]
    fn a_broker_is_gone_one_and_a_half_keep_alives_after_its_last_byte() {
        let connected = ConnAck::new(ConnectReturnCode::Success, false);
        let connected = Incident::Incoming(Packet::ConnAck(connected));
        for (incidents, heard, gone) in [
            (vec![], 0, None),
            (vec![(0, connected)], 0, None),
            // The ping comes a keep-alive after what was sent last, which was heard of at once.
            (vec![(4, ping())], 0, Some(6)),
            // A report in between is a question too, and no reason to begin again.
            (vec![(3, publish()), (7, ping())], 0, Some(6)),
            (vec![(3, publish()), (3, ack())], 3, None),
            // It has half a keep-alive for its answer, also if we asked late.
            (vec![(9, publish())], 0, Some(11)),
            (vec![(4, ping()), (5, pong())], 5, None),
            // A part of a large message is heard, and the answer stands behind it.
            (vec![(4, ping())], 9, Some(15)),
            // Other messages do not answer a ping, without which nobody asks again.
            (vec![(4, ping()), (5, ack())], 5, Some(11)),
            (vec![(4, ping()), (5, ack()), (6, pong())], 6, None),
        ] {
            assert_eq!(gone_at(heard, &incidents), gone, "{incidents:?}");
        }
    }

    #[test]
    fn without_a_keep_alive_nobody_is_gone() {
        let mut silence = Silence::new(Duration::ZERO);
        silence.note(&ping(), Instant::now());
        assert_eq!(silence.gone_at(Instant::now()), None);
    }

    /// A connection over which a ping went just now.
    fn pinged() -> (Heard, Instant, Silence) {
        let (heard, begun) = (Heard::new(), Instant::now());
        let mut silence = Silence::new(KEEP_ALIVE);
        silence.note(&ping(), begun);
        (heard, begun, silence)
    }

    #[tokio::test(start_paused = true)]
    async fn who_stood_still_oneself_waits_a_little_longer() {
        let (heard, begun, mut silence) = pinged();
        // The process does not run, and its timers fire all at once when it does.
        tokio::time::advance(Duration::from_mins(1)).await;
        silence.too_long(&heard).await;
        assert!(begun.elapsed() >= Duration::from_mins(1) + GRACE);
        assert!(begun.elapsed() < Duration::from_mins(1) + GRACE + LATE);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_come_meanwhile_put_it_off() {
        let (heard, begun, mut silence) = pinged();
        let gone = silence.too_long(&heard);
        let bytes = async {
            for _ in 0..3 {
                tokio::time::sleep(KEEP_ALIVE).await;
                heard.now();
            }
        };
        tokio::join!(gone, bytes);
        assert_eq!(begun.elapsed().as_secs(), 3 * 4 + 6);
    }
}
