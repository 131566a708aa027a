//! A proxy that makes a bad link of a good one: for streams of bytes, and for MQTT 3.1.1 packet by packet.
//!
//! It listens in a thread of its own, in a network namespace if one is named, and forwards to one server. What it does to
//! what passes through is said by [`Rules`], which a test changes while it runs; what it did is counted. All chance comes
//! from one seed.
//!
//! # What it can do
//! - To any connection: be late, be cut in the middle of a packet after so many bytes ([`Way::cap`]), be reset
//!   ([`Proxy::reset`]), be stopped with nobody told, for all ([`Way::stalled`]) or for those that are there
//!   ([`Proxy::freeze`]), while later ones pass.
//! - To PUBLISH packets by topic filter, percentage and direction: the fates of [`Fate`]. What passed can be sent again, any
//!   time later and over a later connection of the same client ([`Proxy::tape`], [`Proxy::inject`]).
//!
//! Acknowledgements stay in accord: a packet that is lost behind its acknowledgement is acknowledged here, and those of
//! packets which the proxy made are taken out.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "it is called by tests alone, and a test that panics is a test that fails"
)]

mod connection;
mod packets;
mod rules;
mod schedule;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use connection::Connection;
pub use packets::Taped;
pub use rules::{Counts, Direction, Fate, PacketRule, Rules, Tally, Way};

/// Packets that are remembered for [`Proxy::inject`].
const TAPE: usize = 10_000;

/// What a proxy understands of what it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// Nothing: bytes.
    Bytes,
    /// MQTT 3.1.1.
    Mqtt,
}

/// Where a proxy stands.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// To whom it forwards.
    pub server: SocketAddr,
    /// What it carries.
    pub speaks: Speaks,
    /// The network namespace that it is in, as `ip netns` names it.
    pub namespace: Option<String>,
    /// All chance comes from it.
    pub seed: u64,
}

impl Options {
    /// One on this machine.
    pub fn new(listen: SocketAddr, server: SocketAddr, speaks: Speaks, seed: u64) -> Self {
        Self {
            listen,
            server,
            speaks,
            namespace: None,
            seed,
        }
    }
}

/// What all connections share with the test.
#[derive(Debug)]
struct Shared {
    options: Options,
    present: watch::Sender<Present>,
    counts: Mutex<Counts>,
    tape: Mutex<Vec<Taped>>,
    connections: Mutex<BTreeMap<u64, Arc<Connection>>>,
}

/// What holds now.
#[derive(Debug, Clone, Default)]
struct Present {
    rules: Rules,
    /// Connections up to this number are half open.
    frozen: u64,
    /// Connections up to this number are reset.
    reset: u64,
}

impl Shared {
    fn count(&self, direction: Direction, change: impl FnOnce(&mut Tally)) {
        let mut counts = self.counts.lock().unwrap();
        change(match direction {
            Direction::Up => &mut counts.up,
            Direction::Down => &mut counts.down,
        });
    }
}

/// A proxy; it and its connections end with this.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts one that does nothing bad yet.
    pub fn start(options: Options) -> Self {
        let namespace = options.namespace.clone();
        let shared = Arc::new(Shared {
            options,
            present: watch::Sender::new(Present::default()),
            counts: Mutex::default(),
            tape: Mutex::default(),
            connections: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let (bound, address) = std::sync::mpsc::channel();
        let serve = {
            let (shared, stop) = (Arc::clone(&shared), stop.clone());
            move || run(shared, &stop, &bound)
        };
        let thread = std::thread::spawn(move || match namespace {
            Some(namespace) => crate::harness::inside(&namespace, serve),
            None => serve(),
        });
        Self {
            address: address.recv().expect("the proxy can listen"),
            shared,
            stop,
            thread: Some(thread),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what it does from now on.
    pub fn set(&self, rules: Rules) {
        self.shared
            .present
            .send_modify(|present| present.rules = rules);
    }

    /// Leaves the present connections half open: nothing goes through, nothing is closed, nobody is told. Later connections
    /// pass. Gives how many there were.
    pub fn freeze(&self) -> usize {
        let (last, count) = self.there();
        self.shared
            .present
            .send_modify(|present| present.frozen = last);
        count
    }

    /// Resets the present connections; gives how many there were.
    pub fn reset(&self) -> usize {
        let (last, count) = self.there();
        self.shared
            .present
            .send_modify(|present| present.reset = last);
        count
    }

    /// What it did so far.
    pub fn counts(&self) -> Counts {
        self.shared.counts.lock().unwrap().clone()
    }

    /// The PUBLISH packets that came to it, the oldest first, at most 10,000 of them.
    pub fn tape(&self) -> Vec<Taped> {
        self.shared.tape.lock().unwrap().clone()
    }

    /// Sends such a packet again, so many times, over the present connections of the same client; gives how many were sent.
    pub fn inject(&self, taped: &Taped, times: usize) -> usize {
        let connections = self.shared.connections.lock().unwrap().clone();
        let of_it = connections
            .values()
            .filter(|connection| connection.client() == Some(taped.client.as_str()));
        let mut sent = 0;
        for connection in of_it {
            for _ in 0..times {
                connection.inject(taped);
                sent += 1;
            }
        }
        let count = sent as u64;
        self.shared
            .count(taped.direction, |tally| tally.injected += count);
        sent
    }

    /// The greatest number of a connection so far, and how many there are.
    fn there(&self) -> (u64, usize) {
        let connections = self.shared.connections.lock().unwrap();
        let last = connections.last_key_value().map_or(0, |(last, _)| *last);
        (last, connections.len())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "the proxy failed"
            );
        }
    }
}

/// Listens and serves until it is stopped.
fn run(shared: Arc<Shared>, stop: &CancellationToken, bound: &std::sync::mpsc::Sender<SocketAddr>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async move {
        let listener = TcpListener::bind(shared.options.listen).await;
        let listener = listener.expect("the proxy can listen");
        bound.send(listener.local_addr().unwrap()).unwrap();
        let mut number = 0;
        loop {
            let stream = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            // A peer that left while it waited is no fault of the proxy.
            let Ok((stream, _)) = stream else { continue };
            number += 1;
            tokio::spawn(connection::run(stream, number, Arc::clone(&shared)));
        }
    });
}
