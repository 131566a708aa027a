//! What a policy's file says, and what of a workload it lets through, whoever sent that.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use model::access::TenantPath;
use model::units::Resources;
use model::workload::{Pull, Restart, SpecHash};

use super::read::Machine;
use super::*;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nedgeio:x:998:997::/:/bin/false\n";
const ROOT: Machine<'_> = Machine {
    passwd: PASSWD,
    own: 0,
};

fn read(text: &str) -> Result<Policy, String> {
    read::policy(Path::new("/etc/edgeio/policy.toml"), text, &ROOT)
}

fn workload(runtime: RuntimeKind) -> Workload {
    Workload {
        hash: SpecHash::default(),
        runtime,
        image: Some("app".to_owned()),
        pull: Pull::IfAbsent,
        command: Vec::new(),
        args: Vec::new(),
        environment: BTreeMap::new(),
        ports: Vec::new(),
        volumes: Vec::new(),
        files: BTreeMap::new(),
        resources: Resources::default(),
        restart: Restart::Always,
        health: None,
        security: Security::default(),
        secrets: model::secret::Secrets::default(),
        stop_grace: Duration::ZERO,
    }
}

fn asks(security: Security) -> Workload {
    Workload {
        security,
        ..workload(RuntimeKind::Docker)
    }
}

fn mounts(source: VolumeSource, target: &str, read_only: bool) -> Workload {
    let volume = Volume {
        source,
        target: target.to_owned(),
        read_only,
    };
    Workload {
        volumes: vec![volume],
        ..workload(RuntimeKind::Docker)
    }
}

fn host(path: &Path, read_only: bool) -> Workload {
    let path = path.to_str().unwrap().to_owned();
    mounts(VolumeSource::HostPath(path), "/x", read_only)
}

fn tenant(path: &str) -> TenantPath {
    TenantPath::new(path).unwrap()
}

/// What it says of a workload that it forbids.
fn refusal(policy: &Policy, workload: &Workload) -> String {
    let reason = policy.admit(&tenant("default"), workload).unwrap_err();
    assert_eq!(reason.code, ReasonCode::ForbiddenByWorker);
    reason.message
}

fn admits(policy: &Policy, workload: &Workload) -> bool {
    policy.admit(&tenant("default"), workload).is_ok()
}

#[test]
fn without_a_file_a_document_may_ask_for_what_docker_gives_and_for_no_path() {
    let policy = Policy::default();
    let most = Security {
        read_only: false,
        user: Some(User::Root),
        capabilities: Capability::ALL.into(),
        pids: 4_096,
    };
    assert!(admits(&policy, &asks(most)));
    for runtime in [RuntimeKind::Native, RuntimeKind::Noop, RuntimeKind::Docker] {
        assert!(admits(&policy, &workload(runtime)), "{runtime}");
    }
    let named = VolumeSource::Named("data".to_owned());
    assert!(admits(&policy, &mounts(named, "/data", false)));
    let refused = refusal(&policy, &host(Path::new("/srv/models"), true));
    assert!(
        refused.contains("[containers] host_paths = []"),
        "{refused}"
    );
    assert!(refused.contains("without a line for it in"), "{refused}");
}

#[test]
fn a_policy_forbids_by_its_line_and_says_what_to_do() {
    let policy = read(
        "[containers]\nallow_root = false\nallow_writable = false\ncapabilities = [\"CHOWN\"]\nmax_pids = 100\n\n[native]\nenabled = false\n\n[tenants]\nallow = [\"default\", \"lab\"]\n",
    )
    .unwrap();
    let security = |change: fn(&mut Security)| {
        let mut security = Security {
            pids: 100,
            ..Security::default()
        };
        change(&mut security);
        asks(security)
    };
    assert!(admits(
        &policy,
        &security(|it| it.capabilities = [Capability::Chown].into())
    ));
    let files = Workload {
        files: [("/etc/a".to_owned(), String::new())].into(),
        ..security(|_| {})
    };
    for (workload, line, says) in [
        (security(|it| it.user = Some(User::Root)), 2, "run as root"),
        (security(|it| it.read_only = false), 3, "not read-only"),
        (files, 3, "`files`"),
        (
            security(|it| it.capabilities = [Capability::Chown, Capability::Kill].into()),
            4,
            "the capabilities KILL;",
        ),
        (security(|it| it.pids = 101), 5, "max_pids = 100"),
        // To a container engine that is any number.
        (security(|it| it.pids = 0), 5, "0 processes"),
        (workload(RuntimeKind::Native), 8, "native programs"),
    ] {
        let refused = refusal(&policy, &workload);
        let place = format!("(line {line} of /etc/edgeio/policy.toml); ");
        assert!(refused.contains(&place), "{refused}");
        assert!(refused.contains(says), "{refused}");
        assert!(refused.ends_with("ask the worker's owner"), "{refused}");
    }
    let container = security(|_| {});
    assert!(policy.admit(&tenant("lab"), &container).is_ok());
    assert!(policy.admit(&tenant("lab/room"), &container).is_ok());
    assert!(policy.admit(&tenant("lab2"), &container).is_err());
    let foreign = policy.admit(&tenant("other"), &container).unwrap_err();
    assert!(foreign.message.contains("tenant other"), "{foreign:?}");
    assert!(foreign.message.contains("line 11"), "{foreign:?}");
    assert!(!policy.has_native());
}

