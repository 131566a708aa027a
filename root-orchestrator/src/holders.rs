//! Which cluster has an instance's output.

use model::id::{ClusterId, InstanceId, JobId};
use model::view::InstanceView;
use orchestrator::http::logs::Holders;
use orchestrator::streams::Tell;
use protocol::message::question::Stream;

use crate::uplink::Links;

/// What the open connections know of it.
#[derive(Debug, Clone)]
pub(crate) struct Clusters(pub(crate) Links);

impl Holders for Clusters {
    type Child = ClusterId;

    fn of(&self, row: &InstanceView) -> Option<ClusterId> {
        row.cluster_id
    }

    /// There are few clusters, and each knows what its workers had: all are asked.
    fn former(&self, _instance: InstanceId) -> Vec<ClusterId> {
        self.0.connected()
    }

    /// A root knows a deleted job for longer than its output is kept.
    fn past(&self, _job: JobId) -> Vec<InstanceId> {
        Vec::new()
    }

    fn label(&self, _instance: InstanceId) -> Option<String> {
        None
    }

    fn name(&self, cluster: ClusterId) -> String {
        format!("cluster {cluster}")
    }
}

impl Tell<ClusterId> for Links {
    fn tell(&self, cluster: ClusterId, stream: &Stream) -> bool {
        self.stream(cluster, stream.clone())
    }
}
