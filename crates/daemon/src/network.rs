//! Addresses of this machine, as the kernel's tables of routes show them.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// All addresses by which others may reach this machine: no loopback, no link-local ones; the one that leads to the
/// default route first, then IPv4.
pub fn addresses() -> Vec<String> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let four = ipv4(&read("/proc/net/fib_trie"))
        .into_iter()
        .map(IpAddr::V4);
    let six = ipv6(&read("/proc/net/if_inet6"))
        .into_iter()
        .map(IpAddr::V6);
    let mut all: Vec<IpAddr> = four.chain(six).collect();
    // A bridge of a container engine has an address that nobody else can reach: the way out is told first.
    let first = way_out();
    all.sort_by_key(|address| Some(*address) != first);
    all.iter().map(IpAddr::to_string).collect()
}

/// The address from which packets leave by the default route. Nothing is sent: the kernel only looks the route up.
fn way_out() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // An address for documentation (RFC 5737), which is nobody's own network.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// In `fib_trie` a leaf `|-- <address>` is followed by its prefixes; `/32 host LOCAL` marks an address of this machine.
fn ipv4(fib_trie: &str) -> BTreeSet<Ipv4Addr> {
    let mut leaf = None;
    let mut found = BTreeSet::new();
    for line in fib_trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse().ok();
        } else if line == "/32 host LOCAL" {
            found.extend(
                leaf.filter(|address: &Ipv4Addr| {
                    !address.is_loopback() && !address.is_link_local()
                }),
            );
        }
    }
    found
}

/// `if_inet6` holds 32 hexadecimal digits, then index, prefix, scope and flags; scope `00` is global.
fn ipv6(if_inet6: &str) -> BTreeSet<Ipv6Addr> {
    let address = |line: &str| {
        let mut fields = line.split_whitespace();
        let address = Ipv6Addr::from(u128::from_str_radix(fields.next()?, 16).ok()?);
        (fields.nth(2)? == "00").then_some(address)
    };
    if_inet6.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_others_can_use_are_told() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 4\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 172.17.0.0\n        /16 link UNICAST\n     |-- 172.17.0.1\n        /32 host LOCAL\n     |-- 192.0.2.3\n        /32 link BROADCAST\nLocal:\n     |-- 172.17.0.1\n        /32 host LOCAL\n     |-- 169.254.1.1\n        /32 host LOCAL\n";
        assert_eq!(ipv4(trie), BTreeSet::from([Ipv4Addr::new(172, 17, 0, 1)]));
        let inet6 = "fd000000000000000000000000000002 04 40 00 82     eth0\nfe8000000000000000fc00fffe000001 04 40 20 80     eth0\n00000000000000000000000000000001 01 80 10 80       lo\n";
        assert_eq!(ipv6(inet6), BTreeSet::from(["fd00::2".parse().unwrap()]));
        assert!(ipv4("").is_empty() && ipv6("x").is_empty());
    }
}
