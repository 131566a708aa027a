//! How often somebody may ask.
//!
//! Each identity has its own budget, so that nobody uses up another's: a user, or else the address that a request comes
//! from. Failed tries have a budget of their own for each address, which is far smaller; it is looked at only where something
//! failed, so that a stranger behind an address does not lock out a valid token from there.
//!
//! An identity is known by the moment at which its budget is whole again, and nothing else; those whose budget is whole are
//! forgotten when there is no place for others.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::hash::RandomState;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::name::Name;
use prometheus::{IntCounterVec, IntGauge, Opts};

/// So long an identity may have saved up: a burst is twice what a second allows.
const SAVED: Duration = Duration::from_secs(2);
/// Between two notes that the same identity asks too often.
const NOTED: Duration = Duration::from_secs(10);
/// Parts of the table: requests of different identities seldom wait for each other.
const SHARDS: usize = 16;
/// Identities in each part.
const ROOM: usize = 4_096;

/// Requests a second; `off`: as many as come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(Option<NonZeroU32>);

/// A value that is no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected requests a second, 1 to 1000000, for example 500, or off for no limit")]
pub struct RateError;

impl Rate {
    /// No limit.
    pub const OFF: Self = Self(None);

    /// So many a second; 0 is no rate.
    pub const fn per_second(count: u32) -> Option<Self> {
        match NonZeroU32::new(count) {
            Some(count) if count.get() <= 1_000_000 => Some(Self(Some(count))),
            Some(_) | None => None,
        }
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        if text == "off" {
            return Ok(Self::OFF);
        }
        // No sign, no spaces.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let count = text.parse().ok().filter(|_| digits);
        count.and_then(Self::per_second).ok_or(RateError)
    }
}

/// How often each may ask; `#[command(flatten)]` them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub struct RateOptions {
    /// Requests a second of each user, or off; for a moment twice as many. More are refused (429).
    #[arg(long = "user-rate", value_name = "RATE", default_value = "1000")]
    pub users: Rate,
    /// The same of administrators of the tenant above all, and of an orchestrator without users on its own machine.
    #[arg(long = "admin-rate", value_name = "RATE", default_value = "off")]
    pub administrators: Rate,
    /// The same of each address, for requests that show no token.
    #[arg(long = "address-rate", value_name = "RATE", default_value = "500")]
    pub addresses: Rate,
    /// Failed tries a second of each address, or off: wrong tokens, passwords and join tokens.
    #[arg(long = "failure-rate", value_name = "RATE", default_value = "10")]
    pub failures: Rate,
}

impl Default for RateOptions {
    fn default() -> Self {
        let rate = |count| Rate::per_second(count).unwrap_or(Rate::OFF);
        Self {
            users: rate(1_000),
            administrators: Rate::OFF,
            addresses: rate(500),
            failures: rate(10),
        }
    }
}

/// Which budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    Users,
    Administrators,
    Addresses,
    Failures,
}

impl Limit {
    const ALL: [Self; 4] = [
        Self::Users,
        Self::Administrators,
        Self::Addresses,
        Self::Failures,
    ];

    /// The word in metrics.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Users => "user",
            Self::Administrators => "admin",
            Self::Addresses => "address",
            Self::Failures => "failure",
        }
    }
}

/// Whose budget.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Identity {
    User(Name),
    Address(u128),
    /// The failed tries of an address.
    Failing(u128),
}

impl Identity {
    /// An IPv4 address; of IPv6 the network of 64 bits, whose addresses one machine may all have.
    fn network(from: Option<SocketAddr>) -> u128 {
        match from.map(|from| from.ip().to_canonical()) {
            Some(IpAddr::V4(address)) => address.to_ipv6_mapped().to_bits(),
            Some(IpAddr::V6(address)) => address.to_bits() >> 64 << 64,
            None => 0,
        }
    }

    pub(super) fn address(from: Option<SocketAddr>) -> Self {
        Self::Address(Self::network(from))
    }

    pub(super) fn failing(from: Option<SocketAddr>) -> Self {
        Self::Failing(Self::network(from))
    }
}

/// It asks too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooOften {
    /// How long until the next one is let through.
    pub(super) wait: Duration,
    /// It was not noted lately.
    pub(super) news: bool,
}

impl TooOften {
    /// Whole seconds, 1 at least.
    pub(super) fn seconds(self) -> u32 {
        u32::try_from(self.wait.as_millis().div_ceil(1_000)).map_or(u32::MAX, |wait| wait.max(1))
    }
}

/// What is known of an identity, in nanoseconds since there are budgets.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    /// When its budget is whole again.
    whole: u64,
    /// Until when it is not noted again that it asks too often.
    noted: u64,
}

