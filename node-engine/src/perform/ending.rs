//! The end of everything on a worker that does not come back.

use std::time::Duration;

use model::desired::Desired;

use super::Performer;

/// What an application may take, whatever its document allows: the whole engine must have stopped within ten seconds.
const GRACE: Duration = Duration::from_secs(5);
/// When what has not ended is left as it is.
const LIMIT: Duration = Duration::from_secs(7);

impl Performer {
    /// Stops all applications, after what is already being done with them.
    ///
    /// Nothing is written to the disk: should this worker be wanted again, its desired set is still there, and its cluster
    /// says what of it still holds.
    pub(crate) async fn end_all(&mut self, desired: impl Iterator<Item = &Desired>) {
        for desired in desired {
            let workload = &desired.service.workload;
            let grace = workload.stop_grace.min(GRACE);
            self.stop(desired.instance, workload.runtime, grace);
        }
        let ending = async {
            while !self.queues.is_empty() {
                self.next().await;
            }
        };
        if tokio::time::timeout(LIMIT, ending).await.is_err() {
            tracing::warn!("some applications did not end in time and go on running");
        }
    }
}
