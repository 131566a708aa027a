//! The operation that is under way on a job, or ended last.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::id::{InstanceId, JobId};
use model::job::{JobSpec, Strategy};
use model::name::Name;
use model::operation::{Operation, OperationKind, Progress};
use model::reason::{Reason, ReasonCode};
use model::slot::Slot;
use model::time::Wall;
use serde::{Deserialize, Serialize};

use crate::workload::{WireJobSpec, WorkloadError};

/// An operation, but for its job, which the record's key holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredOperation {
    kind: StoredKind,
    number: u64,
    started_at: Wall,
    progress: StoredProgress,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<WireJobSpec>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    replaces: Vec<(Name, u32, InstanceId)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    worker: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_first: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<StoredReason>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredKind {
    Scale,
    Update,
    Rollback,
    Migrate,
    Restart,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredProgress {
    Running,
    Done,
    Failed(StoredReason),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StoredReason {
    code: ReasonCode,
    message: String,
}

impl From<&Reason> for StoredReason {
    fn from(reason: &Reason) -> Self {
        Self {
            code: reason.code,
            message: reason.message.clone(),
        }
    }
}

impl From<StoredReason> for Reason {
    fn from(stored: StoredReason) -> Self {
        Self::new(stored.code, stored.message)
    }
}

impl From<&Operation> for StoredOperation {
    fn from(operation: &Operation) -> Self {
        let replaced = |(slot, id): (&Slot, &InstanceId)| (slot.service.clone(), slot.index, *id);
        Self {
            kind: match operation.kind {
                OperationKind::Scale => StoredKind::Scale,
                OperationKind::Update => StoredKind::Update,
                OperationKind::Rollback => StoredKind::Rollback,
                OperationKind::Migrate => StoredKind::Migrate,
                OperationKind::Restart => StoredKind::Restart,
            },
            number: operation.number,
            started_at: operation.started_at,
            progress: match &operation.progress {
                Progress::Running => StoredProgress::Running,
                Progress::Done => StoredProgress::Done,
                Progress::Failed(reason) => StoredProgress::Failed(reason.into()),
            },
            previous: operation.previous.as_deref().map(WireJobSpec::from),
            replaces: operation.replaces.iter().map(replaced).collect(),
            cluster: operation.cluster.clone(),
            worker: operation.worker.clone(),
            start_first: operation
                .strategy
                .map(|strategy| strategy == Strategy::StartFirst),
            cause: operation.cause.as_ref().map(StoredReason::from),
        }
    }
}

impl StoredOperation {
    pub(super) fn into_operation(self, job: JobId) -> Result<Operation, WorkloadError> {
        let previous = self.previous.map(JobSpec::try_from).transpose()?;
        let slot = |service, index| Slot {
            job,
            service,
            index,
        };
        let replaces: BTreeMap<Slot, InstanceId> = self
            .replaces
            .into_iter()
            .map(|(service, index, id)| (slot(service, index), id))
            .collect();
        Ok(Operation {
            kind: match self.kind {
                StoredKind::Scale => OperationKind::Scale,
                StoredKind::Update => OperationKind::Update,
                StoredKind::Rollback => OperationKind::Rollback,
                StoredKind::Migrate => OperationKind::Migrate,
                StoredKind::Restart => OperationKind::Restart,
            },
            number: self.number,
            started_at: self.started_at,
            progress: match self.progress {
                StoredProgress::Running => Progress::Running,
                StoredProgress::Done => Progress::Done,
                StoredProgress::Failed(reason) => Progress::Failed(reason.into()),
            },
            previous: previous.map(Arc::new),
            replaces,
            cluster: self.cluster,
            worker: self.worker,
            strategy: self.start_first.map(|start_first| {
                if start_first {
                    Strategy::StartFirst
                } else {
                    Strategy::StopFirst
                }
            }),
            cause: self.cause.map(Reason::from),
        })
    }
}
