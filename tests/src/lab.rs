//! A network of its own, of network namespaces on one bridge, with a worker behind NAT.
//!
//! ```text
//!  root 10.77.0.2   cluster 10.77.0.3   near 10.77.0.5
//!        └───────────────┴──── hub ─────────┘
//!                               │
//!                     gate 10.77.0.4 (MASQUERADE, nothing comes in)
//!                               │
//!                       far 192.168.77.2
//! ```
//!
//! Nothing of it is connected to the machine's own network, so the addresses cannot meet others. It needs root,
//! `iproute2` and `iptables`; all of it is removed when it is dropped.

#![expect(
    clippy::expect_used,
    reason = "it is called by tests alone, and a test that panics is a test that fails"
)]

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::harness;

/// Where the root listens.
pub const ROOT: &str = "10.77.0.2";
/// Where the cluster listens.
pub const CLUSTER: &str = "10.77.0.3";

/// What the world sees of the worker behind NAT.
pub const GATE: &str = "10.77.0.4";

/// The rules of the gate, as arguments of `iptables`: whoever is behind it may begin a conversation, nobody else.
const RULES: [&str; 6] = [
    "-P INPUT DROP",
    "-P FORWARD DROP",
    "-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
    "-A FORWARD -i in -o out -j ACCEPT",
    "-A FORWARD -i out -o in -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
    "-t nat -A POSTROUTING -o out -j MASQUERADE",
];
/// What cuts the link behind the gate without anybody being told.
const CUT: &str = "FORWARD 1 -j DROP";

/// The namespaces; they and all that is in them end with this.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
}

impl Lab {
    /// Makes the network.
    pub fn make() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let this = Self {
            prefix: format!("eio{}-{number}-", std::process::id()),
        };
        for name in ["hub", "root", "cluster", "near", "gate", "far"] {
            run(&format!("ip netns add {}", this.namespace(name)));
            this.run_in(name, "ip link set lo up");
        }
        this.run_in("hub", "ip link add bridge type bridge");
        this.run_in("hub", "ip link set bridge up");
        for (name, address) in [
            ("root", ROOT),
            ("cluster", CLUSTER),
            ("gate", GATE),
            ("near", "10.77.0.5"),
        ] {
            this.join(("hub", name), (name, "out"), address);
            this.run_in("hub", &format!("ip link set {name} master bridge"));
        }
        this.join(("gate", "in"), ("far", "out"), "192.168.77.2");
        this.run_in("gate", "ip addr add 192.168.77.1/24 dev in");
        this.run_in("far", "ip route add default via 192.168.77.1");
        this.run_in("gate", "sysctl -q -w net.ipv4.ip_forward=1");
        for rule in RULES {
            this.run_in("gate", &format!("iptables {rule}"));
        }
        this
    }

    /// A namespace's name for `ip netns`: of `root`, `cluster`, `near` (a worker beside them), `far` (one behind NAT).
    pub fn namespace(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Cuts the link of what is behind the gate: packets vanish in both directions.
    pub fn cut(&self) {
        self.run_in("gate", &format!("iptables -I {CUT}"));
    }

    /// Mends it.
    pub fn mend(&self) {
        self.run_in("gate", "iptables -D FORWARD 1");
    }

    /// How knocking at an address from a namespace ends: a closed port refuses, a wall lets the time pass.
    pub fn knock(&self, name: &str, address: &str) -> io::Result<()> {
        let address: SocketAddr = format!("{address}:9").parse().expect("an address");
        let knock = || TcpStream::connect_timeout(&address, Duration::from_secs(1));
        harness::inside(&self.namespace(name), knock).map(drop)
    }

    fn run_in(&self, name: &str, command: &str) {
        run(&format!("ip netns exec {} {command}", self.namespace(name)));
    }

    /// A cable between two namespaces; the second end gets the address.
    fn join(&self, (one, at_one): (&str, &str), (other, at_other): (&str, &str), address: &str) {
        let (from, to) = (self.namespace(one), self.namespace(other));
        run(&format!(
            "ip link add {at_one} netns {from} type veth peer name {at_other} netns {to}"
        ));
        self.run_in(one, &format!("ip link set {at_one} up"));
        self.run_in(other, &format!("ip addr add {address}/24 dev {at_other}"));
        self.run_in(other, &format!("ip link set {at_other} up"));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in ["far", "gate", "near", "cluster", "root", "hub"] {
            // What was not made yet cannot be removed.
            let _ = execute(&format!("ip netns del {}", self.namespace(name)));
        }
    }
}

fn run(command: &str) {
    execute(command).expect("the network can be made");
}

fn execute(command: &str) -> Result<(), String> {
    let mut words = command.split_whitespace();
    let program = words.next().unwrap_or_default();
    let output = Command::new(program).args(words).output();
    let output = output.map_err(|error| format!("{command}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{command}: {said}"))
}
