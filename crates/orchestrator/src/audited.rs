//! What was done by whom, written down: the audit log of an orchestrator.
//!
//! Reading is not recorded, being refused is. Nobody can wash the log away: of what strangers and machines ask in vain, only
//! so many a second are recorded, and the rest is counted.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use audit::{Decision, Log, LogError, Options, Record, Subject};
use model::time::Wall;
use protocol::time::format_wall;

use crate::{StoreKind, Tier, clock};

/// The folder in the data directory.
pub const FOLDER: &str = "audit";
/// Refusals of strangers and machines that are recorded in a second at most.
const STRANGERS: u64 = 20;

/// The log; clones write the same one.
#[derive(Debug, Clone)]
pub struct Audit {
    tier: audit::Tier,
    /// `None`: nothing of this orchestrator outlives it.
    log: Option<Arc<Log>>,
    strangers: Arc<Strangers>,
}

/// How many refusals of strangers this second had.
#[derive(Debug, Default)]
struct Strangers {
    second: AtomicU64,
    count: AtomicU64,
}

/// One decision.
#[derive(Debug, Clone)]
pub struct Decided {
    /// Who asked.
    pub who: Subject,
    /// Where it came from.
    pub from: Option<SocketAddr>,
    /// What was to be done.
    pub verb: String,
    /// To what.
    pub resource: String,
    /// Whether it was let.
    pub decision: Decision,
}

impl Audit {
    /// The log in the data directory; none where the store is in memory.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open(kind: StoreKind, dir: &Path, tier: Tier) -> Result<Self, LogError> {
        let now = format_wall(clock::now().wall);
        let log = match kind {
            StoreKind::Memory => None,
            StoreKind::Embedded | StoreKind::Mongodb => Some(Arc::new(Log::open(
                &dir.join(FOLDER),
                Options::default(),
                &now,
            )?)),
        };
        Ok(Self {
            tier: match tier {
                Tier::Root => audit::Tier::Root,
                Tier::Cluster => audit::Tier::Cluster,
            },
            log,
            strangers: Arc::default(),
        })
    }

    /// Writes a decision down. It does not block: what finds no room is counted in the log.
    pub fn record(&self, decided: Decided) {
        let Some(log) = &self.log else { return };
        let now = clock::now().wall;
        let known =
            matches!(decided.who, Subject::User(_)) || decided.decision == Decision::Granted;
        if !known && !self.strangers.admits(now) {
            return;
        }
        log.try_record(Record {
            time: format_wall(now),
            tier: self.tier,
            who: decided.who,
            from: decided.from,
            verb: decided.verb,
            resource: decided.resource,
            decision: decided.decision,
            before: None,
            after: None,
            request: None,
        });
    }
}

impl Strangers {
    /// Whether one more is recorded in this second. Approximate where a second ends.
    fn admits(&self, now: Wall) -> bool {
        let second = u64::try_from(now.0 / 1_000).unwrap_or(0);
        if self.second.swap(second, Ordering::Relaxed) != second {
            let before = self.count.swap(0, Ordering::Relaxed);
            if before > STRANGERS {
                tracing::warn!(
                    unrecorded = before - STRANGERS,
                    "strangers or machines were refused more often than is recorded"
                );
            }
        }
        self.count.fetch_add(1, Ordering::Relaxed) < STRANGERS
    }
}
