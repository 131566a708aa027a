//! One run: connect the workers, weigh the broker, let them work with the hostile ones beside, and count.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::Context;
use rustls::ClientConfig;
use tokio::task::LocalSet;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, Kind};
use crate::hostile::{self, Ended};
use crate::worker::{Shared, Tally, Worker};
use crate::{Options, papers};

/// Workers that connect at the same time.
const AT_ONCE: u32 = 50;

/// What is under way at the end has so long to arrive.
const REST: Duration = Duration::from_secs(10);

/// The figures of one broker.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) kind: Kind,
    pub(crate) workers: u32,
    /// Connections and subscriptions a second, while they were made.
    pub(crate) connects: f64,
    /// Seconds of CPU that the broker used for all of them.
    pub(crate) entering: f64,
    /// Resident bytes before the first connection, with all workers connected, and the most that was seen.
    pub(crate) resident: [u64; 3],
    /// Messages that reached the cluster's side.
    pub(crate) arrived: u64,
    pub(crate) commanded: u64,
    pub(crate) tally: Tally,
    pub(crate) half_open_ended: u64,
    pub(crate) readers_ended: u64,
    /// Seconds of CPU that the broker used while the workers worked, and how long that was.
    pub(crate) cpu: (f64, f64),
    /// The machine's load of the last minute, before and after.
    pub(crate) load: [f64; 2],
}

/// Measures one broker.
pub(crate) async fn run(kind: Kind, options: &Options) -> anyhow::Result<Run> {
    LocalSet::new().run_until(measure(kind, options)).await
}

async fn measure(kind: Kind, options: &Options) -> anyhow::Result<Run> {
    let mut broker = Broker::start(kind).await?;
    let pid = broker.pid()?;
    let load = load()?;
    let empty = resident(pid)?;
    let clients = match &broker.authority {
        Some(authority) => papers::clients(authority, options.workers)?,
        None => Vec::new(),
    };
    let (idle, since) = (cpu(pid)?, Instant::now());
    let workers = connect(&broker, options.workers, &clients).await?;
    let connects = f64::from(options.workers) / since.elapsed().as_secs_f64();
    let entering = cpu(pid)? - idle;
    let connected = resident(pid)?;

    let ended = Rc::new(Ended::default());
    let shared = Rc::new(Shared {
        tally: RefCell::default(),
        epoch: Instant::now(),
        every: Duration::from_secs(options.every.max(1)),
        payload: vec![b'x'; options.payload],
        quiet: CancellationToken::new(),
        end: CancellationToken::new(),
    });
    hostile::half_open(broker.address, options.half_open, &ended, &shared.end);
    hostile::never_reads(broker.address, &ended, &shared.end);
    sleep(hostile::COMING).await;
    let step = shared.every / options.workers.max(1);
    for (number, worker) in workers.into_iter().enumerate() {
        let offset = step * number as u32;
        tokio::task::spawn_local(worker.work(Rc::clone(&shared), offset));
    }
    let (busy, since) = (cpu(pid)?, Instant::now());
    let (commanded, most) = command(&mut broker, options, &shared, pid).await?;
    let cpu = (cpu(pid)? - busy, since.elapsed().as_secs_f64());
    shared.quiet.cancel();
    let arrived = settle(&mut broker, &shared, commanded).await?;
    shared.end.cancel();
    Ok(Run {
        kind,
        workers: options.workers,
        connects,
        entering,
        resident: [empty, connected, most.max(connected)],
        arrived,
        commanded,
        tally: shared.tally.take(),
        half_open_ended: ended.half_open.get(),
        readers_ended: ended.readers.get(),
        cpu,
        load: [load, self::load()?],
    })
}

async fn connect(
    broker: &Broker,
    count: u32,
    clients: &[Arc<ClientConfig>],
) -> anyhow::Result<Vec<Worker>> {
    let mut workers = Vec::new();
    for first in (0..count).step_by(AT_ONCE as usize) {
        let group: Vec<_> = (first..count.min(first + AT_ONCE))
            .map(|number| {
                let tls = clients.get(number as usize).cloned();
                tokio::task::spawn_local(Worker::connect(broker.address, number, tls))
            })
            .collect();
        for worker in group {
            workers.push(worker.await??);
        }
    }
    Ok(workers)
}

/// Sends commands to random workers for the time of the run; the number of commands and the most memory that was seen.
async fn command(
    broker: &mut Broker,
    options: &Options,
    shared: &Shared,
    pid: u32,
) -> anyhow::Result<(u64, u64)> {
    let mut beats = interval(Duration::from_secs(1) / options.commands.max(1));
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut commanded, mut most) = (0, 0);
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    let until = Instant::now() + Duration::from_secs(options.seconds);
    while Instant::now() < until {
        beats.tick().await;
        // A xorshift generator: the same workers in each run.
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        let number = (noise >> 32) as u32 % options.workers.max(1);
        let stamp = shared.epoch.elapsed().as_nanos() as u64;
        broker.command(number, stamp).await?;
        commanded += 1;
        if commanded % u64::from(options.commands.max(1)) == 0 {
            most = most.max(resident(pid)?);
        }
    }
    Ok((commanded, most))
}

/// Waits until all that was sent has arrived, or for as long as that may take.
async fn settle(broker: &mut Broker, shared: &Shared, commanded: u64) -> anyhow::Result<u64> {
    let until = Instant::now() + REST;
    loop {
        let arrived = broker.arrived().await?;
        let done = {
            let tally = shared.tally.borrow();
            tally.acknowledged == tally.sent
                && arrived >= tally.sent
                && tally.commands.len() as u64 == commanded
        };
        if done || Instant::now() > until {
            return Ok(arrived);
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// The resident bytes of a process.
fn resident(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kib.context("no VmRSS")?.parse::<u64>()? * 1024)
}

/// Seconds of CPU that a process has used.
fn cpu(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold blanks; user and system time are fields 14 and 15.
    let (_, rest) = stat.rsplit_once(')').context("no name")?;
    let ticks: u64 = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The machine's load of the last minute.
fn load() -> anyhow::Result<f64> {
    let loads = std::fs::read_to_string("/proc/loadavg")?;
    Ok(loads.split(' ').next().context("no load")?.parse()?)
}
