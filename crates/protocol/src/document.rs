//! Documents: what users submit, read strictly and completely.
//!
//! Every field is honoured or refused. All faults of a body are told at once, each with path, line, column and what to
//! write instead. Nothing in a body can make the reader do more than linear work: no alias is followed, no tag is
//! obeyed, and size, depth, number of values and number of documents are bounded.
//!
//! ```
//! use protocol::document::{Format, Options, parse};
//!
//! let body = b"api_version: v0.1\njob_name: hello\nimage_runtime: native\ncommand: [/bin/sleep, \"1000\"]\n";
//! let jobs = parse(body, Format::Yaml, Options::default()).unwrap();
//! assert_eq!(jobs[0].services[0].name.as_str(), "hello");
//!
//! let body = br#"{"api_version": "v0.1", "job_name": "hello", "image": "nginx", "replcas": 2}"#;
//! let faults = parse(body, Format::Json, Options::default()).unwrap_err();
//! assert_eq!((faults[0].line, faults[0].column, faults[0].path.as_str()), (1, 64, "replcas"));
//! assert!(faults[0].message.contains("`replicas`"));
//! ```

mod fault;
pub(crate) mod fields;
mod files;
mod health;
mod image;
mod job;
mod json;
mod mount;
mod read;
pub mod schema;
mod secrets;
mod security;
mod service;
mod takeover;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeSet;

use model::access::TenantPath;
use model::job::JobSpec;

pub use fault::Fault;
pub(crate) use fault::Faults;
use fault::Position;
pub(crate) use job::{is_label_key, is_label_value};
pub use mount::{is_clean_path, is_never_given, is_volume_name};
pub(crate) use read::Spot;
pub use secrets::is_file_name;
pub use service::fits;
use tree::Node;

/// Largest body, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;
/// Most documents in one body.
pub const MAX_DOCUMENTS: usize = 100;
/// Most keys, values and brackets in one body.
pub const MAX_EVENTS: usize = 10_000;
/// Deepest nesting.
pub const MAX_DEPTH: usize = 16;
/// Most faults told at once.
pub const MAX_FAULTS: usize = 1_000;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// YAML 1.2, one or several documents.
    Yaml,
    /// One JSON object.
    Json,
}

impl Format {
    /// The format of a `Content-Type`; `None` for one that is not supported (415).
    ///
    /// No type at all, and the one that `curl --data-binary` sends when told nothing, mean YAML.
    pub fn of_content_type(header: Option<&str>) -> Option<Self> {
        let given = header.map(str::trim).filter(|header| !header.is_empty());
        let header = given.unwrap_or("application/yaml");
        let mut parts = header
            .split(';')
            .map(|part| part.trim().to_ascii_lowercase());
        let format = match parts.next()?.as_str() {
            "application/yaml"
            | "application/x-yaml"
            | "text/yaml"
            | "application/x-www-form-urlencoded" => Self::Yaml,
            "application/json" => Self::Json,
            _ => return None,
        };
        let utf8 = parts.all(|part| match part.split_once('=') {
            Some(("charset", charset)) => {
                matches!(charset.trim_matches('"'), "utf-8" | "utf8" | "us-ascii")
            }
            _ => true,
        });
        utf8.then_some(format)
    }
}

/// What a reader of documents admits beyond the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Accept `image_runtime: noop`, for load tests and the simulator.
    pub allow_noop: bool,
    /// Accept images of registries on the worker's own loopback and link-local addresses.
    pub allow_local_registries: bool,
}

/// What a body holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Documents {
    /// 1 to 100.
    pub jobs: Vec<JobSpec>,
    /// The tenant that they name, which is one; `None`: none of them names any.
    pub tenant: Option<TenantPath>,
}

/// Reads the jobs of a body: see [`read`].
///
/// # Errors
/// As [`read`].
pub fn parse(body: &[u8], format: Format, options: Options) -> Result<Vec<JobSpec>, Vec<Fault>> {
    read(body, format, options).map(|documents| documents.jobs)
}

/// Reads one body of 1 to 100 documents; empty ones between `---` do not count.
///
/// # Errors
/// With all faults of all documents, in the order of the body. Nothing of a body with a fault is usable.
pub fn read(body: &[u8], format: Format, options: Options) -> Result<Documents, Vec<Fault>> {
    let mut faults = Faults::default();
    let nodes = nodes(body, format, &mut faults);
    faults.rewind();
    let mut jobs = Vec::new();
    let mut names = BTreeSet::new();
    let mut tenants: Option<Option<TenantPath>> = None;
    for node in &nodes {
        let root = Spot::root(node);
        if let Some((job, tenant)) = job::read(&root, options, &mut faults) {
            if *tenants.get_or_insert_with(|| tenant.clone()) != tenant {
                let message = "the documents of a body belong to one tenant; let each name the same, or none, or send them apart";
                faults.add("tenant", node.at, message);
            }
            if !names.insert(job.name.clone()) {
                let message = format!(
                    "job_name {} is used twice in this body; give each job its own",
                    job.name
                );
                faults.add("job_name", node.at, message);
            }
            jobs.push(job);
        }
        faults.next_document();
    }
    if faults.count() == 0 {
        let tenant = tenants.flatten();
        Ok(Documents { jobs, tenant })
    } else {
        Err(faults.finish(nodes.len()))
    }
}

