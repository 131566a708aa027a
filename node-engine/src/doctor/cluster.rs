//! The cluster: its HTTP, its clock, its MQTT.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use identity::Server;
use jiff::fmt::rfc2822::DateTimeParser;
use joining::Approach;
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Finding;
use crate::config::Config;
use crate::link::saved;
use crate::runtime::chain;

/// How long a server may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read.
const ANSWER: usize = 16 * 1024;
/// The port that a cluster's MQTT has unless somebody chose another.
const MQTT: u16 = 10_003;
/// Clocks that differ by more make histories hard to read, and certificates invalid.
const APART: i64 = 300;

/// What a server answered.
struct Answer {
    status: u16,
    /// Lower-case names.
    headers: Vec<(String, String)>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let approach = config
        .membership()
        .and_then(|membership| config.approach(membership));
    let approach = match approach {
        Ok(approach) => approach,
        Err(error) => {
            let remedy = "correct --cluster; allow plain text to another machine with --insecure, or give the authority.pem of \
                          a cluster of https with --ca, or join it: node-engine join TOKEN";
            return vec![Finding::bad("cluster", chain(&error), remedy)];
        }
    };
    let mut findings = reach(&approach).await;
    findings.push(mqtt(config, &approach.host, approach.credentials.tls()).await);
    findings
}

/// Its HTTP and its clock.
pub(super) async fn reach(approach: &Approach) -> Vec<Finding> {
    let tls = approach.credentials.tls();
    http(&approach.url, (&approach.host, approach.port), tls).await
}

async fn http(url: &str, place: (&str, u16), tls: Option<Arc<ClientConfig>>) -> Vec<Finding> {
    let check = "cluster";
    let answer = match timeout(PATIENCE, get(place, tls, "/api/v1/nodes?limit=1")).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            let what = format!("the cluster at {url} cannot be reached: {error}");
            let remedy = "check the address in --cluster, that the cluster-orchestrator runs, and the firewall between";
            return vec![Finding::bad(check, what, remedy)];
        }
        Err(_) => {
            let what = format!("the cluster at {url} does not answer within 5 s");
            let remedy = "check the address in --cluster and the firewall between";
            return vec![Finding::bad(check, what, remedy)];
        }
    };
    let is_ours = answer
        .header("content-type")
        .is_some_and(|kind| kind.contains("json"));
    let finding = match answer.status {
        200 if is_ours => Finding::ok(check, format!("a cluster-orchestrator answers at {url}")),
        401 | 403 if is_ours => Finding::ok(
            check,
            format!("a server that asks users for a token answers at {url}"),
        ),
        404 if is_ours => Finding::bad(
            check,
            format!("what answers at {url} has no workers: it is not a cluster-orchestrator"),
            "give the address of a cluster (port 10001), not of the root",
        ),
        status => Finding::bad(
            check,
            format!("what answers at {url} (status {status}) is not edgeIO"),
            "check the address in --cluster",
        ),
    };
    let mut findings = vec![finding];
    findings.extend(clock(answer.header("date")));
    findings
}

/// Compares this machine's clock with the `Date` of an answer (RFC 9110, section 6.6.1).
fn clock(date: Option<&str>) -> Option<Finding> {
    let theirs = DateTimeParser::new()
        .parse_timestamp(date?)
        .ok()?
        .as_second();
    let apart = daemon::clock::wall_millis() / 1_000 - theirs;
    let what = format!(
        "this machine's clock and the cluster's are {} s apart",
        apart.abs()
    );
    Some(if apart.abs() > APART {
        let remedy = "set the clock (timedatectl set-ntp true); applications run all the same, their times are wrong";
        Finding::warn("clock", what, remedy)
    } else {
        Finding::ok("clock", what)
    })
}

async fn get(
    (host, port): (&str, u16),
    tls: Option<Arc<ClientConfig>>,
    path: &str,
) -> io::Result<Answer> {
    let mut stream = identity::secured(
        TcpStream::connect((host, port)).await?,
        tls,
        Server::Orchestrator,
    )
    .await?;
    let authority = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut text = Vec::new();
    stream.take(ANSWER as u64).read_to_end(&mut text).await?;
    let text = String::from_utf8_lossy(&text);
    let strange = || io::Error::new(io::ErrorKind::InvalidData, "it does not speak HTTP");
    let mut lines = text.split("\r\n");
    let status = lines
        .next()
        .filter(|line| line.starts_with("HTTP/1."))
        .and_then(|line| line.split(' ').nth(1)?.parse().ok())
        .ok_or_else(strange)?;
    let headers = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    Ok(Answer { status, headers })
}

/// Whether the broker answers a CONNECT. It is a stranger's: with the worker's own name it would end its session.
async fn mqtt(config: &Config, host: &str, tls: Option<Arc<ClientConfig>>) -> Finding {
    let check = "mqtt";
    let saved = saved::load(&config.data_dir);
    let (host, port) = saved.as_ref().map_or_else(
        || (host.to_owned(), MQTT),
        |saved| (saved.host.clone(), saved.port),
    );
    let known = saved.is_some();
    // A cluster's own endpoint speaks TLS where its registration does; only one that joined knows of another broker.
    let tls = tls.filter(|_| saved.is_none_or(|saved| saved.tls));
    let what = match timeout(PATIENCE, connect(&host, port, tls)).await {
        Ok(Ok(())) => return Finding::ok(check, format!("a broker answers at {host}:{port}")),
        Ok(Err(error)) => format!("the broker at {host}:{port} cannot be used: {error}"),
        Err(_) => format!("the broker at {host}:{port} does not answer within 5 s"),
    };
    if known {
        let remedy = "open that port between this machine and the cluster; applications go on running meanwhile";
        Finding::bad(check, what, remedy)
    } else {
        let remedy = "this worker never joined, so the port is a guess: if the cluster has another (--mqtt), nothing is wrong";
        Finding::warn(check, what, remedy)
    }
}

async fn connect(host: &str, port: u16, tls: Option<Arc<ClientConfig>>) -> io::Result<()> {
    let client = format!("edgeio-doctor-{}", std::process::id());
    // MQTT 3.1.1, section 3.1: protocol name and level, a clean session, 10 s of keep-alive, the client's id.
    let mut body = b"\x00\x04MQTT\x04\x02\x00\x0a\x00".to_vec();
    body.push(client.len() as u8);
    body.extend_from_slice(client.as_bytes());
    let mut packet = vec![0x10, body.len() as u8];
    packet.append(&mut body);
    let mut stream =
        identity::secured(TcpStream::connect((host, port)).await?, tls, Server::Broker).await?;
    stream.write_all(&packet).await?;
    let mut head = [0; 2];
    stream.read_exact(&mut head).await.map_err(|error| {
        let end = error.kind() == io::ErrorKind::UnexpectedEof;
        if end {
            io::Error::new(error.kind(), "it closes the connection without a word")
        } else {
            error
        }
    })?;
    // CONNACK, whatever it says: a stranger may be refused.
    if head == [0x20, 2] {
        let _ = stream.write_all(&[0xe0, 0]).await;
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it does not speak MQTT",
        ))
    }
}
