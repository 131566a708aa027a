//! One service: what runs, with what, and how often.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use model::job::{PlacementRules, ServiceSpec};
use model::name::Name;
use model::secret::Secrets;
use model::units::{Bytes, Millicores, Resources};
use model::workload::{Pull, Restart, RuntimeKind, SpecHash, Volume, Workload};

use super::Options;
use super::fault::{Faults, clip};
use super::fields::{Fields, Known};
use super::files;
use super::health;
use super::image::{check_program, check_reference};
use super::{mount, secrets, security, takeover};
use crate::message::size;
use crate::workload::{WireServiceSpec, sealed};

/// The fields of a service but for its name and placement.
pub(super) const FIELDS: &[&str] = &[
    "image",
    "image_runtime",
    "pull",
    "command",
    "args",
    "environment",
    "ports",
    "volumes",
    "files",
    "requirements",
    "replicas",
    "restart",
    "health",
    "security",
    "secrets",
    "pull_secret",
    "stop_grace",
    "update",
    "migration",
    "drain_delay",
];

/// How many replicas a service may have.
const REPLICAS: RangeInclusive<u64> = 0..=100_000;
/// Most memory or disk that can be asked for: 1 PB.
const MEGABYTES: RangeInclusive<u64> = 0..=1_000_000_000;
/// Most CPU cores that can be asked for.
const MAX_CORES: f64 = 1_000_000.0;
/// Between the polite signal and the kill.
const STOP_GRACE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(1);
/// Where nothing else is said.
const DEFAULT_STOP_GRACE: Duration = Duration::from_secs(5);

/// Most bytes that a service takes in a message to its worker, which has room for a little more ([`crate::message::LARGEST`]).
const MAX_SERVICE: usize = 224 * 1024;

pub(super) const KNOWN_REQUIREMENTS: Known<'static> = Known {
    fields: &[&["cpu", "memory", "disk", "architecture", "runtime"]],
    hints: &[
        ("cpus", "unknown field; did you mean `cpu`?"),
        ("storage", "unknown field; did you mean `disk`?"),
        ("arch", "unknown field; did you mean `architecture`?"),
    ],
};

/// Reads a service; the placement rules are merged already. `None` where something is missing, which is told.
pub(super) fn read(
    fields: &Fields<'_>,
    name: Option<Name>,
    mut placement: PlacementRules,
    options: Options,
    faults: &mut Faults,
) -> Option<ServiceSpec> {
    let runtime = runtime(fields, options, faults)?;
    let replicas = fields
        .get("replicas")
        .map_or(Some(1), |spot| spot.whole(&REPLICAS, faults));
    let (resources, architectures) = requirements(fields, runtime, faults);
    placement.architectures = architectures;
    let mut workload = Workload {
        hash: SpecHash::default(),
        runtime,
        image: fields
            .get("image")
            .and_then(|spot| spot.text(faults))
            .map(str::to_owned),
        pull: choice(
            fields,
            "pull",
            &[("if_absent", Pull::IfAbsent), ("always", Pull::Always)],
            faults,
        ),
        command: texts(fields, "command", faults),
        args: texts(fields, "args", faults),
        environment: environment(fields, runtime, faults),
        ports: mount::ports(fields, runtime, faults),
        volumes: volumes(fields, runtime, faults),
        files: BTreeMap::new(),
        resources,
        restart: choice(
            fields,
            "restart",
            &[
                ("always", Restart::Always),
                ("on_failure", Restart::OnFailure),
                ("never", Restart::Never),
            ],
            faults,
        ),
        health: health::health(fields, runtime, faults),
        security: security::security(fields, runtime, faults),
        secrets: Secrets::default(),
        stop_grace: fields
            .get("stop_grace")
            .and_then(|spot| spot.duration(&STOP_GRACE, faults))
            .unwrap_or(DEFAULT_STOP_GRACE),
    };
    match runtime {
        RuntimeKind::Docker => check_container(fields, &workload, options, faults),
        RuntimeKind::Native => check_native(fields, &mut workload, faults),
        RuntimeKind::Noop => {}
    }
    workload.files = files::files(fields, runtime, &workload.volumes, faults);
    workload.secrets = secrets::secrets(
        fields,
        runtime,
        &workload.environment,
        &workload.volumes,
        faults,
    );
    let service = ServiceSpec {
        name: name?,
        workload: Arc::new(sealed(workload)),
        placement,
        replicas: replicas? as u32,
        takeover: takeover::read(fields, faults),
    };
    check_size(fields, &service, faults);
    Some(service)
}

