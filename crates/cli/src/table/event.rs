//! What happened.

use model::id::{InstanceId, JobId};
use protocol::rest::EventBody;
use protocol::time::format_wall;

use super::Seen::{Always, Wide};
use super::{Column, NOTHING, render};

/// How things are called that events name by their ids.
pub(crate) trait EventNames {
    /// A job's name, or its id.
    fn job(&self, id: JobId) -> String;
    /// An instance as `service/index`, or its id.
    fn instance(&self, id: InstanceId) -> String;
}

/// One row an event.
pub(crate) fn events(events: &[EventBody], names: &dyn EventNames, wide: bool) -> Vec<String> {
    let columns: [Column<'_, EventBody>; 10] = [
        Column(Always, "AT", &|event| format_wall(event.at)),
        Column(Always, "TIER", &|event| event.tier.clone()),
        Column(Always, "JOB", &|event| names.job(event.job_id)),
        Column(Always, "INSTANCE", &|event| instance(event, names)),
        Column(Always, "CHANGE", &change),
        Column(Always, "CAUSE", &|event| event.cause.clone()),
        Column(Always, "MESSAGE", &|event| event.message.clone()),
        Column(Wide, "JOB ID", &|event| event.job_id.to_string()),
        Column(Wide, "INSTANCE ID", &|event| {
            let id = event.instance_id.map(|id| id.to_string());
            id.unwrap_or_default()
        }),
        Column(Wide, "ID", &|event| event.id.to_string()),
    ];
    render(&columns, events, wide)
}

/// The titles above lines of a stream.
pub(crate) fn event_titles() -> String {
    row(["AT", "TIER", "JOB", "INSTANCE", "CHANGE"], "MESSAGE")
}

/// One line of a stream, whose columns must be of one width before their contents are known.
pub(crate) fn event_line(event: &EventBody, names: &dyn EventNames) -> String {
    let instance = Some(instance(event, names)).filter(|name| !name.is_empty());
    let message = format!("{} ({})", event.message, event.cause);
    row(
        [
            &format_wall(event.at),
            &event.tier,
            &names.job(event.job_id),
            instance.as_deref().unwrap_or(NOTHING),
            &change(event),
        ],
        &message,
    )
}

fn row([at, tier, job, instance, change]: [&str; 5], message: &str) -> String {
    format!("{at:<24}  {tier:<7}  {job:<16}  {instance:<12}  {change:<35}  {message}")
}

fn instance(event: &EventBody, names: &dyn EventNames) -> String {
    let name = event.instance_id.map(|id| names.instance(id));
    name.unwrap_or_default()
}

fn change(event: &EventBody) -> String {
    match &event.from {
        Some(from) => format!("{from} -> {}", event.to),
        None => event.to.clone(),
    }
}
