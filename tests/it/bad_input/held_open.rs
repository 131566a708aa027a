//! Requests and sessions that begin and never go on: the others do not notice, and the programs' patience ends.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use edgeio_tests::harness::pause;

use super::exchange::{connect, exchange, request};
use super::refusal::{ask, problem};
use super::rig::{Rig, Tier};
use super::row::Verdict;

/// How many are held open at each.
const HELD: usize = 300;
/// How long their ends may take to come.
const PATIENCE: Duration = Duration::from_secs(30);
/// Beyond it, a server with much to do.
const SLACK: Duration = Duration::from_secs(10);
/// Good requests beside them.
const ASKED: usize = 50;
/// How long all but the slowest of those may take.
const QUICK: Duration = Duration::from_millis(250);

/// Who may follow events at once.
const FOLLOWERS: usize = 256;

/// What begins and does not go on.
const BEGINNINGS: &[&[u8]] = &[
    b"",
    b"G",
    b"GET /api/v1/jobs HTTP/1.1\r\n",
    b"GET /api/v1/jobs HTTP/1.1\r\nHost: a\r\nX-A: ",
    b"POST /api/v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\napi_version: v0.1\n",
    b"POST /api/v1/jobs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n100\r\nabc",
];

/// The same for MQTT.
const SESSIONS: &[&[u8]] = &[b"", b"\x10", b"\x10\x20\x00\x04MQTT"];

/// Connections that wait to be ended.
pub(crate) struct HeldOpen {
    quick: Verdict,
    closing: JoinHandle<Verdict>,
}

impl HeldOpen {
    /// Opens them, and asks beside them.
    pub(crate) fn start(rig: &Rig) -> Self {
        let begun = Instant::now();
        let mut held = Vec::new();
        let http = [
            (rig.http(Tier::Root), BEGINNINGS),
            (rig.http(Tier::Cluster), BEGINNINGS),
        ];
        for (address, beginnings) in http.into_iter().chain([(rig.mqtt(), SESSIONS)]) {
            for bytes in beginnings.iter().cycle().take(HELD) {
                let mut stream = connect(address).unwrap();
                stream.write_all(bytes).unwrap();
                held.push(stream);
            }
        }
        let quick = quick(rig);
        let closing = std::thread::spawn(move || closed(held, begun));
        Self { quick, closing }
    }

    /// Waits for the ends.
    pub(crate) fn finish(self) -> Verdict {
        self.quick?;
        self.closing.join().unwrap()
    }
}

/// Whether one follower of events too many is told to come again, and the next finds a seat when others left.
pub(crate) fn followers(rig: &Rig) -> Verdict {
    for tier in Tier::BOTH {
        let bytes = request("GET /api/v1/events?follow=true", "", b"");
        let mut seated = Vec::new();
        for _ in 0..FOLLOWERS {
            seated.push(follower(rig, tier, &bytes)?.ok_or("a follower found no seat")?);
        }
        let refused = problem(503, "unavailable").header("retry-after", "10");
        ask(rig.http(tier), &bytes, &refused)?;
        drop(seated);
        let begun = Instant::now();
        while follower(rig, tier, &bytes)?.is_none() {
            if begun.elapsed() > Duration::from_secs(3) {
                return Err(format!("{tier:?}: the seats are not given back"));
            }
            pause(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// A follower that was let in.
fn follower(rig: &Rig, tier: Tier, bytes: &[u8]) -> Result<Option<TcpStream>, String> {
    let mut stream = connect(rig.http(tier))?;
    let mut first = [0; 12];
    let begun = stream
        .write_all(bytes)
        .and_then(|()| stream.read_exact(&mut first));
    begun.map_err(|error| error.to_string())?;
    Ok((first == *b"HTTP/1.1 200").then_some(stream))
}

/// Whether others are answered as ever.
fn quick(rig: &Rig) -> Verdict {
    let bytes = request("GET /api/v1/jobs/kept", "", b"");
    for tier in Tier::BOTH {
        let mut times = Vec::new();
        for _ in 0..ASKED {
            let begun = Instant::now();
            exchange(rig.http(tier), &bytes)?;
            times.push(begun.elapsed());
        }
        times.sort();
        let slow = times[ASKED - 2];
        eprintln!(
            "{tier:?}: beside {HELD} held open, all but one of {ASKED} took at most {slow:?}"
        );
        if slow > QUICK {
            return Err(format!(
                "{tier:?}: a request took {slow:?} beside {HELD} held open"
            ));
        }
    }
    Ok(())
}

fn closed(held: Vec<TcpStream>, begun: Instant) -> Verdict {
    let mut open = 0;
    for mut stream in held {
        let left = (PATIENCE + SLACK).saturating_sub(begun.elapsed());
        let left = left.max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left)).unwrap();
        let mut rest = Vec::new();
        match stream.read_to_end(&mut rest) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                open += 1;
            }
            Ok(_) | Err(_) => {}
        }
    }
    eprintln!("held open: all ended within {:?}", begun.elapsed());
    (open == 0)
        .then_some(())
        .ok_or_else(|| format!("{open} are open after {:?}", begun.elapsed()))
}
