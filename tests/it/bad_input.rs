//! Bad input of every kind against real programs.
//!
//! One system is started for all rows. A row says what is sent and what must come back; after each, both orchestrators
//! answer a good request, and after each kind of rows a good job runs and nothing else came to be. In the end the
//! processes are those of the beginning, as small as they were, and none wrote of a panic. All rows that fail are told
//! together, by name.

mod bodies;
mod command_line;
mod configuration;
mod documents;
mod exchange;
mod generated;
mod headers;
mod held_open;
mod joining;
mod mqtt;
mod mqtt_payloads;
pub(crate) mod packet;
mod polling;
mod program;
mod refusal;
mod registration;
mod requests;
mod rig;
mod row;
mod websocket;

use std::time::{Duration, Instant};

use edgeio_tests::harness::alone;

use held_open::HeldOpen;
use rig::Rig;
use row::{Outcome, Row};

/// How long all rows together may take.
const LIMIT: Duration = Duration::from_mins(1);

#[test]
fn bad_input_of_every_kind_is_refused_clearly_and_nothing_is_lost() {
    let _turn = alone();
    let mut rig = Rig::start();
    let begun = Instant::now();
    // They wait for the programs' own patience while the rows go on.
    let held_open = HeldOpen::start(&rig);
    let kinds: [(&str, Vec<Row>); 12] = [
        ("documents", documents::rows()),
        ("bodies", bodies::rows()),
        ("requests", requests::rows()),
        ("generated", generated::rows(&rig)),
        ("headers", headers::rows()),
        ("mqtt", mqtt::rows()),
        ("mqtt-payloads", mqtt_payloads::rows(&rig)),
        ("registration", registration::rows()),
        ("joining", joining::rows()),
        ("websocket", websocket::rows()),
        ("configuration", configuration::rows(&rig)),
        ("command-line", command_line::rows(&rig)),
    ];
    let mut outcome = Outcome::default();
    for (kind, rows) in &kinds {
        let since = Instant::now();
        for row in rows {
            outcome.run(kind, row, &rig);
        }
        outcome.take(kind, rig.runs_a_good_job(kind));
        eprintln!("{kind}: {} rows in {:?}", rows.len(), since.elapsed());
    }
    outcome.take("held open", held_open.finish());
    outcome.take("in the end", rig.is_as_before());
    let took = begun.elapsed();
    eprintln!("{} rows in {took:?}", outcome.rows());
    outcome.take(
        "in the end",
        (took < LIMIT)
            .then_some(())
            .ok_or_else(|| format!("all rows took {took:?}")),
    );
    outcome.finish();
}
