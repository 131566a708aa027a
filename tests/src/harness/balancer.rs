//! A load balancer as operators put one before several roots: it sends connections to those that live, in turn.

use std::io::{Read as _, Write as _, copy};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::{pause, wait_until};

/// How long the first of them may take to be there.
const START: Duration = Duration::from_secs(20);
/// Between two questions whether a server lives.
const LOOK: Duration = Duration::from_millis(100);
/// How long one may think about its answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// The balancer; it ends when this is dropped.
#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
}

impl Balancer {
    /// One before these servers, on a free port of this machine; waits until one of them lives.
    pub fn start(servers: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let living = Arc::new(Mutex::new(Vec::new()));
        let (looking, over) = (Arc::clone(&living), Arc::clone(&ended));
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let found = servers
                    .iter()
                    .copied()
                    .filter(|server| lives(*server))
                    .collect();
                *looking.lock().unwrap_or_else(PoisonError::into_inner) = found;
                pause(LOOK);
            }
        });
        let found = Arc::clone(&living);
        wait_until("a server lives", START, || {
            let found = found.lock().unwrap_or_else(PoisonError::into_inner);
            let none = || "none does".to_owned();
            (!found.is_empty()).then_some(()).ok_or_else(none)
        });
        let over = Arc::clone(&ended);
        thread::spawn(move || {
            for (number, client) in listener.incoming().enumerate() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let living: Vec<SocketAddr> = living
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                let Ok(client) = client else { continue };
                // One that died since it was looked at is left out.
                let mut in_turn = living.iter().cycle().skip(number).take(living.len());
                let server =
                    in_turn.find_map(|server| TcpStream::connect_timeout(server, PATIENCE).ok());
                if let Some(server) = server {
                    join(client, server);
                }
            }
        });
        Self { address, ended }
    }

    /// Where it is reached.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // So that it looks.
        let _ = TcpStream::connect(self.address);
    }
}

/// Whether a server's `/healthz` says so.
fn lives(server: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: root\r\nConnection: close\r\n\r\n")?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(status.ends_with(b" 200"))
    };
    ask().unwrap_or(false)
}

/// Passes on what either says until one of them ends.
fn join(client: TcpStream, server: TcpStream) {
    for (mut from, mut to) in [
        (client.try_clone().unwrap(), server.try_clone().unwrap()),
        (server, client),
    ] {
        thread::spawn(move || {
            let _ = copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
        });
    }
}