fn runtime(fields: &Fields<'_>, options: Options, faults: &mut Faults) -> Option<RuntimeKind> {
    let Some(spot) = fields.get("image_runtime") else {
        return Some(RuntimeKind::Docker);
    };
    let known = [
        ("docker", RuntimeKind::Docker),
        ("native", RuntimeKind::Native),
        ("noop", RuntimeKind::Noop),
    ];
    let admitted = if options.allow_noop {
        known.as_slice()
    } else {
        known.get(..2).unwrap_or_default()
    };
    spot.choice(admitted, faults)
}

fn choice<T: Copy + Default>(
    fields: &Fields<'_>,
    name: &str,
    words: &[(&str, T)],
    faults: &mut Faults,
) -> T {
    fields
        .get(name)
        .and_then(|spot| spot.choice(words, faults))
        .unwrap_or_default()
}

fn texts(fields: &Fields<'_>, name: &str, faults: &mut Faults) -> Vec<String> {
    fields
        .get(name)
        .and_then(|spot| spot.texts(faults))
        .unwrap_or_default()
}

fn requirements(
    fields: &Fields<'_>,
    runtime: RuntimeKind,
    faults: &mut Faults,
) -> (Resources, Vec<String>) {
    let Some(fields) = fields
        .get("requirements")
        .and_then(|spot| spot.fields(faults))
    else {
        return (Resources::default(), Vec::new());
    };
    fields.refuse_unknown(KNOWN_REQUIREMENTS, faults);
    let mut megabytes = |name: &str| {
        let amount = fields
            .get(name)
            .and_then(|spot| spot.whole(&MEGABYTES, faults));
        Bytes::from_mb(amount.unwrap_or(0))
    };
    let (memory, disk) = (megabytes("memory"), megabytes("disk"));
    let resources = Resources {
        cpu: cpu(&fields, faults),
        memory,
        disk,
    };
    if let Some(spot) = fields.get("runtime")
        && let Some(wanted) = spot.text(faults)
        && wanted != runtime.as_str()
    {
        spot.fault(
            faults,
            format!(
                "must be image_runtime ({runtime}) or be left out, not \"{}\"",
                clip(wanted)
            ),
        );
    }
    (resources, architectures(&fields, faults))
}

fn cpu(fields: &Fields<'_>, faults: &mut Faults) -> Millicores {
    let Some(spot) = fields.get("cpu") else {
        return Millicores::default();
    };
    let Some(cores) = spot.number(faults) else {
        return Millicores::default();
    };
    let amount = Millicores::from_cores(cores);
    if amount == Millicores::default() || cores > MAX_CORES {
        spot.fault(
            faults,
            format!("must be cores from 0.001 to {MAX_CORES}; leave cpu out to reserve none"),
        );
    }
    amount
}

/// Architectures are compared with what workers say of themselves, which is `uname -m`; Docker's words are understood too.
fn architectures(fields: &Fields<'_>, faults: &mut Faults) -> Vec<String> {
    let Some(items) = fields
        .get("architecture")
        .and_then(|spot| spot.items(faults))
    else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for spot in &items {
        let Some(word) = spot.text(faults) else {
            continue;
        };
        let good = (1..=32).contains(&word.len())
            && word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        if !good {
            spot.fault(
                faults,
                format!(
                    "\"{}\" is no architecture; write x86_64, aarch64, armv7l, …",
                    clip(word)
                ),
            );
        }
        found.push(match word {
            "amd64" => "x86_64".to_owned(),
            "arm64" => "aarch64".to_owned(),
            other => other.to_owned(),
        });
    }
    found
}

