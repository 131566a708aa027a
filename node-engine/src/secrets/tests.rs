//! What is opened, where it lies meanwhile, and who can read it there.

use std::os::unix::fs::MetadataExt as _;

use model::id::SecretVersion;
use model::name::Name;
use model::secret::{Sealed, SecretUse, Secrets as Needed};
use model::workload::SpecHash;
use secrets::Vault;

use super::*;

/// A cluster's side: what it encrypts, and the keys that it sends.
struct Cluster {
    vault: Vault,
    tenant: TenantPath,
}

impl Cluster {
    fn secret(&self, name: &str, bits: u128, value: &[u8]) -> SecretRef {
        let (name, version) = (Name::new(name).unwrap(), SecretVersion::from_bits(bits));
        let about = About {
            tenant: &self.tenant,
            name: &name,
            version,
        };
        let ciphertext = self.vault.key(version).seal(&about, value).unwrap();
        SecretRef {
            name,
            sealed: Some(Sealed {
                version,
                ciphertext,
            }),
        }
    }

    fn key(&self, bits: u128, secrets: &Secrets) -> SecretKey {
        let version = SecretVersion::from_bits(bits);
        let public = secrets.sealing_key().parse().unwrap();
        let wrapped = self.vault.key(version).wrap(&public, version).unwrap();
        SecretKey {
            version,
            wrapped: wrapped.to_string(),
        }
    }
}

fn cluster() -> Cluster {
    Cluster {
        vault: Vault::temporary().unwrap(),
        tenant: TenantPath::new("university").unwrap(),
    }
}

fn workload(uses: Vec<SecretUse>, pull: Option<SecretRef>) -> Workload {
    Workload {
        hash: SpecHash::default(),
        runtime: RuntimeKind::Native,
        image: None,
        pull: model::workload::Pull::IfAbsent,
        command: vec!["/bin/true".to_owned()],
        args: Vec::new(),
        environment: BTreeMap::new(),
        files: BTreeMap::new(),
        ports: Vec::new(),
        volumes: Vec::new(),
        resources: model::units::Resources::default(),
        restart: model::workload::Restart::Never,
        health: None,
        security: model::security::Security::default(),
        secrets: Needed { uses, pull },
        stop_grace: std::time::Duration::ZERO,
    }
}

fn file(secret: SecretRef, name: &str) -> SecretUse {
    SecretUse {
        secret,
        place: SecretPlace::File(name.to_owned()),
    }
}

