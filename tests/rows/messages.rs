//! A cluster whose workers reach it through a proxy that loses, doubles and reorders what they say to each other.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use edgeio_tests::harness::{System, Turn, alone, wait_until};
use edgeio_tests::history::Recorder;
use edgeio_tests::proxy::{Counts, Options, Proxy, Rules, Speaks};

use crate::documents::sleeper;
use crate::stage::{ROOMY, Wanted, delete, record, seed, settings, submit};

/// Where workers are told that the cluster's MQTT endpoint is: on the same port, another address of this machine.
const ADVERTISED: &str = "127.77.0.1";

/// Rounds of jobs under bad links, at least: one for each of their degrees.
const LEAST: usize = 3;
/// And at most.
const MOST: usize = 30;

/// The workers.
pub(crate) const WORKERS: [&str; 2] = ["worker-1", "worker-2"];

/// A root, a cluster, and workers on this machine, with the proxy between workers and cluster.
pub(crate) struct Post {
    pub(crate) system: System,
    pub(crate) proxy: Proxy,
    _turn: Turn,
}

impl Post {
    /// With two workers.
    pub(crate) fn open() -> Self {
        let turn = alone();
        let mut system = System::start(settings());
        system.add_cluster("cluster-a", &["--advertise", ADVERTISED]);
        let endpoint = address(system.clusters[0].said("mqtt"));
        let listen = SocketAddr::new(ADVERTISED.parse().unwrap(), endpoint.port());
        let proxy = Proxy::start(Options::new(listen, endpoint, Speaks::Mqtt, seed()));
        // In plain text: the proxy is to know one message from another.
        let http = system.clusters[0].said("http").to_owned();
        let options = [&ROOMY[..], &["--cluster", &http]].concat();
        for name in WORKERS {
            system.add_worker(name, 0, &options);
        }
        assert!(
            proxy.counts().connections >= 2,
            "the workers come through it"
        );
        Self {
            system,
            proxy,
            _turn: turn,
        }
    }

    pub(crate) fn record(&self) -> Recorder {
        record(&self.system)
    }

    /// Rounds of jobs that come and go, each under the rules for its number and done within the limit, until messages have
    /// fared badly enough: what gathers while a change is unacknowledged is one message, so that their number is not that of
    /// the jobs.
    pub(crate) fn churn(
        &self,
        recorder: &Recorder,
        limit: Duration,
        mut rules: impl FnMut(usize) -> Rules,
        enough: impl Fn(&Counts) -> bool,
    ) -> Vec<Churn> {
        let mut all = Vec::new();
        while all.len() < LEAST || !enough(&self.proxy.counts()) {
            let number = all.len();
            assert!(number < MOST, "{:?}", self.proxy.counts());
            self.proxy.set(rules(number));
            let churn = Churn::make(recorder, &format!("round-{number}"), 4);
            let took = churn.wait_done(&self.system, limit);
            eprintln!("round {number}: done {took:?} after the last request");
            all.push(churn);
        }
        self.proxy.set(Rules::default());
        eprintln!("{:?}", self.proxy.counts());
        all
    }
}

/// The address in a URL.
pub(crate) fn address(url: &str) -> SocketAddr {
    let (_, address) = url.split_once("://").unwrap();
    address.parse().unwrap()
}

/// Jobs that come and go while links are bad: `stays-…` to the end, `goes-…` are deleted as soon as half of all were
/// submitted, in whatever state they are.
pub(crate) struct Churn {
    pub(crate) stays: Vec<String>,
    pub(crate) goes: Vec<String>,
}

impl Churn {
    /// Submits so many of each kind, and deletes the second kind.
    pub(crate) fn make(recorder: &Recorder, prefix: &str, each: usize) -> Self {
        let name = |kind: &str, number| format!("{prefix}-{kind}-{number}");
        let this = Self {
            stays: (0..each).map(|number| name("stays", number)).collect(),
            goes: (0..each).map(|number| name("goes", number)).collect(),
        };
        for name in this.goes.iter().chain(&this.stays) {
            submit(recorder, "root", name, &sleeper(name, ""));
        }
        for name in &this.goes {
            delete(recorder, "root", name);
        }
        this
    }

    /// What of it should be there in the end.
    pub(crate) fn wanted(&self) -> Vec<Wanted<'_>> {
        let stays = self.stays.iter().map(|name| ("root", name.as_str(), 1));
        let goes = self.goes.iter().map(|name| ("root", name.as_str(), 0));
        stays.chain(goes).collect()
    }

    /// Waits until what stays runs and what goes is gone, in what the kernel knows: views may be late while messages are
    /// lost.
    #[track_caller]
    pub(crate) fn wait_done(&self, system: &System, limit: Duration) -> Duration {
        let begun = Instant::now();
        wait_until("what stays runs, and what goes is gone", limit, || {
            let wrong = |names: &[String], count: usize| {
                let mut names = names.iter();
                names.find_map(|name| {
                    let copies = system.copies(name);
                    (copies.len() != count).then(|| format!("{name}: {copies:?}"))
                })
            };
            match wrong(&self.stays, 1).or_else(|| wrong(&self.goes, 0)) {
                None => Ok(()),
                Some(wrong) => Err(wrong),
            }
        });
        begun.elapsed()
    }
}