fn environment(
    fields: &Fields<'_>,
    runtime: RuntimeKind,
    faults: &mut Faults,
) -> BTreeMap<String, String> {
    let Some(fields) = fields
        .get("environment")
        .and_then(|spot| spot.fields(faults))
    else {
        return BTreeMap::new();
    };
    let mut variables = BTreeMap::new();
    for (key, spot, at) in fields.each() {
        if let Some(wrong) = wrong_variable(key, runtime) {
            faults.add(&spot.path, at, wrong);
        }
        if let Some(value) = spot.text(faults) {
            variables.insert(key.to_owned(), value.to_owned());
        }
    }
    variables
}

/// Why an application cannot be given a variable of that name.
pub(super) fn wrong_variable(name: &str, runtime: RuntimeKind) -> Option<&'static str> {
    if name.is_empty() || name.contains(['=', '\0', '\n', '\r']) {
        Some("a variable's name is not empty and has no =, NUL or line end; rename it")
    } else if name.starts_with("EDGEIO_") {
        Some("names beginning with EDGEIO_ are set by the system; rename it")
    } else if runtime == RuntimeKind::Native && matches!(name, "LD_PRELOAD" | "LD_AUDIT") {
        Some(
            "native programs may not have libraries put under them; link the library, or use a container",
        )
    } else {
        None
    }
}

fn volumes(fields: &Fields<'_>, runtime: RuntimeKind, faults: &mut Faults) -> Vec<Volume> {
    let volumes = mount::volumes(fields, faults);
    if runtime == RuntimeKind::Native && !volumes.is_empty() {
        fields.fault_at(
            "volumes",
            "a native program sees the worker's own folders; remove volumes and use their paths",
            faults,
        );
    }
    volumes
}

/// Whether a worker can be told of a service: what escaping makes too large for a message would never arrive.
///
/// # Errors
/// How many bytes it takes, and how many it may take.
pub fn fits(service: &ServiceSpec) -> Result<(), (usize, usize)> {
    let bytes = size(&WireServiceSpec::from(service));
    if bytes > MAX_SERVICE {
        return Err((bytes, MAX_SERVICE));
    }
    Ok(())
}

fn check_size(fields: &Fields<'_>, service: &ServiceSpec, faults: &mut Faults) {
    if let Err((bytes, most)) = fits(service) {
        let message = format!(
            "the service takes {bytes} bytes as JSON, at most {most} are sent to a worker; move files into its image or a volume"
        );
        faults.add(&fields.path, fields.at, message);
    }
}

fn check_container(
    fields: &Fields<'_>,
    workload: &Workload,
    options: Options,
    faults: &mut Faults,
) {
    if let Some(spot) = fields.require("image", "docker.io/library/nginx:1.29", faults)
        && let Some(image) = &workload.image
        && let Err(wrong) = check_reference(image, options.allow_local_registries)
    {
        spot.fault(faults, wrong);
    }
    if workload.command.first().is_some_and(String::is_empty) {
        fields.fault_at(
            "command",
            "begins with an empty text; write the program first",
            faults,
        );
    }
}

fn check_native(fields: &Fields<'_>, workload: &mut Workload, faults: &mut Faults) {
    if let Some(spot) = fields.get("image") {
        if !workload.command.is_empty() {
            spot.fault(faults, "give either image: file:///absolute/path (with args) or command; remove one of them");
        } else if let Some(image) = &workload.image
            && let Err(wrong) = check_program(image)
        {
            spot.fault(faults, wrong);
        }
    } else if let Some(program) = workload.command.first() {
        if !program.starts_with('/') || program.ends_with('/') {
            let message = format!(
                "must begin with an absolute path, not \"{}\"; write [/bin/sleep, \"1000\"]",
                clip(program)
            );
            fields.fault_at("command", message, faults);
        }
        // The command is the whole command line; arguments given apart are its end.
        let args = std::mem::take(&mut workload.args);
        workload.command.extend(args);
    } else if fields.get("command").is_none_or(|spot| {
        spot.items(&mut Faults::default())
            .is_some_and(|items| items.is_empty())
    }) {
        fields.fault_at(
            "command",
            "is required; write command: [/bin/sleep, \"1000\"], or image: file:///absolute/path",
            faults,
        );
    }
    if workload.pull != Pull::IfAbsent {
        fields.fault_at("pull", "a native program is not pulled; remove it", faults);
    }
}
