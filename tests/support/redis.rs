//! A real Redis for tests: one server on a free port of this machine, which keeps nothing when it dies.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a start may take on a busy machine.
const START: Duration = Duration::from_secs(30);

/// A server, ended when this is dropped.
#[derive(Debug)]
pub struct Redis {
    process: Option<Child>,
    port: u16,
    dir: PathBuf,
    options: Vec<String>,
}

impl Redis {
    /// One that lets everybody in.
    pub fn start(dir: &Path) -> Self {
        Self::start_with(dir, &[])
    }

    /// One with these options more; where they name a certificate, it speaks TLS alone.
    pub fn start_with(dir: &Path, options: &[&str]) -> Self {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = free.local_addr().expect("its port").port();
        drop(free);
        let mut this = Self {
            process: None,
            port,
            dir: dir.to_owned(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
        };
        this.restart();
        this
    }

    /// Where it is, behind the scheme and who one is.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts it again, on its port, empty.
    pub fn restart(&mut self) {
        self.kill();
        let is_tls = self.options.iter().any(|it| it == "--tls-cert-file");
        let port = self.port.to_string();
        let [plain, tls] = if is_tls { ["0", &port] } else { [&port, "0"] };
        let mut command = Command::new("redis-server");
        command
            .args(["--port", plain, "--tls-port", tls])
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(&self.dir)
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let started = command.spawn();
        self.process = Some(started.unwrap_or_else(|error| {
            panic!("redis-server does not start ({error}), and EDGEIO_REQUIRE names redis")
        }));
        let deadline = Instant::now() + START;
        while TcpStream::connect(self.address()).is_err() {
            assert!(Instant::now() < deadline, "redis-server does not listen");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
