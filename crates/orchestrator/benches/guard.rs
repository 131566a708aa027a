//! What it costs to ask who sends a request, with and without a look at how often it asks: `cargo bench -p orchestrator`.
//!
//! Both take turns in one run, so that what else the machine does meets both.
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a program that prints what it measured"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::Request;
use axum::http::request::Parts;
use model::access::Verb;
use orchestrator::access::{ADMIN_TOKEN, Access, Rate, RateOptions, Settings};
use orchestrator::audited::Audit;
use orchestrator::keys::Keys;
use orchestrator::{StoreKind, Tier};
use rest::guard::{From, Guard as _, Need, Realm};

const ROUNDS: u32 = 20;
const REQUESTS: u32 = 20_000;

async fn access(dir: &Path, rates: RateOptions) -> Access {
    let settings = Settings {
        tier: Tier::Root,
        store: StoreKind::Embedded,
        admin_token: dir.join(ADMIN_TOKEN),
        insecure: false,
        places: vec![],
        rates,
    };
    let keys = Keys::open(StoreKind::Memory, dir, Tier::Root, vec![]).expect("keys");
    let audit = Audit::open(StoreKind::Memory, dir, Tier::Root).expect("no log");
    let store = Arc::new(store::Memory::new());
    let opened = Access::open(settings, store, Arc::new(keys), audit).await;
    opened.expect("an owner of users")
}

/// A request of the administrator's.
fn request(dir: &Path) -> Parts {
    let token = std::fs::read_to_string(dir.join(ADMIN_TOKEN)).expect("its token");
    let request =
        Request::get("/api/v1/jobs").header("authorization", format!("Bearer {}", token.trim()));
    let mut request = request.body(()).expect("a request");
    let from = From(([192, 0, 2, 1], 7).into());
    request.extensions_mut().insert(from);
    request.into_parts().0
}

/// How long so many requests take on each of so many threads at once.
fn ask(access: &Access, parts: &Parts, threads: u32) -> Duration {
    let need = Need::Right(Verb::Read, Realm::Jobs);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for _ in 0..REQUESTS {
                    access.admit(need, parts).expect("it may");
                }
            });
        }
    });
    begun.elapsed()
}

#[tokio::main]
async fn main() {
    let dirs = [0, 1].map(|_| tempfile::tempdir().expect("a folder"));
    let [without, with] = &dirs;
    let off = RateOptions {
        users: Rate::OFF,
        administrators: Rate::OFF,
        addresses: Rate::OFF,
        failures: Rate::OFF,
    };
    let counted = RateOptions {
        // More than anybody asks, and counted all the same.
        administrators: Rate::per_second(1_000_000).expect("a rate"),
        ..RateOptions::default()
    };
    let guards = [
        (access(without.path(), off).await, request(without.path())),
        (access(with.path(), counted).await, request(with.path())),
    ];
    for threads in [1, 4] {
        let mut took = [Duration::ZERO; 2];
        for _ in 0..ROUNDS {
            for (sum, (access, parts)) in took.iter_mut().zip(&guards) {
                *sum += ask(access, parts, threads);
            }
        }
        let each = |sum: Duration| sum.as_secs_f64() * 1e9 / f64::from(ROUNDS * REQUESTS * threads);
        let [off, on] = took.map(each);
        println!(
            "{threads} thread(s), one user: {off:>6.0} ns a request without limits, {on:>6.0} ns with, {:+.0} ns",
            on - off
        );
    }
}