/// All budgets.
#[derive(Debug)]
pub(super) struct Rates {
    options: RateOptions,
    since: Instant,
    hasher: RandomState,
    shards: [Mutex<HashMap<Identity, Known>>; SHARDS],
    /// Refused for asking too often, by budget.
    pub(super) refused: IntCounterVec,
    /// Identities whose budget may not be whole.
    pub(super) identities: IntGauge,
}

impl Rates {
    /// # Errors
    /// When the names of the metrics are none: a bug.
    pub(super) fn new(options: RateOptions) -> Result<Self, prometheus::Error> {
        let refused = Opts::new(
            "edgeio_rate_refusals_total",
            "Requests that were refused since too many came, by limit",
        );
        let refused = IntCounterVec::new(refused, &["limit"])?;
        // Each is there from the start, so that a first refusal is seen as one more.
        for limit in Limit::ALL {
            refused.with_label_values(&[limit.as_str()]);
        }
        Ok(Self {
            options,
            since: Instant::now(),
            hasher: RandomState::new(),
            shards: Default::default(),
            refused,
            identities: IntGauge::new(
                "edgeio_rate_identities",
                "Users and addresses whose requests are counted",
            )?,
        })
    }

    /// How long it has been there.
    pub(super) fn now(&self) -> Duration {
        self.since.elapsed()
    }

    /// How much of a budget one takes, in nanoseconds; `None`: there is no limit.
    fn each(&self, limit: Limit) -> Option<u64> {
        let Rate(rate) = match limit {
            Limit::Users => self.options.users,
            Limit::Administrators => self.options.administrators,
            Limit::Addresses => self.options.addresses,
            Limit::Failures => self.options.failures,
        };
        rate.map(|rate| 1_000_000_000 / u64::from(rate.get()))
    }

    /// One more, at that time.
    pub(super) fn take(
        &self,
        limit: Limit,
        identity: &Identity,
        now: Duration,
    ) -> Result<(), TooOften> {
        let Some(each) = self.each(limit) else {
            return Ok(());
        };
        let now = nanos(now);
        self.change(identity, now, |known| {
            let whole = known.whole.max(now) + each;
            judge(whole, now, known)?;
            known.whole = whole;
            Ok(())
        })
        .inspect_err(|_| self.refused.with_label_values(&[limit.as_str()]).inc())
    }

    /// Whether one more would be let through; it is not counted.
    pub(super) fn look(
        &self,
        limit: Limit,
        identity: &Identity,
        now: Duration,
    ) -> Result<(), TooOften> {
        let Some(each) = self.each(limit) else {
            return Ok(());
        };
        let now = nanos(now);
        let mut shard = self.shard(identity);
        let Some(known) = shard.get_mut(identity) else {
            return Ok(());
        };
        judge(known.whole.max(now) + each, now, known)
            .inspect_err(|_| self.refused.with_label_values(&[limit.as_str()]).inc())
    }

    fn shard(&self, identity: &Identity) -> std::sync::MutexGuard<'_, HashMap<Identity, Known>> {
        let number = self.hasher.hash_one(identity) as usize % SHARDS;
        let shard = self.shards.get(number).unwrap_or(&self.shards[0]);
        // A table is whole after each step.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, identity: &Identity, now: u64, change: impl FnOnce(&mut Known) -> T) -> T {
        let mut shard = self.shard(identity);
        if let Some(known) = shard.get_mut(identity) {
            return change(known);
        }
        let before = shard.len();
        if before >= ROOM {
            make_room(&mut shard, now);
        }
        let known = shard.entry(identity.clone()).or_default();
        let done = change(known);
        let grown = shard.len() as i64 - before as i64;
        drop(shard);
        self.identities.add(grown);
        done
    }
}

/// Whether a budget that is whole at `whole` allows it.
fn judge(whole: u64, now: u64, known: &mut Known) -> Result<(), TooOften> {
    let wait = (whole - now).saturating_sub(nanos(SAVED));
    if wait == 0 {
        return Ok(());
    }
    let news = known.noted <= now;
    if news {
        known.noted = now + nanos(NOTED);
    }
    Err(TooOften {
        wait: Duration::from_nanos(wait),
        news,
    })
}