/// As a hostile root would send it: whatever no document can say is forbidden here as well.
#[test]
fn no_spec_gets_out_of_the_folders_that_the_owner_gives() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().canonicalize().unwrap();
    let (models, data, own) = (base.join("models"), base.join("data"), base.join("own"));
    for made in [&models.join("one"), &data, &own] {
        fs::create_dir_all(made).unwrap();
    }
    let socket = base.join("engine").join("docker.socket");
    fs::create_dir(socket.parent().unwrap()).unwrap();
    fs::write(&socket, "").unwrap();
    symlink("/etc", data.join("out")).unwrap();
    symlink("/no/such/place", data.join("nowhere")).unwrap();
    symlink(&models, data.join("models")).unwrap();
    symlink(&own, models.join("own")).unwrap();
    let all = format!(
        "[containers]\nhost_paths = [\"{}:ro\", \"{}\", \"{}\", \"{}\"]\n",
        models.display(),
        data.display(),
        base.join("engine").display(),
        base.join("absent").display(),
    );
    let mut policy = read(&all).unwrap();
    policy.guarded = Guarded::of(&format!("unix://{}", socket.display()), &own);

    let given = |path: &Path, read_only| {
        let workload = policy.admit(&tenant("default"), &host(path, read_only));
        workload.map(|workload| workload.volumes[0].source.clone())
    };
    let real = |path: &Path| Ok(VolumeSource::HostPath(path.to_str().unwrap().to_owned()));
    assert_eq!(given(&models, true), real(&models));
    assert_eq!(
        given(&data.join("new/folder"), false),
        real(&data.join("new/folder"))
    );
    // A link that stays within what is given is followed, and what it leads to is mounted.
    assert_eq!(
        given(&data.join("models/one"), true),
        real(&models.join("one"))
    );

    for (path, says) in [
        (data.join("out"), "it leads to /etc"),
        (data.join("out/ssh"), "it leads to /etc/ssh"),
        (data.join("nowhere"), "cannot be looked at"),
        (base.clone(), "the container engine's socket"),
        (base.join("engine"), "the container engine's socket"),
        (socket, "the container engine's socket"),
        (own.clone(), "the worker's own folder"),
        (own.join("node.store"), "the worker's own folder"),
        (models.join("own"), "the worker's own folder"),
        (base.join("other"), "below no folder that is given"),
        (base.join("absent/x"), "below no folder that is given"),
        (base.join("data-of-others"), "below no folder that is given"),
        ("/".into(), "given to no application"),
        ("/proc".into(), "given to no application"),
        ("/proc/1/root".into(), "given to no application"),
        ("/sys/fs/cgroup".into(), "given to no application"),
        ("/dev".into(), "given to no application"),
        ("/var/run/docker.sock".into(), "given to no application"),
        ("/run/containerd".into(), "given to no application"),
        (data.join("../../etc"), "below no folder that is given"),
    ] {
        let refused = refusal(&policy, &host(&path, true));
        assert!(refused.contains(says), "{}: {refused}", path.display());
    }
    let refused = refusal(&policy, &host(&models, false));
    assert!(refused.contains("write it with :ro"), "{refused}");
}

/// An engine reads a volume as one text with colons in it, and a name that is a path as a path.
#[test]
fn no_spec_smuggles_a_path_or_an_option_in_by_its_spelling() {
    let policy = Policy::default();
    for (source, target) in [
        ("/etc", "/x"),
        ("../etc", "/x"),
        ("a", "/x"),
        ("data:/etc", "/x"),
        ("data", "/x:rshared"),
        ("data", "x"),
        ("data", "/"),
        ("data", "/a/../../x"),
        ("", "/x"),
    ] {
        let named = VolumeSource::Named(source.to_owned());
        let refused = refusal(&policy, &mounts(named, target, false));
        assert!(refused.contains("no place of a volume"), "{refused}");
    }
    let colon = VolumeSource::HostPath("/srv/a:/etc".to_owned());
    let policy = read("[containers]\nhost_paths = [\"/srv\"]\n").unwrap();
    assert!(!admits(&policy, &mounts(colon, "/x", false)));
}

