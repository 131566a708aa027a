//! A real `MongoDB` for tests: one server, a replica set of its own, on a free port of this machine.
//!
//! The program is found by `EDGEIO_MONGOD`, or as `mongod` in the path. Nothing of it is shipped.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a start may take on a busy machine.
const START: Duration = Duration::from_secs(90);

/// A server, ended when this is dropped.
#[derive(Debug)]
pub struct Mongod {
    process: Option<Child>,
    port: u16,
    dir: PathBuf,
    is_set: bool,
    /// The file by which its servers know each other, where users have to say who they are.
    key: Option<PathBuf>,
}

impl Mongod {
    /// A server with a primary, whose data is in that directory.
    pub fn start(dir: &Path) -> Self {
        Self::begin(dir, true, None).initiated()
    }

    /// The same, where only those are let in that say who they are; this one may do everything.
    pub fn locked(dir: &Path, (user, password): (&str, &str)) -> Self {
        let key = dir.join("key");
        std::fs::write(&key, "a key that all servers of the set have").expect("a file");
        let for_its_owner = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&key, for_its_owner).expect("its rights");
        let this = Self::begin(dir, true, Some(key)).initiated();
        let role = bson(&[string("role", "root"), string("db", "admin")]);
        // The first user may be made from the machine itself.
        let reply = this.ask(&bson(&[
            string("createUser", user),
            string("pwd", password),
            nested(4, "roles", &bson(&[nested(3, "0", &role)])),
            string("$db", "admin"),
        ]));
        let reply = String::from_utf8_lossy(&reply);
        assert!(!reply.contains("errmsg"), "no user was made: {reply}");
        this
    }

    fn initiated(self) -> Self {
        let this = self;
        let member = bson(&[
            int("_id", 0),
            string("host", &format!("127.0.0.1:{}", this.port)),
        ]);
        let settings = bson(&[int("electionTimeoutMillis", 1_000)]);
        let config = bson(&[
            string("_id", "rs0"),
            nested(4, "members", &bson(&[nested(3, "0", &member)])),
            nested(3, "settings", &settings),
        ]);
        this.ask(&bson(&[
            nested(3, "replSetInitiate", &config),
            string("$db", "admin"),
        ]));
        this.wait_for_primary();
        this
    }

    /// A server that is no replica set.
    pub fn alone(dir: &Path) -> Self {
        Self::begin(dir, false, None)
    }

    fn begin(dir: &Path, is_set: bool, key: Option<PathBuf>) -> Self {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = free.local_addr().expect("its port").port();
        drop(free);
        let mut this = Self {
            process: None,
            port,
            dir: dir.to_owned(),
            is_set,
            key,
        };
        this.launch();
        this
    }

    fn launch(&mut self) {
        let program = std::env::var_os("EDGEIO_MONGOD").unwrap_or_else(|| "mongod".into());
        let mut command = Command::new(&program);
        command.arg("--dbpath").arg(&self.dir);
        command.args(["--bind_ip", "127.0.0.1", "--port", &self.port.to_string()]);
        command.args([
            "--wiredTigerCacheSizeGB",
            "0.25",
            "--oplogSize",
            "64",
            "--quiet",
        ]);
        command.args(["--setParameter", "diagnosticDataCollectionEnabled=false"]);
        if self.is_set {
            command.args(["--replSet", "rs0"]);
        }
        if let Some(key) = &self.key {
            command.arg("--keyFile").arg(key);
        }
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .stdin(Stdio::null());
        let started = command.spawn();
        self.process = Some(started.unwrap_or_else(|error| {
            panic!(
                "{} does not start ({error}), and EDGEIO_REQUIRE names mongod",
                program.display()
            )
        }));
        let deadline = Instant::now() + START;
        while TcpStream::connect(self.address()).is_err() {
            assert!(Instant::now() < deadline, "mongod does not listen");
            pause();
        }
    }

    fn wait_for_primary(&self) {
        let hello = bson(&[int("hello", 1), string("$db", "admin")]);
        let deadline = Instant::now() + START;
        let is_primary = |reply: &[u8]| {
            let wanted = b"isWritablePrimary\0\x01";
            reply.windows(wanted.len()).any(|found| found == wanted)
        };
        while !is_primary(&self.ask(&hello)) {
            assert!(Instant::now() < deadline, "mongod does not become primary");
            pause();
        }
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The URL of a database in it.
    pub fn url(&self, database: &str) -> String {
        format!("mongodb://{}/{database}", self.address())
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts it again, on its port and its data, until it has a primary.
    pub fn restart(&mut self) {
        self.kill();
        self.launch();
        if self.is_set {
            self.wait_for_primary();
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Sends one command (`OP_MSG` of the wire protocol) and gives the reply as it came.
    fn ask(&self, command: &[u8]) -> Vec<u8> {
        const OP_MSG: i32 = 2_013;
        let mut stream = TcpStream::connect(self.address()).expect("mongod listens");
        stream.set_read_timeout(Some(START)).expect("a timeout");
        let length = 16 + 4 + 1 + command.len();
        let mut message = Vec::new();
        for number in [length as i32, 1, 0, OP_MSG, 0] {
            message.extend(number.to_le_bytes());
        }
        message.push(0);
        message.extend(command);
        stream.write_all(&message).expect("a command is sent");
        let mut head = [0; 4];
        stream.read_exact(&mut head).expect("a reply begins");
        let mut reply = vec![0; i32::from_le_bytes(head) as usize - 4];
        stream.read_exact(&mut reply).expect("a reply ends");
        reply
    }
}

impl Drop for Mongod {
    fn drop(&mut self) {
        self.kill();
    }
}

fn pause() {
    std::thread::park_timeout(Duration::from_millis(50));
}

/// A document of BSON, of its elements.
fn bson(elements: &[Vec<u8>]) -> Vec<u8> {
    let body = elements.concat();
    let mut document = ((body.len() + 5) as i32).to_le_bytes().to_vec();
    document.extend(body);
    document.push(0);
    document
}

fn element(kind: u8, name: &str, value: &[u8]) -> Vec<u8> {
    [&[kind], name.as_bytes(), &[0], value].concat()
}

fn int(name: &str, value: i32) -> Vec<u8> {
    element(16, name, &value.to_le_bytes())
}

fn string(name: &str, value: &str) -> Vec<u8> {
    let length = (value.len() as i32 + 1).to_le_bytes();
    element(2, name, &[&length, value.as_bytes(), &[0]].concat())
}

/// A document (3) or an array (4).
fn nested(kind: u8, name: &str, document: &[u8]) -> Vec<u8> {
    element(kind, name, document)
}