/// Forgets whose budget is whole, and if that is nobody those who have used less of theirs than most: so many at a time that
/// the next ones find a place at once.
fn make_room(shard: &mut HashMap<Identity, Known>, now: u64) {
    shard.retain(|_, known| known.whole > now);
    if shard.len() < ROOM {
        return;
    }
    let sum: u128 = shard.values().map(|known| u128::from(known.whole)).sum();
    let mean = sum / shard.len() as u128;
    shard.retain(|_, known| u128::from(known.whole) > mean);
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(failures: u32) -> Rates {
        Rates::new(RateOptions {
            failures: Rate::per_second(failures).unwrap(),
            ..RateOptions::default()
        })
        .unwrap()
    }

    fn failing(address: &str) -> Identity {
        let address = SocketAddr::new(address.parse().unwrap(), 7);
        Identity::failing(Some(address))
    }

    fn through(rates: &Rates, who: &Identity, tries: u32, now: Duration) -> u32 {
        let one = |_: &u32| rates.take(Limit::Failures, who, now).is_ok();
        (0..tries).filter(one).count() as u32
    }

    #[test]
    fn a_burst_is_what_two_seconds_allow_and_then_it_is_the_rate() {
        let (rates, who) = (rates(10), failing("192.0.2.1"));
        let second = Duration::from_secs(1);
        assert_eq!(through(&rates, &who, 1_000, second), 20);
        assert_eq!(through(&rates, &who, 1_000, second * 2), 10);
        assert_eq!(through(&rates, &who, 1_000, second * 60), 20);
        let refused = rates.take(Limit::Failures, &who, second * 60).unwrap_err();
        assert_eq!(refused.wait, Duration::from_millis(100));
        assert_eq!(refused.seconds(), 1);
        // A look tells the same and takes nothing.
        let later = second * 61;
        for _ in 0..100 {
            rates.look(Limit::Failures, &who, later).unwrap();
        }
        assert_eq!(through(&rates, &who, 1_000, later), 10);
        rates.look(Limit::Failures, &who, later).unwrap_err();
        let counted = rates.refused.with_label_values(&["failure"]).get();
        assert_eq!(counted, 980 + 990 + 980 + 1 + 990 + 1);
    }

    #[test]
    fn each_has_its_own_and_a_network_of_ipv6_is_one() {
        let rates = rates(1);
        let now = Duration::from_secs(5);
        assert_eq!(through(&rates, &failing("192.0.2.1"), 10, now), 2);
        assert_eq!(through(&rates, &failing("::ffff:192.0.2.1"), 10, now), 0);
        assert_eq!(through(&rates, &failing("192.0.2.2"), 10, now), 2);
        assert_eq!(through(&rates, &failing("2001:db8::1"), 10, now), 2);
        assert_eq!(through(&rates, &failing("2001:db8::2"), 10, now), 0);
        assert_eq!(through(&rates, &failing("2001:db8:0:1::1"), 10, now), 2);
        let user = Identity::User(Name::new("alice").unwrap());
        assert_eq!(through(&rates, &user, 10, now), 2);
    }

    #[test]
    fn who_goes_on_and_on_is_noted_every_ten_seconds() {
        let (rates, who) = (rates(1), Identity::failing(None));
        let noted = |second| {
            let now = Duration::from_secs(second);
            let asked = (0..5).filter_map(|_| rates.take(Limit::Failures, &who, now).err());
            asked.filter(|refused| refused.news).count()
        };
        assert_eq!((100..120).map(noted).sum::<usize>(), 2);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_nobody_who_asks_too_often_for_those_who_do_not() {
        let rates = rates(1);
        let now = Duration::from_secs(1);
        let loud = failing("192.0.2.1");
        through(&rates, &loud, 10, now);
        for number in 0..(SHARDS * ROOM * 2) as u128 {
            let who = Identity::Failing(number << 64);
            rates.take(Limit::Failures, &who, now).unwrap();
        }
        let kept = rates.shards.iter().map(|shard| shard.lock().unwrap().len());
        let kept: usize = kept.sum();
        assert!((1..=SHARDS * ROOM).contains(&kept), "{kept}");
        assert_eq!(rates.identities.get(), kept as i64);
        assert_eq!(through(&rates, &loud, 10, now), 0);
        // After a while all of them are whole, and make room for as many others.
        let later = Duration::from_mins(1);
        for number in 0..(SHARDS * ROOM * 2) as u128 {
            let who = Identity::Address(number << 64);
            rates.take(Limit::Addresses, &who, later).unwrap();
        }
        assert!(rates.identities.get() as usize <= SHARDS * ROOM);
    }

    #[test]
    fn rates_are_read_to_the_letter() {
        assert_eq!("off".parse(), Ok(Rate::OFF));
        assert_eq!("500".parse::<Rate>().ok(), Rate::per_second(500));
        for bad in ["", "0", "-1", "+5", "1.5", "1000001", "10/s", "none", " 1"] {
            assert_eq!(bad.parse::<Rate>(), Err(RateError), "{bad}");
        }
    }
}
