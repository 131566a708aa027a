//! How one copy of a slot takes over from another: `update`, `migration`, `drain_delay`.

use std::ops::RangeInclusive;
use std::time::Duration;

use model::job::{OnFailure, Strategy, Takeover};

use super::fault::Faults;
use super::fields::{Fields, Known};

/// How many copies an update may add or leave out at a time.
const AT_A_TIME: RangeInclusive<u64> = 0..=100_000;
/// How long an old copy may run on beside a new one.
const DRAIN_DELAY: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(1);
/// How long a new copy may have to run before it counts as ready.
const MIN_READY: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(1);

pub(super) const KNOWN_UPDATE: Known<'static> = Known {
    fields: &[&["max_surge", "max_unavailable", "on_failure", "min_ready"]],
    hints: &[
        (
            "parallelism",
            "unknown field; how many change at a time is max_surge (or max_unavailable where that is 0)",
        ),
        (
            "order",
            "unknown field; max_surge: 0 stops the old copy first",
        ),
        (
            "strategy",
            "unknown field; max_surge: 0 stops the old copy first",
        ),
        ("drain_delay", "it stands beside `update`, at the service"),
        (
            "monitor",
            "unknown field; how long a new copy has to run before it counts is min_ready",
        ),
        (
            "min_ready_seconds",
            "unknown field; write min_ready with its unit: min_ready: 5s",
        ),
    ],
};

/// Reads the policy; what is left out is as usual.
pub(super) fn read(fields: &Fields<'_>, faults: &mut Faults) -> Takeover {
    let mut takeover = Takeover::default();
    let update = fields.get("update").and_then(|spot| spot.fields(faults));
    if let Some(update) = &update {
        update.refuse_unknown(KNOWN_UPDATE, faults);
        for (name, number) in [
            ("max_surge", &mut takeover.max_surge),
            ("max_unavailable", &mut takeover.max_unavailable),
        ] {
            let told = update.get(name);
            *number = told
                .and_then(|spot| spot.whole(&AT_A_TIME, faults))
                .map_or(*number, |number| number as u32);
        }
        takeover.on_failure = update
            .get("on_failure")
            .and_then(|spot| {
                let words = [("stop", OnFailure::Stop), ("rollback", OnFailure::Rollback)];
                spot.choice(&words, faults)
            })
            .unwrap_or_default();
        takeover.min_ready = update
            .get("min_ready")
            .and_then(|spot| spot.duration(&MIN_READY, faults))
            .unwrap_or(takeover.min_ready);
        if takeover.max_surge == 0 && takeover.max_unavailable == 0 {
            let message = "max_surge and max_unavailable cannot both be 0: nothing could ever change; raise one of them";
            faults.add(&update.path, update.at, message);
        }
    }
    takeover.migration = fields
        .get("migration")
        .and_then(|spot| {
            let words = [
                ("start_first", Strategy::StartFirst),
                ("stop_first", Strategy::StopFirst),
            ];
            spot.choice(&words, faults)
        })
        .unwrap_or_default();
    takeover.drain_delay = fields
        .get("drain_delay")
        .and_then(|spot| spot.duration(&DRAIN_DELAY, faults))
        .unwrap_or_default();
    takeover
}
