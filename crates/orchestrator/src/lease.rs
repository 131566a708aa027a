//! The store in a database belongs to one program at a time: waiting for it, and noticing that it is lost.

use daemon::Tasks;
use store::{MongoUrl, StoreError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::RunError;
use crate::data::{Opened, Tier};

/// How long a store that somebody else has is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Until it is free: this program stands by.
    StandBy,
    /// As long as a program that died keeps it, and some: who has it then is alive.
    Briefly,
}

/// Who has a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBy {
    /// The program, its machine and its process.
    pub name: String,
    /// Where it serves by TLS: `host:port`.
    pub place: String,
}

/// How a store is waited for.
#[derive(Debug)]
pub struct Waiting<'a> {
    /// How long.
    pub wait: Wait,
    /// Where this program serves by TLS, `host:port`, for those who look for whoever has the store.
    pub place: String,
    /// By what all prove themselves that take turns with it; empty where nobody does.
    pub mark: String,
    /// Told who has it, whenever that is somebody else.
    pub held: &'a watch::Sender<Option<HeldBy>>,
    /// Ends the wait.
    pub shutdown: &'a CancellationToken,
}

/// Tells when the store is somebody else's.
#[derive(Debug)]
pub struct Lost(Option<watch::Receiver<Option<StoreError>>>);

impl Lost {
    /// Of a store that cannot become that.
    pub const fn never() -> Self {
        Self(None)
    }

    /// Ends a program whose store is somebody else's: it has nothing to decide any more, and stands by when it is started
    /// again.
    pub fn ends(self, tasks: &mut Tasks) {
        let Some(mut told) = self.0 else { return };
        let token = tasks.token().clone();
        tasks.spawn("lease", async move {
            let lost = tokio::select! {
                () = token.cancelled() => return Ok(()),
                lost = told.wait_for(Option::is_some) => lost,
            };
            match lost.ok().and_then(|why| why.clone()) {
                Some(why) => Err(why),
                // The store was closed.
                None => Ok(()),
            }
        });
    }
}

#[cfg(not(feature = "mongodb"))]
#[expect(clippy::unused_async, reason = "as with the feature")]
pub(crate) async fn take(
    database: &MongoUrl,
    _tier: Tier,
    _waiting: Waiting<'_>,
) -> Result<Option<Opened>, RunError> {
    Err(crate::data::no_mongodb(database).into())
}

#[cfg(feature = "mongodb")]
pub(crate) use mongo::take;

#[cfg(feature = "mongodb")]
mod mongo {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use store::mongo::{Candidate, Holder, LEASE, Look};

    use super::{
        CancellationToken, HeldBy, Lost, MongoUrl, Opened, RunError, StoreError, Tier, Wait,
        Waiting,
    };
    use crate::data::options;

    /// Between two looks at a lease that somebody else has: a part of the time in which it ends.
    const LOOK: Duration = Duration::from_millis(250);
    /// Between two looks while the database is away.
    const AWAY: Duration = Duration::from_secs(1);
    /// Leases that are waited for briefly. One is over when its holder died; the looks and the clocks take some time.
    const BRIEFLY: Duration = LEASE.saturating_mul(3);

    /// Takes the store of that tier in a database when it is free.
    pub(crate) async fn take(
        database: &MongoUrl,
        tier: Tier,
        waiting: Waiting<'_>,
    ) -> Result<Option<Opened>, RunError> {
        let place = database.to_string();
        let holder = Holder {
            name: holder(tier),
            url: waiting.place.clone(),
            mark: waiting.mark.clone(),
        };
        let url = database.clone();
        let connecting = move || Candidate::connect(&url, tier.as_str(), options(), holder);
        let Some(candidate) = unless(waiting.shutdown, blocking(connecting)).await else {
            return Ok(None);
        };
        let mut candidate = candidate?;
        let begun = Instant::now();
        let mut told = None;
        loop {
            let looking = blocking(move || {
                let look = candidate.look();
                Ok((candidate, look))
            });
            let Some(looked) = unless(waiting.shutdown, looking).await else {
                return Ok(None);
            };
            let (back, look) = looked?;
            candidate = back;
            let pause = match look {
                Ok(Look::Taken(store)) => {
                    tracing::info!(database = %place, term = store.term(), "the store is this program's");
                    let lost = store.lost();
                    return Ok(Some(Opened {
                        store: Arc::new(*store),
                        lost: Lost(Some(lost)),
                    }));
                }
                Ok(Look::Held(holder)) => {
                    if waiting.wait == Wait::Briefly && begun.elapsed() > BRIEFLY {
                        let holder = holder.name;
                        return Err(StoreError::Held {
                            database: place,
                            holder,
                        }
                        .into());
                    }
                    if !holder.name.is_empty() && told.as_ref() != Some(&holder.name) {
                        tracing::info!(database = %place, holder = holder.name, "somebody else has the store; this program waits for it");
                        told = Some(holder.name.clone());
                    }
                    waiting.held.send_replace(Some(HeldBy {
                        name: holder.name,
                        place: holder.url,
                    }));
                    LOOK
                }
                // One that is away comes back; anything else stays so.
                Err(error @ StoreError::Unreachable { .. })
                    if waiting.wait == Wait::StandBy || begun.elapsed() < BRIEFLY =>
                {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "the store cannot be looked at");
                    AWAY
                }
                Err(error) => return Err(error.into()),
            };
            if unless(waiting.shutdown, tokio::time::sleep(pause))
                .await
                .is_none()
            {
                return Ok(None);
            }
        }
    }

    /// How whoever reads about it finds this program.
    fn holder(tier: Tier) -> String {
        let system = rustix::system::uname();
        let machine = system.nodename().to_string_lossy();
        let process = std::process::id();
        format!("{} on {machine} (process {process})", tier.program())
    }

    /// Runs what blocks elsewhere.
    async fn blocking<T: Send + 'static>(
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, RunError> {
        let ended = tokio::task::spawn_blocking(work).await;
        Ok(ended.map_err(|_panicked| StoreError::Closed)??)
    }

    /// `None` when the token is cancelled first.
    async fn unless<T>(shutdown: &CancellationToken, future: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => None,
            ended = future => Some(ended),
        }
    }
}
