//! The brake: when most children vanish at once the fault is more likely between us and them than with each of them, and
//! placing everything anew would do more harm than waiting (protocol, section 5).
//!
//! While it is engaged, replacements wait for one grace, then go on one a second; an operator may release it. What is placed
//! for the first time never waits. Soft: a restart begins with all children unheard, which is a grace of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::reason::{Reason, ReasonCode};
use crate::time::{Instant, Now, Wall};

/// More than this share of the children, in percent.
pub const SHARE: usize = 55;
/// Between two replacements once the pause is over.
pub const PACE: Duration = Duration::from_secs(1);

/// An engaged brake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Engaged {
    /// Until then nothing is replaced.
    pub until: Instant,
    /// The same by the wall clock, shown.
    pub until_wall: Wall,
    /// How many vanished.
    pub vanished: u32,
    /// Of how many.
    pub of: u32,
    /// An operator let it go; it engages again when this storm is over and another one comes.
    pub released: bool,
}

impl Engaged {
    /// Why a replacement waits; `children` is what vanished, in the plural.
    pub fn reason(&self, now: Instant, children: &str) -> Reason {
        let message = format!(
            "{} of {} {children} vanished at once, so replacements wait for {} s and then go on one a second; if these {children} are really gone: DELETE /api/v1/brake",
            self.vanished,
            self.of,
            self.until.since(now).as_secs()
        );
        Reason::new(ReasonCode::Brake, message)
    }

    /// The same, let go by an operator.
    #[must_use]
    pub const fn let_go(self) -> Self {
        Self {
            released: true,
            ..self
        }
    }
}

/// The brake over children that these keys name.
#[derive(Debug, Clone)]
pub struct Brake<K> {
    since: BTreeMap<K, Instant>,
    by_time: BTreeSet<(Instant, K)>,
    engaged: Option<Engaged>,
    replaced_at: Option<Instant>,
}

impl<K> Default for Brake<K> {
    fn default() -> Self {
        Self {
            since: BTreeMap::new(),
            by_time: BTreeSet::new(),
            engaged: None,
            replaced_at: None,
        }
    }
}

impl<K: Ord + Copy> Brake<K> {
    /// A child that was heard is heard no more.
    pub fn vanish(&mut self, key: K, now: Instant) {
        if self.since.insert(key, now).is_none() {
            self.by_time.insert((now, key));
        } else {
            self.back(key);
            self.vanish(key, now);
        }
    }

    /// A child is heard again, or is none any more.
    pub fn back(&mut self, key: K) {
        if let Some(at) = self.since.remove(&key) {
            self.by_time.remove(&(at, key));
        }
    }

    /// How many of `all` vanished within `window`, where that is a storm: of `least` children and more over [`SHARE`] percent.
    fn storm(&self, now: Instant, (all, least): (usize, usize), window: Duration) -> Option<u32> {
        if all < least || self.since.len() * 100 <= SHARE * all {
            return None;
        }
        let late = |(at, _): &&(Instant, K)| now.since(*at) <= window;
        let vanished = self.by_time.iter().rev().take_while(late).count();
        (vanished * 100 > SHARE * all).then_some(vanished as u32)
    }

    /// What it is to be now, if that is not what it is. `idle`: no replacement waits for it.
    pub fn due(
        &self,
        now: Now,
        children: (usize, usize),
        grace: Duration,
        idle: bool,
    ) -> Option<Option<Engaged>> {
        let storm = || self.storm(now.steady, children, grace);
        match &self.engaged {
            None => storm().map(|vanished| {
                Some(Engaged {
                    until: now.steady.plus(grace),
                    until_wall: now.wall.plus(grace),
                    vanished,
                    of: children.0 as u32,
                    released: false,
                })
            }),
            Some(engaged) => {
                let over = idle && engaged.until <= now.steady && storm().is_none();
                over.then_some(None)
            }
        }
    }

    /// Engages it, releases it, or lets it go.
    pub const fn set(&mut self, engaged: Option<Engaged>) {
        self.engaged = engaged;
        if self.engaged.is_none() {
            self.replaced_at = None;
        }
    }

    /// What it says, if it is engaged.
    pub const fn engaged(&self) -> Option<&Engaged> {
        self.engaged.as_ref()
    }

    /// When the next replacement may be; `None`: at once.
    pub fn next(&self) -> Option<Instant> {
        let engaged = self.engaged.filter(|engaged| !engaged.released)?;
        let paced = self.replaced_at.map(|at| at.plus(PACE));
        Some(paced.map_or(engaged.until, |at| at.max(engaged.until)))
    }

    /// A replacement was placed.
    pub const fn replaced(&mut self, now: Instant) {
        if self.engaged.is_some() {
            self.replaced_at = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now {
            steady: Instant(seconds * 1_000),
            wall: Wall(seconds as i64 * 1_000),
        }
    }

    const GRACE: Duration = Duration::from_secs(20);

    fn after(vanished: u64, seconds: u64) -> Brake<u64> {
        let mut brake = Brake::default();
        for key in 0..vanished {
            brake.vanish(key, at(seconds).steady);
        }
        brake
    }

    #[test]
    fn it_engages_when_more_than_its_share_of_ten_and_more_vanish_within_a_grace() {
        let due = |vanished, all| {
            let due = after(vanished, 100).due(at(105), (all, 10), GRACE, true);
            due.flatten().map(|engaged| (engaged.vanished, engaged.of))
        };
        assert_eq!(due(6, 10), Some((6, 10)));
        assert_eq!(due(5, 10), None, "half is no storm");
        assert_eq!(due(9, 9), None, "nine workers are too few to tell");
        assert_eq!(due(55, 100), None);
        assert_eq!(due(56, 100), Some((56, 100)));
        let slowly = after(8, 100).due(at(121), (10, 10), GRACE, true);
        assert_eq!(slowly, None, "not within one grace");
    }

    #[test]
    fn who_returns_does_not_count_and_who_vanishes_again_counts_once() {
        let mut brake = after(8, 100);
        brake.back(0);
        brake.back(1);
        brake.back(2);
        brake.vanish(3, at(101).steady);
        assert_eq!(brake.due(at(105), (10, 10), GRACE, true), None);
        brake.vanish(0, at(102).steady);
        assert!(brake.due(at(105), (10, 10), GRACE, true).is_some());
    }

    #[test]
    fn replacements_pause_for_one_grace_and_then_go_on_one_a_second() {
        let mut brake = after(8, 100);
        let engaged = brake.due(at(101), (10, 10), GRACE, true).flatten();
        brake.set(engaged);
        assert_eq!(brake.next(), Some(at(121).steady));
        brake.replaced(at(121).steady);
        assert_eq!(brake.next(), Some(at(122).steady));
        assert_eq!(
            brake.due(at(130), (10, 10), GRACE, false),
            None,
            "somebody waits"
        );
        assert_eq!(brake.due(at(130), (10, 10), GRACE, true), Some(None));
        brake.set(None);
        assert_eq!(brake.next(), None);
    }

    #[test]
    fn a_released_brake_stays_released_for_as_long_as_the_storm_lasts() {
        let mut brake = after(8, 100);
        let engaged = brake.due(at(101), (10, 10), GRACE, true).flatten().unwrap();
        brake.set(Some(engaged.let_go()));
        assert_eq!(brake.next(), None);
        assert_eq!(brake.due(at(110), (10, 10), GRACE, true), None);
    }
}
