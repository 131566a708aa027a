//! Names like one that is not there.

use serde_json::Value;

use crate::client::Client;
use crate::failure::Failure;

use super::{CLUSTERS, JOBS};

/// How many are told.
const TOLD: usize = 3;
/// How alike they must be: 1 is the same, 0 is nothing in common.
const ALIKE: f64 = 0.75;

/// A failure about a job, with the names of jobs like this one where there is none of this name.
pub(super) fn job(client: &Client, name: &str, failure: Failure) -> Failure {
    with_names(failure, "no_such_job", name, || {
        names(client, JOBS, "job_name")
    })
}

/// The same of a cluster.
pub(super) fn cluster(client: &Client, name: &str, failure: Failure) -> Failure {
    with_names(failure, "no_such_cluster", name, || {
        names(client, CLUSTERS, "cluster_name")
    })
}

/// The same of a worker of this list.
pub(super) fn node(client: &Client, nodes: &str, name: &str, failure: Failure) -> Failure {
    with_names(failure, "no_such_node", name, || {
        names(client, nodes, "name")
    })
}

/// A refusal with this code gets the names like the one that was asked for.
pub(super) fn with_names(
    mut failure: Failure,
    code: &str,
    asked: &str,
    names: impl FnOnce() -> Vec<String>,
) -> Failure {
    if failure.has_code(code)
        && let Failure::Refused(refusal) = &mut failure
    {
        refusal.near = near(asked, names());
    }
    failure
}

/// Those of the first page: looking for a hint is to cost no more than one request.
fn names(client: &Client, path: &str, field: &str) -> Vec<String> {
    let page = client.get(&format!("{path}?limit=1000"));
    let rows = page
        .ok()
        .and_then(|mut page| match page.get_mut("items")?.take() {
            Value::Array(rows) => Some(rows),
            _ => None,
        });
    let name = |row: Value| Some(row.get(field)?.as_str()?.to_owned());
    rows.into_iter().flatten().filter_map(name).collect()
}

/// The names most like this one, the best first.
fn near(exactly: &str, names: Vec<String>) -> Vec<String> {
    let asked = exactly.to_lowercase();
    let likeness = |name: &String| {
        let name = name.to_lowercase();
        let begins = name.starts_with(&asked) && asked.len() > 1;
        if begins {
            1.0
        } else {
            strsim::jaro_winkler(&asked, &name)
        }
    };
    // The name itself may still be listed, of a job that is being deleted.
    let others = names.into_iter().filter(|name| name != exactly);
    let mut alike: Vec<(f64, String)> = others
        .map(|name| (likeness(&name), name))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .collect();
    alike.sort_by(|(one, a), (other, b)| other.total_cmp(one).then_with(|| a.cmp(b)));
    alike.truncate(TOLD);
    alike.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_a_slip_are_found_and_others_are_not() {
        let names = || {
            ["hello", "help", "pipeline", "Web-1"]
                .map(str::to_owned)
                .to_vec()
        };
        assert_eq!(near("hallo", names()), ["hello"]);
        assert_eq!(near("pipe", names()), ["pipeline"]);
        assert_eq!(near("web1", names()), ["Web-1"]);
        assert_eq!(near("database", names()), [""; 0]);
        assert_eq!(near("help", names()), ["hello"], "never itself");
    }
}
