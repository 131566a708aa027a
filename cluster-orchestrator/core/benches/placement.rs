//! What a placement costs the core alone, from the document to the report that it runs: `cargo bench -p cluster-core`.
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a program that prints what it measured"
)]

use std::time::Duration;

#[path = "../tests/decisions"]
#[expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "it is what the tests are made of"
)]
mod decisions {
    #[expect(dead_code, reason = "the tests use the rest")]
    pub(crate) mod support;
}

use decisions::support::{Document, Site};

/// 20 workers, measured from here on.
fn site() -> Site {
    let mut site = Site::of(&[1_000_000; 20]);
    site.measured = Some(Duration::ZERO);
    site
}

fn line(what: &str, placements: u32, took: Duration) {
    println!(
        "{what:<44} {:>8.1} us a placement, {:>8.0} a second",
        took.as_secs_f64() * 1e6 / f64::from(placements),
        f64::from(placements) / took.as_secs_f64()
    );
}

fn main() {
    println!("20 workers, the core alone, one thread");
    for replicas in [1_000, 10_000] {
        let mut site = site();
        site.run(&Document::new("web", 1, replicas));
        let took = site.measured.expect("measured");
        line(
            &format!("one document of {replicas} replicas"),
            replicas,
            took,
        );
    }
    for jobs in [1_000, 5_000] {
        let mut site = site();
        for batch in 0..jobs / 50 {
            let documents: Vec<_> = (0..50)
                .map(|number| Document::new(&format!("j{batch}-{number}"), 1, 1))
                .collect();
            site.submit(&documents);
            site.deliver();
        }
        let took = site.measured.expect("measured");
        line(&format!("{jobs} documents, 50 a turn"), jobs, took);
    }
}
