//! Debian's Prometheus, with the files of `monitoring/`.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use edgeio_tests::harness::{Client, Program, wait_until};
use serde_json::Value;

const LIMIT: Duration = Duration::from_mins(1);

/// Where the files are that we ship.
pub(super) fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../monitoring")
}

/// A Prometheus, and its files.
pub(super) struct Prometheus {
    child: Child,
    folder: PathBuf,
    client: Client,
}

impl Prometheus {
    /// Starts it in this folder, which has the token, with a root and a cluster to read.
    pub(super) fn start(folder: &Path, root: &Program, cluster: &Program) -> Self {
        fs::create_dir_all(folder.join("targets")).unwrap();
        fs::copy(shipped().join("alerts.yml"), folder.join("alerts.yml")).unwrap();
        // All but how often it looks is as it is shipped.
        let text = fs::read_to_string(shipped().join("prometheus.yml")).unwrap();
        let often = text.replace("_interval: 15s", "_interval: 1s");
        assert_ne!(text, often);
        let configuration = folder.join("prometheus.yml");
        fs::write(&configuration, often).unwrap();
        aim(folder, ("root.yml", "127.0.0.1:10000"), root);
        aim(folder, ("cluster-1.yml", "127.0.0.1:10001"), cluster);
        check(&["check", "config"], &configuration);
        check(&["check", "rules"], &folder.join("alerts.yml"));

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        let this = Self {
            child,
            folder: folder.to_owned(),
            client: Client::new(&format!("http://{address}"), None).with_token(None),
        };
        wait_until("Prometheus is ready", LIMIT, || {
            let (status, text) = this.client.text("/-/ready")?;
            (status == 200).then_some(()).ok_or(text)
        });
        this
    }

    /// Adds a cluster as an operator does: a file, and its authority.
    pub(super) fn add(&self, cluster: &Program) {
        aim(&self.folder, ("cluster-1.yml", "127.0.0.1:10001"), cluster);
    }

    /// What an expression yields now.
    pub(super) fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let answer = self
            .client
            .get(&format!("/api/v1/query?query={}", encoded(expression)))?;
        let rows = answer.body["data"]["result"].as_array().cloned();
        rows.filter(|_| answer.status == 200)
            .ok_or_else(|| format!("{expression}: {}", answer.body))
    }

    /// The one number that an expression yields.
    pub(super) fn number(&self, expression: &str) -> Result<f64, String> {
        let rows = self.query(expression)?;
        let [row] = rows.as_slice() else {
            return Err(format!("{expression}: {rows:?}"));
        };
        let text = row["value"][1].as_str().unwrap_or_default();
        text.parse()
            .map_err(|error| format!("{expression}: {error}: {row}"))
    }

    /// All rules, as it has read them.
    pub(super) fn rules(&self) -> Vec<Value> {
        let answer = self.client.get("/api/v1/rules").unwrap().body;
        let groups = answer["data"]["groups"].as_array().unwrap().iter();
        let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
        rules.cloned().collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let targets = self
                .client
                .get("/api/v1/targets")
                .map(|answer| answer.body.to_string());
            let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            eprintln!("--- Prometheus:\n{log}\n{targets:?}");
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes the token by which it reads metrics.
pub(super) fn token(folder: &Path) -> PathBuf {
    let path = folder.join("scrape.token");
    fs::write(&path, format!("{}\n", "5c".repeat(32))).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// Writes a target file as it is shipped, with the program's address and name, and adds its authority.
fn aim(folder: &Path, (shown, address): (&str, &str), program: &Program) {
    let text = fs::read_to_string(shipped().join("targets").join(shown)).unwrap();
    let (_, real) = program.said("http").split_once("://").unwrap();
    let aimed = text.replace(address, real);
    assert_ne!(text, aimed, "{shown} names {address}");
    let aimed = aimed.replace("cluster-1", program.name());
    let file = format!("{}.yml", program.name());
    fs::write(folder.join("targets").join(file), aimed).unwrap();
    let own = Path::new(program.said("data_dir")).join("identity/authority.pem");
    let bundle = folder.join("authorities.pem");
    let before = fs::read_to_string(&bundle).unwrap_or_default();
    fs::write(&bundle, before + &fs::read_to_string(own).unwrap()).unwrap();
}

/// `promtool` must be content.
pub(super) fn check(what: &[&str], file: &Path) {
    let done = Command::new("promtool").args(what).arg(file).output();
    let done = done.unwrap();
    assert!(done.status.success(), "{what:?}: {done:?}");
}

fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
