//! Rows of the table of faults (docs/robustness.md): real programs, links that break, and a history that must hold the
//! invariants I1 to I10.
//!
//! Each row can be run alone, as `EDGEIO_REQUIRE=netns cargo nextest run -p edgeio-tests row_10`. They run at a tenth of the
//! true durations; `EDGEIO_SCALE=1` runs those, `EDGEIO_SEED=n` another seed, `tests/soak/run` many.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that panics is a test that fails, and one that measures says what"
)]

#[path = "../it/documents.rs"]
#[expect(dead_code, reason = "some of them are for containers")]
mod documents;
mod messages;
mod row_05;
mod row_07;
mod row_10;
mod row_11;
mod row_12;
mod row_13;
mod row_14;
mod row_15;
mod row_22;
mod row_23;
mod row_26;
mod stage;
