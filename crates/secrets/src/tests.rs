//! What opens where, and what does not.

use model::access::TenantPath;
use model::id::SecretVersion;
use model::name::Name;

use super::{About, CannotOpen, Login, LoginError, PublicKey, Vault, VaultError, Wrapped};

const VALUE: &[u8] = b"correct horse battery staple";

fn version(bits: u128) -> SecretVersion {
    SecretVersion::from_bits(bits)
}

#[test]
fn a_value_goes_from_an_orchestrator_through_a_cluster_to_a_worker() {
    let [root, cluster, worker] = [(); 3].map(|()| Vault::temporary().unwrap());
    let (tenant, name) = (TenantPath::root(), Name::new("db").unwrap());
    let about = About {
        tenant: &tenant,
        name: &name,
        version: version(7),
    };
    let key = root.key(about.version);
    let ciphertext = key.seal(&about, VALUE).unwrap();
    assert_eq!(ciphertext, key.seal(&about, VALUE).unwrap());
    assert!(!ciphertext.windows(6).any(|part| VALUE.starts_with(part)));

    let down = key.wrap(&cluster.public(), about.version).unwrap();
    let there = cluster.unwrap(&down, about.version).unwrap();
    let down = there.wrap(&worker.public(), about.version).unwrap();
    let read: Wrapped = down.to_string().parse().unwrap();
    let there = worker.unwrap(&read, about.version).unwrap();
    assert_eq!(*there.open(&about, &ciphertext).unwrap(), VALUE);

    // Whoever else gets it on the way has nothing of it.
    for other in [&root, &cluster] {
        assert_eq!(other.unwrap(&down, about.version).err(), Some(CannotOpen));
    }
    assert_eq!(worker.unwrap(&down, version(8)).err(), Some(CannotOpen));
}

#[test]
fn a_ciphertext_opens_at_no_other_place_and_not_when_it_was_changed() {
    let vault = Vault::temporary().unwrap();
    let (tenant, name) = (TenantPath::root(), Name::new("db").unwrap());
    let about = About {
        tenant: &tenant,
        name: &name,
        version: version(7),
    };
    let key = vault.key(about.version);
    let ciphertext = key.seal(&about, VALUE).unwrap();
    let (other_tenant, other_name) = (
        TenantPath::new("university/lab").unwrap(),
        Name::new("dc").unwrap(),
    );
    for other in [
        About {
            tenant: &other_tenant,
            ..about
        },
        About {
            name: &other_name,
            ..about
        },
        About {
            version: version(8),
            ..about
        },
    ] {
        assert_eq!(key.open(&other, &ciphertext).err(), Some(CannotOpen));
    }
    for at in 0..ciphertext.len() {
        let mut changed = ciphertext.clone();
        changed[at] ^= 1;
        assert_eq!(key.open(&about, &changed).err(), Some(CannotOpen));
    }
    let other = vault.key(version(8)).open(&about, &ciphertext);
    assert_eq!(other.err(), Some(CannotOpen));
}

#[test]
fn a_vault_is_the_same_after_a_restart_and_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let first = Vault::open(folder.path()).unwrap();
    let again = Vault::open(folder.path()).unwrap();
    assert_eq!(first.public(), again.public());
    let (tenant, name) = (TenantPath::root(), Name::new("db").unwrap());
    let about = About {
        tenant: &tenant,
        name: &name,
        version: version(1),
    };
    let sealed = first.key(about.version).seal(&about, VALUE).unwrap();
    let opened = again.key(about.version).open(&about, &sealed).unwrap();
    assert_eq!(*opened, VALUE);

    let path = folder.path().join(super::FILE);
    std::fs::write(&path, "not a key").unwrap();
    let error = Vault::open(folder.path()).unwrap_err();
    assert!(matches!(error, VaultError::Text { .. }), "{error}");
}

#[test]
fn nothing_prints_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::open(folder.path()).unwrap();
    let text = std::fs::read_to_string(folder.path().join(super::FILE)).unwrap();
    let printed = format!("{vault:?} {:?}", vault.key(version(1)));
    assert!(!printed.contains(text.trim()), "{printed}");
    let login = Login {
        registry: "ghcr.io".to_owned(),
        username: "bob".to_owned(),
        password: "hunter2".to_owned(),
    };
    assert!(!format!("{login:?}").contains("hunter2"));
}

#[test]
fn texts_that_are_no_keys_are_refused() {
    for text in ["", "AAAA", "!", &"A".repeat(44), &"A".repeat(4_000)] {
        assert!(text.parse::<PublicKey>().is_err(), "{text}");
        assert!(text.parse::<Wrapped>().is_err(), "{text}");
    }
    // Of small order: nothing may be encrypted for it.
    let weak = PublicKey::from_bytes([0; 32]);
    let key = Vault::temporary().unwrap().key(version(1));
    assert_eq!(key.wrap(&weak, version(1)).err(), Some(CannotOpen));
}

#[test]
fn a_login_survives_its_value() {
    let login = Login {
        registry: "10.0.0.1:5000".to_owned(),
        username: "bob".to_owned(),
        password: "of two\nlines".to_owned(),
    };
    assert_eq!(Login::read(&login.value()), Ok(login));
    for value in [&b"one"[..], b"one\ntwo", b"\xff\n\n"] {
        assert_eq!(Login::read(value), Err(LoginError));
    }
}
