//! What is being done to a job, or was done last.

use protocol::rest::{JobBody, OperationBody};
use protocol::time::format_wall;
use serde_json::Value;

use super::{age, now};

/// How far the last operation of a job is, for who waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operated {
    /// There was none, or it is done.
    Nothing,
    /// It goes on.
    Runs,
    /// It failed, for this reason.
    Failed(String),
}

/// How far the last operation is that an answer of a server tells of.
pub(crate) fn operated(job: &Value) -> Operated {
    let Some(operation) = of(job) else {
        return Operated::Nothing;
    };
    match (operation.state.as_str(), operation.kind.as_str()) {
        ("running", _) => Operated::Runs,
        ("failed", _) => Operated::Failed(failure(&operation)),
        (_, "rollback") => Operated::Failed(format!(
            "its last update failed and was rolled back; 'edgeio get events --job {}' has why",
            job.get("job_name").and_then(Value::as_str).unwrap_or("JOB")
        )),
        _ => Operated::Nothing,
    }
}

/// The kind of the operation that goes on, in an answer of a server.
pub(crate) fn running_operation(job: &Value) -> Option<String> {
    of(job)
        .filter(|operation| operation.state == "running")
        .map(|operation| operation.kind)
}

/// One of another shape is of a later server, and is not waited for.
fn of(job: &Value) -> Option<OperationBody> {
    serde_json::from_value(job.get("operation")?.clone()).ok()
}

/// `Operation: update failed (began 2026-11-05T08:30:00.000Z, 5s ago): the new copy is not healthy (unhealthy)`
pub(crate) fn operation(job: &JobBody) -> Option<String> {
    let operation = job.operation.as_ref()?;
    let began = operation.started_at;
    let how = match operation.state.as_str() {
        "running" => "goes on",
        other => other,
    };
    let reason = operation.reason.as_ref().map(|reason| {
        let code = operation.reason_code.as_deref();
        format!(": {}", super::job::with_code(reason, code))
    });
    Some(format!(
        "Operation: {} {how} (began {}, {} ago){}",
        operation.kind,
        format_wall(began),
        age(began.0, now()),
        reason.unwrap_or_default()
    ))
}

/// `update failed: the new copy is not healthy`
pub(super) fn failure(operation: &OperationBody) -> String {
    let reason = operation.reason.as_deref().unwrap_or("nothing says why");
    format!("its last {} failed: {reason}", noun(&operation.kind))
}

fn noun(kind: &str) -> &str {
    match kind {
        "migrate" => "migration",
        other => other,
    }
}

/// In a table: the state of the operation, where there is one that is not done.
pub(super) fn short(job: &JobBody) -> String {
    match &job.operation {
        Some(operation) => format!("{} {}", operation.kind, operation.state),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_goes_on_or_failed_matters_to_who_waits() {
        let job = |kind: &str, state: &str| {
            json!({"operation": {"kind": kind, "state": state, "number": 2, "started_at": "2026-11-05T08:00:00Z",
                "reason": "no room"}})
        };
        let failed = |why: &str| Operated::Failed(why.to_owned());
        let table = [
            (json!({}), Operated::Nothing),
            (json!({"operation": null}), Operated::Nothing),
            (json!({"operation": {"of": "later"}}), Operated::Nothing),
            (job("update", "running"), Operated::Runs),
            (job("rollback", "running"), Operated::Runs),
            (job("migrate", "done"), Operated::Nothing),
            (
                job("migrate", "failed"),
                failed("its last migration failed: no room"),
            ),
            (
                job("rollback", "done"),
                failed(
                    "its last update failed and was rolled back; 'edgeio get events --job JOB' has why",
                ),
            ),
        ];
        for (answer, expected) in table {
            assert_eq!(operated(&answer), expected, "{answer}");
        }
    }
}
