//! Joining by token: from bare machines to a system that nobody else gets into.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use edgeio_tests::harness::{
    Client, Program, Settings, System, TOKEN, alone, end_all_in, inside, programs, required,
    together, wait_until,
};
use edgeio_tests::lab::{Lab, ROOT};
use serde_json::Value;

use crate::documents::sleeper;

const LIMIT: Duration = Duration::from_secs(30);

/// A program as somebody starts it on a bare machine, with nothing said that it finds by itself.
struct Machine<'l> {
    namespace: Option<&'l str>,
    home: PathBuf,
}

impl Machine<'_> {
    fn command(&self, program: &str, args: &[&str]) -> Command {
        fs::create_dir_all(&self.home).unwrap();
        let path = programs().join(program);
        let mut command = match self.namespace {
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(path);
                command
            }
            None => Command::new(path),
        };
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("EDGEIO_") {
                command.env_remove(name);
            }
        }
        command
            .args(args)
            .current_dir(&self.home)
            .env("HOME", &self.home)
            .env_remove("XDG_STATE_HOME")
            .env_remove("XDG_CONFIG_HOME")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    fn run(&self, program: &str, args: &[&str]) -> Output {
        self.command(program, args).output().unwrap()
    }

    /// What a command prints that succeeds.
    fn says(&self, program: &str, args: &[&str]) -> String {
        let output = self.run(program, args);
        assert!(output.status.success(), "{program} {args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Starts something that goes on, and gives its ready line.
    fn start(&self, program: &str, args: &[&str]) -> Running {
        let log = self.home.join(format!("{program}.log"));
        let out = self.home.join(format!("{program}.out"));
        let mut command = self.command(program, args);
        command
            .stdout(fs::File::create(&out).unwrap())
            .stderr(fs::File::create(&log).unwrap());
        let mut running = Running {
            child: command.spawn().unwrap(),
            log,
            ready: Value::Null,
        };
        let begun = Instant::now();
        running.ready = wait_until(&format!("{program} is ready"), LIMIT, || {
            let text = fs::read_to_string(&out).unwrap_or_default();
            if let Some((line, _)) = text.split_once('\n') {
                return serde_json::from_str(line).map_err(|error| error.to_string());
            }
            let ended = running.child.try_wait().unwrap();
            assert_eq!(ended, None, "{program}: {}", running.log());
            Err("no line yet".to_owned())
        });
        eprintln!("{program} {args:?} was ready after {:?}", begun.elapsed());
        running
    }
}

struct Running {
    child: Child,
    log: PathBuf,
    ready: Value,
}

impl Running {
    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {}:\n{}", self.log.display(), self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn two_bare_machines_and_three_commands_make_a_secured_system() {
    if !required("netns") {
        return;
    }
    let _turn = alone();
    let lab = Lab::make();
    let place = tempfile::tempdir().unwrap();
    let (here, there) = (lab.namespace("root"), lab.namespace("far-a"));
    let machine = |namespace, name: &str| Machine {
        namespace: Some(namespace),
        home: place.path().join(name),
    };
    let (server, worker) = (machine(&*here, "server"), machine(&*there, "worker"));

    // 1. A root with a cluster. 2. A token. 3. A worker behind NAT, which knows the token alone.
    let up = server.start("edgeio", &["up", "--http", "0.0.0.0:10000"]);
    let token = server.says("edgeio", &["token", "create", "--cluster", "cluster-1"]);
    let joined = worker.start("node-engine", &["join", &token, "--name", "far"]);
    let node = joined.ready["node_id"].as_str().unwrap_or_default();
    assert!(node.starts_with("node_"), "{}", joined.ready);

    let job = place.path().join("server/far.yaml");
    let document = format!("{}worker_node: far\n", sleeper("far-away", ""));
    fs::write(&job, document).unwrap();
    server.says("edgeio", &["apply", "-f", "far.yaml"]);
    server.says("edgeio", &["wait", "job/far-away", "--timeout", "30s"]);

    // Nobody else gets in: no token, no TLS, no certificate.
    let token_file = place.path().join("server/edgeio-data/admin.token");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&token_file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    inside(&here, || {
        let client = Client::new("http://127.0.0.1:10000", None);
        for token in [None, Some(TOKEN)] {
            let stranger = client.with_token(token).get("/api/v1/jobs").unwrap();
            assert_eq!(stranger.status, 401, "{}", stranger.body);
        }
    });
    inside(&there, || {
        let client = Client::new(&format!("http://{ROOT}:10000"), None);
        let plain = client.get("/healthz").unwrap();
        assert_eq!(plain.status, 400, "{}", plain.body);
    });
    let stranger = machine(&there, "stranger");
    let again = stranger.run("node-engine", &["join", &token, "--name", "again"]);
    assert!(!again.status.success(), "{again:?}");
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(said.contains("token"), "{said}");

    // The audit log knows, and is whole.
    let audit = place.path().join("server/edgeio-data/cluster-1/audit");
    let text = fs::read_to_string(audit.join("audit-00000001.jsonl")).unwrap();
    assert!(
        text.contains("\"denied\"") && text.contains("join"),
        "{text}"
    );
    server.says("edgeio", &["audit", "verify", audit.to_str().unwrap()]);
    drop((joined, up));
    end_all_in(place.path());
}

/// Makes a join token of a cluster by its REST interface.
pub(crate) fn join_token(cluster: &Client, uses: u32, ttl: &str) -> String {
    let body = format!("{{uses: {uses}, ttl: {ttl}}}");
    let answer = cluster.post("/api/v1/join-tokens", &body).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.body["token"].as_str().unwrap().to_owned()
}

/// An engine with the native runtime alone that joins with a token.
pub(crate) fn worker(directory: &Path, name: &str, token: &str) -> Program {
    let data = directory.join(name).display().to_string();
    let args = [
        "--name",
        name,
        "--data-dir",
        &data,
        "--runtimes",
        "native",
        "--join-token",
        token,
    ];
    Program::prepare("node-engine", name, directory, &args.map(str::to_owned))
}

fn nodes(cluster: &Client) -> BTreeSet<String> {
    let rows = cluster.list("/api/v1/nodes").unwrap_or_default();
    let alive = rows.iter().filter(|row| row["state"] == "ALIVE");
    let names = alive.filter_map(|row| row["name"].as_str());
    names.map(str::to_owned).collect()
}

#[test]
fn a_token_that_is_used_expired_or_of_another_cluster_lets_nobody_in() {
    let _turn = together();
    let mut system = System::start(Settings::QUICK);
    system.add_cluster("munich", &[]);
    system.add_cluster("garching", &[]);
    let (munich, garching) = (system.cluster(0), system.cluster(1));
    let directory = system.directory().to_owned();

    let once = join_token(&munich, 1, "1h");
    let mut first = worker(&directory, "first", &once);
    first.again();
    wait_until("the first one is in", LIMIT, || {
        let there = nodes(&munich);
        (there.contains("first"))
            .then_some(())
            .ok_or_else(|| format!("{there:?}"))
    });
    let brief = join_token(&munich, 1, "1s");
    let expires = Instant::now() + Duration::from_millis(1_500);
    // The same secret at another cluster: its authority is not the one that the token names.
    let foreign = {
        let theirs = join_token(&garching, 1, "1h");
        let theirs: Vec<&str> = theirs.split('.').collect();
        let ours: Vec<&str> = once.split('.').collect();
        [ours[0], ours[1], ours[2], theirs[3], theirs[4], theirs[5]].join(".")
    };
    wait_until("the brief one has expired", LIMIT, || {
        (Instant::now() >= expires)
            .then_some(())
            .ok_or_else(|| "not yet".to_owned())
    });
    for (name, token) in [("used", &once), ("expired", &brief), ("foreign", &foreign)] {
        let mut program = worker(&directory, name, token);
        let ended = program.fails();
        assert!(!ended.success(), "{name}");
        let log = program.log();
        assert!(log.contains("token"), "{name}: {log}");
    }
    assert_eq!(nodes(&munich), BTreeSet::from(["first".to_owned()]));
    assert_eq!(nodes(&garching), BTreeSet::new());

    // It comes back without the token, and not at all once it is revoked.
    first.kill();
    first.again();
    wait_until("it is back", LIMIT, || {
        let there = nodes(&munich);
        (there.contains("first"))
            .then_some(())
            .ok_or_else(|| format!("{there:?}"))
    });
    let begun = Instant::now();
    let answer = munich.post("/api/v1/nodes/first/revoke", "").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    wait_until("it is cut off", Duration::from_secs(5), || {
        let there = nodes(&munich);
        (!there.contains("first"))
            .then_some(())
            .ok_or_else(|| format!("{there:?}"))
    });
    eprintln!("cut off {:?} after it was revoked", begun.elapsed());
    wait_until("it says why", LIMIT, || {
        let log = first.log();
        log.contains("revoked").then_some(()).ok_or(log)
    });
}
