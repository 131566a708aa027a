//! Which worker has an instance's output, also after the instance: what logs are read by.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cluster_core::{Page, State};
use model::access::TenantPath;
use model::desired::NodeItem;
use model::id::{InstanceId, JobId, NodeId};
use model::slot::Slot;
use model::time::Now;
use model::view::InstanceView;
use mqtt::endpoint::Published;
use mqtt::link::Link;
use orchestrator::http::logs::Holders;
use orchestrator::streams::Tell;
use protocol::message::DesiredEntry;
use protocol::message::question::{self, Stream};
use protocol::topic::Topic;
use sync::Change;

use crate::tier::Handle;

/// Instances that are remembered; with more, the longest known are looked up in the state, or forgotten when gone.
const KNOWN: usize = 16_384;

/// Where instances are and were, since the start. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    places: HashMap<InstanceId, Place>,
    order: VecDeque<InstanceId>,
}

#[derive(Debug, Clone)]
struct Place {
    node: NodeId,
    job: JobId,
    /// `service/index`.
    label: Box<str>,
}

impl Places {
    /// What the store says.
    pub(crate) fn load(&self, state: &State, now: Now) {
        let page = Page {
            after: None,
            limit: usize::MAX,
        };
        let mut known = self.lock();
        let views = state.jobs(now, &TenantPath::root(), &page, None);
        let rows = views
            .iter()
            .flat_map(|view| view.instances.iter().map(|row| (view.job.id, row)));
        for (job, row) in rows {
            if let Some((instance, node)) = row.instance.zip(row.worker_id) {
                let label = format!("{}/{}", row.service, row.index).into();
                known.insert(instance, Place { node, job, label });
            }
        }
    }

    /// What a worker is told.
    pub(crate) fn sent(&self, node: NodeId, changes: &[Change<DesiredEntry>]) {
        let mut known = self.lock();
        for entry in changes.iter().flat_map(|change| &change.put) {
            if let NodeItem::Instance(desired) = &entry.value {
                let Slot {
                    job,
                    service,
                    index,
                } = &desired.slot;
                let place = Place {
                    node,
                    job: *job,
                    label: format!("{service}/{index}").into(),
                };
                known.insert(desired.instance, place);
            }
        }
    }

    /// The worker that has, or had, an instance.
    pub(crate) async fn find(&self, handle: &Handle, instance: InstanceId) -> Option<NodeId> {
        if let Some(node) = self.node(instance) {
            return Some(node);
        }
        // More are placed than are remembered.
        let places = self.clone();
        let read = move |state: &State, now| places.load(state, now);
        handle.read(read).await.ok()?;
        self.node(instance)
    }

    fn node(&self, instance: InstanceId) -> Option<NodeId> {
        self.lock().places.get(&instance).map(|place| place.node)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn insert(&mut self, instance: InstanceId, place: Place) {
        if self.places.insert(instance, place).is_none() {
            self.order.push_back(instance);
        }
        while self.order.len() > KNOWN
            && let Some(oldest) = self.order.pop_front()
        {
            self.places.remove(&oldest);
        }
    }
}

impl Holders for Places {
    type Child = NodeId;

    fn of(&self, row: &InstanceView) -> Option<NodeId> {
        row.worker_id
    }

    fn former(&self, instance: InstanceId) -> Vec<NodeId> {
        self.node(instance).into_iter().collect()
    }

    fn past(&self, job: JobId) -> Vec<InstanceId> {
        let known = self.lock();
        let of_job = |instance: &&InstanceId| {
            let place = known.places.get(instance);
            place.is_some_and(|place| place.job == job)
        };
        known.order.iter().filter(of_job).copied().collect()
    }

    fn label(&self, instance: InstanceId) -> Option<String> {
        let known = self.lock();
        known
            .places
            .get(&instance)
            .map(|place| place.label.to_string())
    }

    fn name(&self, node: NodeId) -> String {
        format!("worker {node}")
    }
}

/// Tells workers.
#[derive(Debug)]
pub(crate) struct Workers(pub(crate) Link);

impl Tell<NodeId> for Workers {
    fn tell(&self, node: NodeId, stream: &Stream) -> bool {
        let payload = question::encode_stream(stream);
        let published = self.0.publish(&Topic::Request(node), payload.into());
        published == Published::Published
    }
}
