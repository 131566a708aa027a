//! A network of its own, of network namespaces on one bridge: a root, two clusters, a worker beside each, and two workers
//! behind NAT.
//!
//! ```text
//!  root 10.77.0.2   cluster-a 10.77.0.3   cluster-b 10.77.0.4   near-a 10.77.0.5   near-b 10.77.0.6
//!        └──────────────────┴────────────── hub ────┴──────────────────┴──────────────────┘
//!                                     │           │
//!                     gate-a 10.77.0.7             gate-b 10.77.0.8   (MASQUERADE, nothing comes in)
//!                                     │           │
//!                    far-a 192.168.77.2             far-b 192.168.78.2
//! ```
//!
//! Any link can be cut, both ways or one, without anybody being told ([`Lab::cut`], [`Lab::cut_one_way`]); a cable can be
//! pulled, which the one who has it sees ([`Lab::pull`]); and a link can be slow ([`Lab::slow`]). Nothing of it is connected
//! to the machine's own network, so the addresses cannot meet others. It needs root, `iproute2` and `iptables`; all of it is
//! removed when it is dropped.

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
/// Where the first cluster listens.
pub const CLUSTER_A: &str = "10.77.0.3";
/// Where the second cluster listens.
pub const CLUSTER_B: &str = "10.77.0.4";
/// What the world sees of the worker `far-a`.
pub const GATE_A: &str = "10.77.0.7";
/// What the world sees of the worker `far-b`.
pub const GATE_B: &str = "10.77.0.8";

/// Who is on the bridge.
const STATIONS: [(&str, &str); 7] = [
    ("root", ROOT),
    ("cluster-a", CLUSTER_A),
    ("cluster-b", CLUSTER_B),
    ("near-a", "10.77.0.5"),
    ("near-b", "10.77.0.6"),
    ("gate-a", GATE_A),
    ("gate-b", GATE_B),
];
/// Who is behind a gate: its name, the gate, the address there of both.
const BEHIND: [(&str, &str, &str, &str); 2] = [
    ("far-a", "gate-a", "192.168.77.2", "192.168.77.1"),
    ("far-b", "gate-b", "192.168.78.2", "192.168.78.1"),
];

/// The rules of a gate, as arguments of `iptables`: whoever is behind it may begin a conversation, nobody else.
const RULES: [&str; 6] = [
    "-P INPUT DROP",
    "-P FORWARD DROP",
    "-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
    "-A FORWARD -i in -o out -j ACCEPT",
    "-A FORWARD -i out -o in -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
    "-t nat -A POSTROUTING -o out -j MASQUERADE",
];

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
        for name in names() {
            run(&format!("ip netns add {}", this.namespace(name)));
            this.run_in(name, "ip link set lo up");
        }
        this.run_in("hub", "ip link add bridge type bridge");
        this.run_in("hub", "ip link set bridge up");
        for (name, address) in STATIONS {
            this.join(("hub", name), (name, "out"), address);
            this.run_in("hub", &format!("ip link set {name} master bridge"));
        }
        for (name, gate, address, way_out) in BEHIND {
            this.join((gate, "in"), (name, "out"), address);
            this.run_in(gate, &format!("ip addr add {way_out}/24 dev in"));
            this.run_in(name, &format!("ip route add default via {way_out}"));
            this.run_in(gate, "sysctl -q -w net.ipv4.ip_forward=1");
            for rule in RULES {
                this.run_in(gate, &format!("iptables {rule}"));
            }
        }
        this
    }

    /// The name for `ip netns` of a namespace, which is one of those in the picture.
    pub fn namespace(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Cuts what two have with each other: packets vanish in both directions.
    pub fn cut(&self, one: &str, other: &str) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// Mends it.
    pub fn mend(&self, one: &str, other: &str) {
        self.mend_one_way(one, other);
        self.mend_one_way(other, one);
    }

    /// What the first sends to the second vanishes; what the second sends arrives.
    pub fn cut_one_way(&self, from: &str, to: &str) {
        // Where it arrives, so that nobody's own kernel says why it cannot be sent.
        self.run_in(to, &format!("iptables -I {}", dropped(from)));
    }

    /// Mends it.
    pub fn mend_one_way(&self, from: &str, to: &str) {
        self.run_in(to, &format!("iptables -D {}", dropped(from)));
    }

    /// Pulls somebody's cable: the carrier is gone.
    pub fn pull(&self, name: &str) {
        let (at, link) = plug(name);
        self.run_in(at, &format!("ip link set {link} down"));
    }

    /// Puts it in again.
    pub fn plug(&self, name: &str) {
        let (at, link) = plug(name);
        self.run_in(at, &format!("ip link set {link} up"));
    }

    /// Lets through somebody's cable no more than so many kbit/s, each way.
    pub fn slow(&self, name: &str, kbit: u32) {
        let (at, link) = plug(name);
        for (at, link) in [(at, link), (name, "out")] {
            let limit = format!("rate {kbit}kbit burst 2kb latency 2s");
            self.run_in(at, &format!("tc qdisc replace dev {link} root tbf {limit}"));
        }
    }

    /// Lets through all again.
    pub fn quicken(&self, name: &str) {
        let (at, link) = plug(name);
        for (at, link) in [(at, link), (name, "out")] {
            self.run_in(at, &format!("tc qdisc del dev {link} root"));
        }
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
        for name in names() {
            // What was not made yet cannot be removed.
            let _ = execute(&format!("ip netns del {}", self.namespace(name)));
        }
    }
}

/// All namespaces.
fn names() -> impl Iterator<Item = &'static str> {
    let stations = STATIONS.into_iter().map(|(name, _)| name);
    let behind = BEHIND.into_iter().map(|(name, ..)| name);
    ["hub"].into_iter().chain(stations).chain(behind)
}

/// The rule that drops what somebody sends.
fn dropped(from: &str) -> String {
    let gate = BEHIND.iter().find(|(name, ..)| *name == from);
    let seen_as = gate.map_or(from, |(_, gate, ..)| gate);
    let station = STATIONS.iter().find(|(name, _)| *name == seen_as);
    let (_, address) = station.expect("a name of the picture");
    format!("INPUT -s {address} -j DROP")
}

/// The end of somebody's cable that is not its own: where, and which.
fn plug(name: &str) -> (&str, &str) {
    let gate = BEHIND.iter().find(|(behind, ..)| *behind == name);
    gate.map_or(("hub", name), |(_, gate, ..)| (*gate, "in"))
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
