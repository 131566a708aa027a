//! Secrets from who sets them to the applications that need them, and to nobody else.

use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD as BASE64;
use edgeio_tests::harness::{
    Client, Engine, Image, Settings, System, end_all_in, required, together, wait_until,
};
use serde_json::{Value, json};

use crate::documents::container;

const LIMIT: Duration = Duration::from_secs(30);

/// Writes the hashes of what it was given, which tell nobody what that was; then it stays.
const HASHES: &str = r#"printf %s "$KEY" | sha256sum > key.new; sha256sum < "$EDGEIO_SECRETS/db" > db.new; mv key.new key; mv db.new db; exec sleep 1000000"#;

/// A value that stands nowhere else on this machine.
fn canary(of: &str) -> String {
    format!("canary-{of}-{:016x}", RandomState::new().hash_one(of))
}

fn sha256(text: &str) -> String {
    use std::io::Write as _;
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap().stdout;
    let text = String::from_utf8(output).unwrap();
    text.split_whitespace().next().unwrap().to_owned()
}

#[track_caller]
fn set(client: &Client, name: &str, value: &str) -> Value {
    let body = json!({"value": value}).to_string();
    let answer = client
        .put(&format!("/api/v1/secrets/{name}"), &body)
        .unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

fn document() -> String {
    format!(
        "api_version: v0.1\njob_name: vault\nimage_runtime: native\ncommand: [/bin/sh, -c, {}]\nsecrets: [db, {{name: key, env: KEY}}]\nstop_grace: 1s\n",
        json!(HASHES)
    )
}

/// Waits until the native application says that it has these two.
#[track_caller]
fn wait_given(system: &System, db: &str, key: &str) {
    let wanted = [("db", sha256(db)), ("key", sha256(key))];
    wait_until("the application has its secrets", LIMIT, || {
        let copies = system.copies("vault");
        let right = |pid: i32| {
            wanted.iter().all(|(file, hash)| {
                let said = fs::read_to_string(format!("/proc/{pid}/cwd/{file}"));
                said.is_ok_and(|said| said.starts_with(hash.as_str()))
            })
        };
        match copies.as_slice() {
            [one] if right(one.pid) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

/// Asserts that neither the text nor what encodings make of it is among the bytes.
#[track_caller]
fn assert_absent(canary: &str, place: &str, bytes: &[u8]) {
    let base64: Vec<String> = (0..3)
        .map(|skip| {
            // Whatever stands before it, the middle of it looks like one of three.
            let padded = format!("{}{canary}", &"###"[..skip]);
            let encoded = BASE64.encode(padded);
            encoded[4..encoded.len() - 4].to_owned()
        })
        .collect();
    for wanted in std::iter::once(canary).chain(base64.iter().map(String::as_str)) {
        let found = bytes
            .windows(wanted.len())
            .position(|part| part == wanted.as_bytes());
        assert_eq!(found, None, "the secret stands in {place}");
    }
}

/// All files below a folder.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() {
            files(&path, found);
        } else if kind.is_file() {
            found.push(path);
        }
    }
}

/// What a core of a process would hold: all its memory that can be written, by pieces.
fn memory(pid: i32) -> Vec<(String, Vec<u8>)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut pieces = Vec::new();
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (Some(range), Some(rights)) = (words.next(), words.next()) else {
            continue;
        };
        let Some((from, to)) = range.split_once('-') else {
            continue;
        };
        let number = |text| u64::from_str_radix(text, 16).unwrap();
        let (from, to) = (number(from), number(to));
        let name = words.nth(3).unwrap_or("its heap or a stack");
        if !rights.starts_with("rw") || memory.seek(SeekFrom::Start(from)).is_err() {
            continue;
        }
        let mut piece = vec![0; usize::try_from(to - from).unwrap()];
        // A part that is not there reads as an error; the process may have given it back.
        if memory.read_exact(&mut piece).is_ok() {
            pieces.push((name.to_owned(), piece));
        }
    }
    pieces
}

/// Looks through all that a system has written, all that it answers, and what its programs have in memory.
#[track_caller]
fn assert_nowhere(system: &System, canaries: &[&str]) {
    let mut all = Vec::new();
    files(system.directory(), &mut all);
    assert!(all.iter().any(|path| path.ends_with("root/root.redb")));
    assert!(all.iter().any(|path| path.ends_with("node.store")));
    for path in all {
        let bytes = fs::read(&path).unwrap_or_default();
        for canary in canaries {
            assert_absent(canary, &path.display().to_string(), &bytes);
        }
    }
    for client in [system.root(), system.cluster(0)] {
        for path in [
            "/metrics",
            "/openapi.json",
            "/api/v1/jobs",
            "/api/v1/jobs/vault",
            "/api/v1/jobs/vault/events",
            "/api/v1/jobs/vault/explain",
            "/api/v1/jobs/vault/logs",
            "/api/v1/events",
            "/api/v1/secrets",
            "/api/v1/secrets/db",
            "/api/v1/nodes",
            "/api/v1/clusters",
        ] {
            let (_, text) = client.text(path).unwrap();
            for canary in canaries {
                assert_absent(canary, path, text.as_bytes());
            }
        }
    }
    for program in [
        &system.root,
        &system.clusters[0],
        &system.workers[0].program,
    ] {
        let limits = fs::read_to_string(format!("/proc/{}/limits", program.pid())).unwrap();
        let cores = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"));
        let soft = cores.and_then(|line| line.split_whitespace().nth(4));
        assert_eq!(soft, Some("0"), "{limits}");
        for (name, piece) in memory(program.pid()) {
            for canary in canaries {
                let place = format!("the memory of {}: {name}", program.name());
                assert_absent(canary, &place, &piece);
            }
        }
    }
}

