//! Waiting for what should become true.

use std::time::{Duration, Instant};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(30);

/// Waits until `look` gives a value; panics with what it said last when that takes longer than `limit`.
#[track_caller]
pub fn wait_until<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> T {
    let begun = Instant::now();
    loop {
        match look() {
            Ok(value) => return value,
            Err(status) => assert!(
                begun.elapsed() < limit,
                "not within {limit:?}: {what}; at last: {status}"
            ),
        }
        pause(LOOK);
    }
}

/// Lets time pass that the schedule of a test names, as the length of an outage.
pub fn pause(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}
