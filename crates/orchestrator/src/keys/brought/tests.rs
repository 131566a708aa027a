use std::fs::{self, Permissions};
use std::time::Duration;

use identity::authority::{Authority, Life};
use tempfile::TempDir;

use super::*;

/// Two pairs of another authority, as files.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        let (authority, _) = Authority::make("cluster", Wall(0)).unwrap();
        let life = Life {
            from: Wall(0),
            lasting: Duration::from_hours(1),
        };
        for name in ["a", "b"] {
            let made = authority.server(&["a.example".to_owned()], life).unwrap();
            this.write(&format!("{name}.pem"), &made.certificates_pem());
            this.write(&format!("{name}.key"), &made.key_pem());
        }
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), Permissions::from_mode(0o640)).unwrap();
    }

    fn check(&self, certificate: &str, key: &str) -> Result<(), String> {
        let (certificate, key) = (self.path(certificate), self.path(key));
        Brought::check(Some(&certificate), Some(&key)).map_err(|error| error.to_string())
    }
}

#[test]
fn a_chain_and_its_key_are_read_and_their_end_is_known() {
    let files = Files::new();
    assert_eq!(files.check("a.pem", "a.key"), Ok(()));
    let brought = Brought::of(Some(&files.path("a.pem")), Some(&files.path("a.key")));
    let brought = brought.unwrap().unwrap();
    let read = brought.read().unwrap();
    assert_eq!(read.until(), Some(Wall(3_600_000)));
    let seen = brought.stamp();
    assert_eq!(brought.stamp(), seen);
    fs::rename(files.path("b.pem"), files.path("a.pem")).unwrap();
    assert_ne!(brought.stamp(), seen);
}

#[test]
fn what_cannot_be_used_is_told_with_the_file_and_what_to_do() {
    let files = Files::new();
    files.write("empty", "");
    files.write(
        "half",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    );
    files.write(
        "half.key",
        "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n",
    );
    for (certificate, key, words) in [
        ("none", "a.key", ["--tls-cert", "none", "must be able to"]),
        ("a.pem", "none", ["--tls-key", "none", "must be able to"]),
        ("empty", "a.key", ["--tls-cert", "empty", "own first"]),
        ("half", "a.key", ["--tls-cert", "half", "own first"]),
        ("a.key", "a.key", ["--tls-cert", "a.key", "own first"]),
        ("a.pem", "empty", ["--tls-key", "empty", "passphrase"]),
        ("a.pem", "half.key", ["--tls-key", "half.key", "passphrase"]),
        ("a.pem", "a.pem", ["--tls-key", "a.pem", "passphrase"]),
        ("a.pem", "b.key", ["b.key", "a.pem", "comes first"]),
    ] {
        let told = files.check(certificate, key).unwrap_err();
        for word in words {
            assert!(told.contains(word), "{certificate} {key}: {told}");
        }
    }
    fs::set_permissions(files.path("a.key"), Permissions::from_mode(0o644)).unwrap();
    let told = files.check("a.pem", "a.key").unwrap_err();
    assert!(told.contains("chmod 640"), "{told}");
}

#[test]
fn half_of_it_is_none() {
    let path = Path::new("x");
    assert_eq!(Brought::of(None, None).unwrap(), None);
    for (certificate, key, missing) in [
        (Some(path), None, "--tls-key FILE"),
        (None, Some(path), "--tls-cert FILE"),
    ] {
        let told = Brought::of(certificate, key).unwrap_err().to_string();
        assert!(told.contains(missing), "{told}");
    }
}
