//! Waiting times between attempts to connect (protocol, section 5: 0.2 to 5 s, full jitter).

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// A doubling ceiling with full jitter: each wait is drawn evenly between nothing and the ceiling.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    largest: Duration,
    ceiling: Duration,
}

impl Backoff {
    /// The first ceiling, and the one it doubles up to.
    pub fn new(first: Duration, largest: Duration) -> Self {
        Self {
            first,
            largest,
            ceiling: first,
        }
    }

    /// The next wait. The floor of a tenth of the first ceiling keeps an unlucky draw from hammering a server.
    pub fn next_wait(&mut self) -> Duration {
        let ceiling = self.ceiling;
        self.ceiling = ceiling.saturating_mul(2).min(self.largest);
        ceiling.mul_f64(fraction()).max(self.first / 10)
    }

    /// Starts again from the first ceiling, after an attempt that held.
    pub fn reset(&mut self) {
        self.ceiling = self.first;
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_millis(200), Duration::from_secs(5))
    }
}

/// A wait that is drawn evenly between half of `wait` and one and a half of it, so that many who began together do not go
/// on together.
pub fn spread(wait: Duration) -> Duration {
    wait.mul_f64(0.5 + fraction())
}

/// A number in `0.0..1.0`. The standard library seeds each `RandomState` apart, which is random enough to spread reconnects.
fn fraction() -> f64 {
    (RandomState::new().hash_one(0_u8) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_wait_is_near_what_was_asked_for() {
        let waits: Vec<Duration> = (0..200).map(|_| spread(Duration::from_secs(10))).collect();
        let within = Duration::from_secs(5)..Duration::from_secs(15);
        assert!(waits.iter().all(|wait| within.contains(wait)));
        assert!(waits.iter().any(|wait| *wait < Duration::from_secs(8)));
        assert!(waits.iter().any(|wait| *wait > Duration::from_secs(12)));
    }

    #[test]
    fn waits_grow_to_the_largest_and_differ() {
        let mut backoff = Backoff::default();
        let waits: Vec<Duration> = (0..200).map(|_| backoff.next_wait()).collect();
        assert!(waits[0] <= Duration::from_millis(200));
        assert!(
            waits
                .iter()
                .all(|w| *w <= Duration::from_secs(5) && *w >= Duration::from_millis(20))
        );
        assert!(waits.iter().any(|w| *w > Duration::from_secs(3)));
        assert!(waits.iter().skip(10).any(|w| *w < Duration::from_secs(2)));
        backoff.reset();
        assert!(backoff.next_wait() <= Duration::from_millis(200));
    }
}
