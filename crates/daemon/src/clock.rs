//! The two clocks of a program: one for leases and deadlines, one to show.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds of CLOCK_BOOTTIME: steady, and counting suspended time, unlike the clock behind `std::time::Instant`.
pub fn steady_millis() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds
        .saturating_mul(1_000)
        .saturating_add(nanos / 1_000_000)
}

/// Milliseconds since 1970-01-01 UTC by the machine's wall clock; negative before it.
pub fn wall_millis() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => {
            i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis)
        }
    }
}