#[test]
fn every_fault_of_a_file_is_told_with_its_line_and_what_to_write() {
    let told = read(
        "[containers]\nallow_root = \"yes\"\nprivileged = true\ncapabilities = [\"SYS_ADMIN\", 7]\nmax_pids = 0\nhost_paths = [\"/\", \"srv\", \"/run/docker.sock\", \"/srv/..\"]\nuser = 0\n[native]\nuser = \"nobody-here\"\nwrite = [\"/proc\", \"tmp\"]\nmax_files = 1\n[tenants]\nallow = \"all\"\n[network]\nx = 1\n",
    )
    .unwrap_err();
    for (line, says) in [
        (2, "containers.allow_root: write true or false"),
        (3, "`privileged` is unknown in [containers], which has user"),
        (4, "\"SYS_ADMIN\" is none of AUDIT_WRITE"),
        (4, "write a list of texts"),
        (5, "whole number from 1 to 65536"),
        (6, "\"/\" is given to no application"),
        (6, "\"srv\" is no folder"),
        (6, "\"/run/docker.sock\" is given to no application"),
        (6, "\"/srv/..\" is no folder"),
        (7, "containers.user: write a whole number from 1"),
        (9, "/etc/passwd has no user \"nobody-here\""),
        (10, "\"/proc\" is not given"),
        (10, "\"tmp\" is not given"),
        (11, "whole number from 16"),
        (13, "tenants.allow: write a list"),
        (14, "`network` is no section of a policy"),
    ] {
        let fault = told
            .lines()
            .any(|it| it.trim().starts_with(&format!("line {line}: ")) && it.contains(says));
        assert!(fault, "line {line}, {says}:\n{told}");
    }
    let broken = read("[containers\nallow_root = \n").unwrap_err();
    assert!(
        broken.contains("line 1: ") && broken.contains("line 2: "),
        "{broken}"
    );
    assert_eq!(
        read("# nothing\n").unwrap().containers,
        Containers::default()
    );
}

#[test]
fn native_programs_get_a_user_of_this_machine_that_is_not_root() {
    let account = |text: &str, own| {
        let machine = Machine {
            passwd: PASSWD,
            own,
        };
        let text = format!("[native]\nuser = {text}\n");
        let policy = read::policy(Path::new("p"), &text, &machine);
        policy.map(|policy| policy.confinement().account.map(|it| (it.uid, it.gid)))
    };
    assert_eq!(account("\"edgeio\"", 0), Ok(Some((998, 997))));
    assert_eq!(account("998", 0), Ok(Some((998, 997))));
    assert_eq!(account("1234", 0), Ok(Some((1_234, 1_234))));
    assert_eq!(account("998", 998), Ok(Some((998, 997))));
    for (text, own, says) in [
        ("\"root\"", 0, "root is no user of its own"),
        ("0", 0, "whole number from 1"),
        ("true", 0, "name of a user"),
        ("\"edgeio\"", 1_000, "only an engine that runs as root"),
    ] {
        let told = account(text, own).unwrap_err();
        assert!(told.contains(says), "{told}");
    }
    let policy = read("[native]\nwrite = [\"/srv/data\", \"/dev/ttyUSB0\"]\nmax_processes = 64\nmax_files = 128\n").unwrap();
    let bounds = policy.confinement();
    assert_eq!(
        bounds.write,
        [PathBuf::from("/srv/data"), "/dev/ttyUSB0".into()]
    );
    assert_eq!((bounds.max_processes, bounds.max_files), (64, 128));
}

#[test]
fn a_file_in_the_data_directory_holds_and_one_that_is_named_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config {
        data_dir: folder.path().to_owned(),
        ..Config::default()
    };
    let none = Policy::load(&config).unwrap();
    assert_eq!(none.file(), None);
    let refused = refusal(&none, &host(Path::new("/srv"), true));
    let place = folder.path().join(FILE);
    assert!(refused.contains(place.to_str().unwrap()), "{refused}");
    fs::write(&place, "[native]\nenabled = false\n").unwrap();
    let there = Policy::load(&config).unwrap();
    assert_eq!(there.file(), Some(place.as_path()));
    assert!(!there.has_native());
    config.policy = Some(folder.path().join("absent.toml"));
    let error = Policy::load(&config).unwrap_err();
    assert_eq!(error.exit_code(), daemon::exit::CONFIG);
    assert!(error.to_string().contains("absent.toml"), "{error}");
    // A link that leads to nothing is no missing file.
    config.policy = None;
    fs::remove_file(&place).unwrap();
    symlink(folder.path().join("absent.toml"), &place).unwrap();
    assert!(Policy::load(&config).is_err());
}
