//! From a workload to what the shim runs.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path};

use model::workload::{Port, Volume, VolumeSource, Workload};

use crate::runtime::{Given, Identity, StartError};
use crate::shim::confine::Confinement;
use crate::shim::record::{PortRecord, SpawnFault, Spec};

/// What the shim is to run.
pub(super) fn spec(
    identity: &Identity,
    workload: &Workload,
    given: &Given,
    confinement: &Confinement,
) -> Result<Spec, StartError> {
    let image = workload.image.as_deref();
    let (program, args) = match (image, workload.command.split_first()) {
        (_, Some((program, rest))) => (
            program.as_str(),
            rest.iter().chain(&workload.args).cloned().collect(),
        ),
        (Some(image), None) => (
            image.strip_prefix("file://").unwrap_or(image),
            workload.args.clone(),
        ),
        (None, None) => ("", Vec::new()),
    };
    let refused = |why: &'static str, advice| StartError::Start {
        subject: format!("program {program:?}"),
        advice,
        source: why.into(),
    };
    if !program.starts_with('/') {
        return Err(refused(
            "it is no absolute path",
            "write image: file:///absolute/path, or a command that begins with one",
        ));
    }
    let elsewhere = |volume: &Volume| match &volume.source {
        VolumeSource::HostPath(path) => *path != volume.target,
        VolumeSource::Named(_) => true,
    };
    if workload.volumes.iter().any(elsewhere) {
        return Err(refused(
            "a native application sees the worker's own folders",
            "leave volumes out and use absolute paths",
        ));
    }
    // Documents are read so; a set that another program wrote may say anything.
    if !workload.files.keys().all(|path| is_inside(Path::new(path))) {
        return Err(refused(
            "a native application's files lie in its working folder",
            "write relative paths without .. in files",
        ));
    }
    let mut environment = workload.environment.clone();
    environment.extend(
        identity
            .words()
            .map(|(word, value)| (format!("EDGEIO_{}", word.to_uppercase()), value)),
    );
    let port = |port: &Port| PortRecord {
        container: port.container,
        host: port
            .host
            .filter(|host| *host != 0)
            .unwrap_or(port.container),
        transport: port.transport,
    };
    Ok(Spec {
        node: identity.node,
        instance: identity.instance,
        spec_hash: workload.hash,
        generation: identity.generation,
        program: program.into(),
        args,
        environment,
        memory: workload.resources.memory,
        cpu: workload.resources.cpu,
        ports: workload.ports.iter().map(port).collect(),
        given: given.folder.clone(),
        confinement: Some(confinement.clone()),
    })
}

/// Whether a path leads from a folder to something in it.
fn is_inside(path: &Path) -> bool {
    let mut parts = path.components().peekable();
    parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// Writes the document's files into a working folder that nobody has seen yet.
pub(super) fn put_files(work: &Path, files: &BTreeMap<String, String>) -> io::Result<()> {
    for (path, content) in files {
        let path = work.join(path);
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
        }
        let mut file = fs::File::options()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(content.as_bytes())?;
    }
    Ok(())
}

/// Why the shim could not run it.
pub(super) fn spawn_failed(program: &Path, fault: SpawnFault, message: String) -> StartError {
    let advice = match fault {
        SpawnFault::NotFound => {
            "install the program (or the interpreter that it names) on this worker, or correct its path"
        }
        SpawnFault::NotPermitted => {
            "make it executable for the user that native programs run as on this worker"
        }
        SpawnFault::Other => "start it by hand on this worker to see what is wrong",
    };
    StartError::Start {
        subject: format!("program {}", program.display()),
        advice,
        source: message.into(),
    }
}