fn variable(secret: SecretRef, name: &str) -> SecretUse {
    SecretUse {
        secret,
        place: SecretPlace::Variable(name.to_owned()),
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o777
}

#[test]
fn a_workload_gets_its_values_and_again_after_a_restart_without_a_cluster() {
    let (cluster, dir) = (cluster(), tempfile::tempdir().unwrap());
    let login = Login {
        registry: "ghcr.io".to_owned(),
        username: "bob".to_owned(),
        password: "pull me".to_owned(),
    };
    let needed = workload(
        vec![
            file(cluster.secret("db", 1, b"hunter2"), "db.txt"),
            variable(cluster.secret("api", 2, b"key"), "API"),
        ],
        Some(cluster.secret("ghcr", 3, &login.value())),
    );
    let first = Secrets::load(dir.path()).unwrap();
    let missing = first.open(&cluster.tenant, &needed).unwrap_err();
    assert!(missing.message.contains("edgeio restart"), "{missing:?}");
    let keys = [1, 2, 3].map(|bits| cluster.key(bits, &first));
    first.keep(&keys).unwrap();
    for secrets in [first, Secrets::load(dir.path()).unwrap()] {
        let unsealed = secrets.open(&cluster.tenant, &needed).unwrap();
        assert_eq!(*unsealed.files["db.txt"].0, b"hunter2");
        assert_eq!(unsealed.variables["API"].text(), "key");
        assert_eq!(unsealed.login, Some(login.clone()));
        assert!(!format!("{unsealed:?}").contains("hunter2"));
        // A job of another tenant cannot have it, whoever says so.
        let other = TenantPath::new("company").unwrap();
        assert!(secrets.open(&other, &needed).is_err());
    }
    let again = Secrets::load(dir.path()).unwrap();
    again.tidy(std::iter::empty());
    assert!(again.open(&cluster.tenant, &needed).is_err());
}

#[test]
fn what_cannot_be_given_is_told() {
    let (cluster, dir) = (cluster(), tempfile::tempdir().unwrap());
    let secrets = Secrets::load(dir.path()).unwrap();
    secrets.keep(&[cluster.key(1, &secrets)]).unwrap();
    let binary = cluster.secret("db", 1, b"\xff\xfe");
    let open = |needed| {
        let opened = secrets.open(&cluster.tenant, &needed);
        opened.unwrap_err().message
    };
    let said = open(workload(vec![variable(binary.clone(), "DB")], None));
    assert!(said.contains("give it as a file"), "{said}");
    let said = open(workload(vec![file(binary.clone(), "../db")], None));
    assert!(said.contains("no name of a file"), "{said}");
    let said = open(workload(Vec::new(), Some(binary.clone())));
    assert!(said.contains("no login"), "{said}");
    let mut unsealed = binary;
    unsealed.sealed = None;
    let said = open(workload(vec![file(unsealed, "db")], None));
    assert!(said.contains("apply the document"), "{said}");
}

#[test]
fn files_are_in_memory_for_the_engine_and_the_application_alone() {
    let (cluster, dir) = (cluster(), tempfile::tempdir_in("/dev/shm").unwrap());
    let data = tempfile::tempdir().unwrap();
    let secrets = Secrets::load(data.path()).unwrap();
    secrets
        .keep(&[cluster.key(1, &secrets), cluster.key(2, &secrets)])
        .unwrap();
    let needed = workload(
        vec![
            file(cluster.secret("db", 1, b"hunter2"), "db"),
            variable(cluster.secret("api", 2, b"key"), "API"),
        ],
        None,
    );
    let memory = Memory {
        folder: dir.path().join("node"),
        account: None,
    };
    let instance = InstanceId::from_bits(7);
    let place = |runtime| {
        let unsealed = secrets.open(&cluster.tenant, &needed).unwrap();
        memory.place(instance, runtime, unsealed).unwrap()
    };
    let folder = place(RuntimeKind::Native).folder.unwrap();
    assert_eq!(
        (mode(dir.path().join("node").as_path()), mode(&folder)),
        (0o700, 0o700)
    );
    assert_eq!(fs::read(folder.join("files/db")).unwrap(), b"hunter2");
    assert_eq!(mode(&folder.join("files/db")), 0o400);
    let variables = fs::read_to_string(folder.join("variables")).unwrap();
    assert_eq!(variables, r#"{"API":"key"}"#);
    // What runs may have it mounted: it stays the same folder.
    let before = folder.join("files").metadata().unwrap().ino();
    place(RuntimeKind::Native);
    assert_eq!(folder.join("files").metadata().unwrap().ino(), before);
    memory.remove(instance);
    assert!(!folder.exists());

    // Whoever a container runs as reads its files; nobody else comes to them.
    let given = place(RuntimeKind::Docker);
    let files = given.folder.unwrap();
    assert_eq!((mode(&files), mode(&files.join("db"))), (0o755, 0o444));
    assert_eq!(mode(files.parent().unwrap()), 0o700);
    assert!(!files.parent().unwrap().join("variables").exists());
    assert_eq!(given.variables["API"].text(), "key");
}

#[test]
fn a_folder_on_a_disk_or_of_somebody_else_is_not_used() {
    let (cluster, dir) = (cluster(), tempfile::tempdir().unwrap());
    let secrets = Secrets::load(dir.path()).unwrap();
    secrets.keep(&[cluster.key(1, &secrets)]).unwrap();
    let needed = workload(vec![file(cluster.secret("db", 1, b"x"), "db")], None);
    let place = |folder: PathBuf| {
        let memory = Memory {
            folder,
            account: None,
        };
        let unsealed = secrets.open(&cluster.tenant, &needed).unwrap();
        let placed = memory.place(InstanceId::from_bits(1), RuntimeKind::Native, unsealed);
        placed.unwrap_err().to_string()
    };
    if !is_in_memory(dir.path()) {
        let said = place(dir.path().join("node"));
        assert!(said.contains("not in memory"), "{said}");
    }
    let link = tempfile::tempdir_in("/dev/shm").unwrap();
    std::os::unix::fs::symlink("/dev/shm", link.path().join("node")).unwrap();
    let said = place(link.path().join("node"));
    assert!(said.contains("somebody else's"), "{said}");
}