/// Reads a body that is one object of a request (not a job), with the reader given.
///
/// # Errors
/// With all faults.
pub(crate) fn parse_one<T>(
    body: &[u8],
    format: Format,
    read: impl FnOnce(&Spot<'_>, &mut Faults) -> Option<T>,
) -> Result<T, Vec<Fault>> {
    let mut faults = Faults::default();
    let nodes = nodes(body, format, &mut faults);
    faults.rewind();
    if let [_, second, ..] = nodes.as_slice() {
        faults.add(
            "",
            second.at,
            "one document is expected here; remove the others",
        );
    }
    let value = nodes
        .first()
        .and_then(|node| read(&Spot::root(node), &mut faults));
    match value {
        Some(value) if faults.count() == 0 => Ok(value),
        _ => Err(faults.finish(1)),
    }
}

fn nodes(body: &[u8], format: Format, faults: &mut Faults) -> Vec<Node> {
    let Some(text) = decode(body, faults) else {
        return Vec::new();
    };
    let nodes = match format {
        Format::Yaml => tree::yaml(text, faults),
        Format::Json => json::json(text, faults).into_iter().collect(),
    };
    if nodes.is_empty() && faults.count() == 0 {
        faults.add(
            "",
            Position::START,
            "the body is empty; send a document with api_version, job_name and what to run",
        );
    }
    nodes
}

/// A body as text, for who passes it on unread.
///
/// # Errors
/// Where no document can be read from it, whatever it says.
pub fn text(body: &[u8]) -> Result<&str, Vec<Fault>> {
    let mut faults = Faults::default();
    decode(body, &mut faults).ok_or_else(|| faults.finish(1))
}

/// The body as text: small enough, UTF-8 without a byte-order mark, and without NUL.
fn decode<'a>(body: &'a [u8], faults: &mut Faults) -> Option<&'a str> {
    let mut refuse = |at: Position, message: String| faults.add("", at, message);
    if body.len() > MAX_BYTES {
        let message = format!(
            "the body has {} bytes, at most {MAX_BYTES} are read; split it into several requests",
            body.len()
        );
        refuse(Position::START, message);
        return None;
    }
    if body.starts_with(&[0xff, 0xfe]) || body.starts_with(&[0xfe, 0xff]) {
        refuse(
            Position::START,
            "the body is UTF-16; save it as UTF-8".to_owned(),
        );
        return None;
    }
    if body.starts_with(&[0xef, 0xbb, 0xbf]) {
        refuse(
            Position::START,
            "the body begins with a byte-order mark; save it as UTF-8 without one".to_owned(),
        );
        return None;
    }
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        Err(error) => {
            let good = body.get(..error.valid_up_to()).unwrap_or_default();
            refuse(
                Position::after(&String::from_utf8_lossy(good)),
                "the body is not UTF-8 here; save it as UTF-8".to_owned(),
            );
            return None;
        }
    };
    if let Some((before, _)) = text.split_once('\0') {
        refuse(
            Position::after(before),
            "the body has a NUL character here; remove it (UTF-16 must be saved as UTF-8)"
                .to_owned(),
        );
        return None;
    }
    Some(text)
}

/// One YAML document as a JSON value, for tests of what writes YAML.
#[cfg(test)]
pub(crate) fn read_back(text: &str) -> Option<serde_json::Value> {
    read_all_back(text)?.into_iter().next()
}

/// YAML documents as JSON values, for tests; none when one cannot be read.
#[cfg(test)]
pub(crate) fn read_all_back(text: &str) -> Option<Vec<serde_json::Value>> {
    fn convert(node: &Node) -> Option<serde_json::Value> {
        use tree::Kind;
        Some(match &node.kind {
            Kind::Null => serde_json::Value::Null,
            Kind::Bool(value) => (*value).into(),
            Kind::Number(text) => text.parse::<serde_json::Number>().ok()?.into(),
            Kind::Text(text) => text.as_str().into(),
            Kind::List(items) => items
                .iter()
                .map(convert)
                .collect::<Option<Vec<_>>>()?
                .into(),
            Kind::Map(entries) => entries
                .iter()
                .map(|entry| Some((entry.key.clone(), convert(&entry.value)?)))
                .collect::<Option<serde_json::Map<_, _>>>()?
                .into(),
            Kind::Refused => return None,
        })
    }
    let mut faults = Faults::default();
    let nodes = tree::yaml(text, &mut faults);
    (faults.count() == 0)
        .then(|| nodes.iter().map(convert).collect())
        .flatten()
}