#[test]
fn a_secret_is_its_application_s_and_stands_nowhere_else() {
    let _turn = together();
    let mut system = System::of_one(Settings::QUICK, "cpu=2,memory=500");
    let root = system.root();
    let (db, key) = (canary("db"), canary("key"));
    let first = set(&root, "db", &db);
    set(&root, "key", &key);
    assert_eq!(
        (&first["name"], &first["kind"], &first["tenant"]),
        (&json!("db"), &json!("value"), &json!("default"))
    );
    root.submit(&document());
    wait_given(&system, &db, &key);
    system.wait_state("vault", "RUNNING", LIMIT);
    assert_nowhere(&system, &[&db, &key]);

    // A new value is that of the job once its document is applied again, and of no running one before.
    let newer = canary("newer");
    let second = set(&root, "db", &newer);
    assert_ne!(first["version"], second["version"]);
    assert_eq!(first["created_at"], second["created_at"]);
    wait_given(&system, &db, &key);
    let applied = root.put("/api/v1/jobs/vault", &document()).unwrap();
    assert_eq!(applied.status, 202, "{}", applied.body);
    wait_given(&system, &newer, &key);
    assert_nowhere(&system, &[&db, &newer, &key]);

    // The machine starts again, and nobody is there to ask.
    let node = system.workers[0].node_id.clone();
    system.root.kill();
    system.clusters[0].kill();
    system.workers[0].program.kill();
    end_all_in(&system.workers[0].directory);
    let in_memory = given(&node);
    fs::remove_dir_all(&in_memory).unwrap();
    system.workers[0].program.again();
    wait_given(&system, &newer, &key);

    // What is deleted is gone, from the memory of the machine too.
    system.root.again();
    system.clusters[0].again();
    let root = system.root();
    let deleted = root.delete("/api/v1/jobs/vault").unwrap();
    assert_eq!(deleted.status, 202, "{}", deleted.body);
    wait_until("nothing of it is left", LIMIT, || {
        let left = fs::read_dir(&in_memory).map_or(0, Iterator::count);
        (system.copies("vault").is_empty() && left == 0)
            .then_some(())
            .ok_or_else(|| format!("{left} folders"))
    });
}

/// Where the opened secrets of a worker's instances are.
fn given(node: &str) -> PathBuf {
    let user = rustix::process::geteuid().as_raw();
    let folders = ["/run/edgeio-node", &format!("/dev/shm/edgeio-node-{user}")];
    let found = folders.map(|folder| Path::new(folder).join(node));
    let there = found.into_iter().find(|folder| folder.exists());
    there.unwrap()
}

#[test]
fn a_container_finds_its_secrets_in_memory_and_its_engine_does_not_show_them() {
    if !required("docker") {
        return;
    }
    let _turn = together();
    let engine = Engine::connect();
    let image = Image::sleeper(&engine);
    let mut system = System::start(Settings::QUICK);
    system.add_cluster("cluster-1", &[]);
    system.add_worker("worker-1", 0, &["--runtimes", "docker"]);
    let value = canary("boxed");
    set(&system.root(), "db", &value);
    let script = "/bin/busybox sha256sum < /run/secrets/db.txt; exec /bin/busybox sleep 1000000";
    let document = format!(
        "{}command: [/bin/busybox, sh, -c, {}]\nsecrets: [{{name: db, file: db.txt}}]\n",
        container("boxed", &image.name),
        json!(script)
    );
    system.root().submit(&document);
    system.wait_state("boxed", "RUNNING", LIMIT);
    let hash = sha256(&value);
    wait_until("it read the file", LIMIT, || {
        let (status, text) = system.root().text("/api/v1/jobs/boxed/logs")?;
        (status == 200 && text.contains(&hash))
            .then_some(())
            .ok_or(text)
    });
    let containers = engine.containers_of(&system.workers[0].node_id);
    let shown = engine.inspect(&containers[0].id);
    assert_absent(
        &value,
        "what its engine shows",
        shown.to_string().as_bytes(),
    );
    assert_nowhere_on_disk(&system, &value);
}

#[track_caller]
fn assert_nowhere_on_disk(system: &System, canary: &str) {
    let mut all = Vec::new();
    files(system.directory(), &mut all);
    for path in all {
        let bytes = fs::read(&path).unwrap_or_default();
        assert_absent(canary, &path.display().to_string(), &bytes);
    }
}

#[test]
fn a_cluster_s_own_jobs_have_their_secrets_too_and_what_is_missing_is_told() {
    let _turn = together();
    let system = System::of_one(Settings::QUICK, "cpu=2,memory=500");
    let cluster = system.cluster(0);
    let refused = cluster.post("/api/v1/jobs", &document()).unwrap();
    assert_eq!(
        (refused.status, &refused.body["code"]),
        (422, &json!("no_such_secret")),
        "{}",
        refused.body
    );
    let told = refused.body["detail"].as_str().unwrap();
    assert!(told.contains("edgeio secret set db"), "{told}");
    let (db, key) = (canary("own"), canary("other"));
    set(&cluster, "db", &db);
    set(&cluster, "key", &key);
    cluster.submit(&document());
    wait_given(&system, &db, &key);
    // The root has none of them.
    assert_eq!(
        system.root().list("/api/v1/secrets").unwrap(),
        [] as [Value; 0]
    );
}
