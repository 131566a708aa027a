//! A system whose jobs are known, and one of whose programs dies where it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use edgeio_tests::harness::{
    Answer, Client, Copy, Program, Settings, System, copies_in, pause, wait_until,
};
use serde_json::Value;

/// How long a program may take to come to the point where it dies.
const REACHED: Duration = Duration::from_secs(10);
/// How long after the restart everybody must agree about everything.
const AGREE: Duration = Duration::from_secs(10);
/// How long a request may be refused because its reader has just come back.
const TAKEN: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Whose program dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tier {
    Root,
    Cluster,
    Worker,
}

/// What a user does with a job, in the order of its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Op {
    Deploy,
    Scale,
    Update,
    /// Of all its instances, to wherever there is room: where there is more than one worker.
    Migrate,
    Delete,
}

impl Op {
    pub(super) const LIFE: [Self; 5] = [
        Self::Deploy,
        Self::Scale,
        Self::Update,
        Self::Migrate,
        Self::Delete,
    ];
}

/// What must be there.
#[derive(Debug, Clone)]
struct Job {
    /// Who took it, and is asked for changes.
    at: Tier,
    id: String,
    replicas: usize,
    /// The argument of its command, which says which document it follows.
    seconds: u32,
    /// Processes that nothing may have touched.
    keeps: BTreeSet<i32>,
}

/// A request that is sent until it is answered.
#[derive(Debug, Clone)]
enum Request {
    Submit { key: String, document: String },
    Scale { job: String, replicas: usize },
    Put { job: String, document: String },
    Migrate { job: String },
    Delete { id: String },
}

/// The system, and what its users know.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) system: System,
    tier: Tier,
    jobs: BTreeMap<String, Job>,
    /// Ids of deleted jobs, and who took them.
    deleted: BTreeSet<(Tier, String)>,
    /// Points at which the program died.
    pub(super) visited: BTreeSet<String>,
    /// How often it died.
    pub(super) deaths: usize,
    /// How long it took from each restart until all agreed.
    pub(super) healed: Vec<Duration>,
    begun: Instant,
}

impl Stage {
    /// A root, a cluster, so many workers, and a job that runs from the beginning to the end.
    pub(super) fn new(tier: Tier, workers: usize) -> Self {
        let mut system = System::start(Settings::QUICK);
        system.add_cluster("cluster-1", &[]);
        for number in 1..=workers {
            let capacity = ["--runtimes", "native", "--capacity", "cpu=100,memory=10000"];
            system.add_worker(&format!("worker-{number}"), 0, &capacity);
        }
        let mut this = Self {
            system,
            tier,
            jobs: BTreeMap::new(),
            deleted: BTreeSet::new(),
            visited: BTreeSet::new(),
            deaths: 0,
            healed: Vec::new(),
            begun: Instant::now(),
        };
        this.program().let_crash();
        this.restart();
        this.live(None, Op::Deploy, (Tier::Root, "steady"));
        this
    }

    /// The one that dies.
    pub(super) fn program(&mut self) -> &mut Program {
        match self.tier {
            Tier::Root => &mut self.system.root,
            Tier::Cluster => &mut self.system.clusters[0],
            Tier::Worker => &mut self.system.workers[0].program,
        }
    }

    /// Does something with a job of a tier while a point is armed, restarts what died, and sees that nothing is lost or
    /// doubled. An order for a later time than the first may never be followed.
    pub(super) fn live(&mut self, order: Option<&str>, op: Op, (at, job): (Tier, &str)) {
        let request = self.expect(op, at, job);
        if let Some(order) = order {
            self.program().arm(order);
        }
        let first = self.send(at, &request);
        let later = order.and_then(|order| order.split_once(':'));
        if let Some((point, _)) = later {
            self.fall_or_not(point, op, (at, job), &request);
        } else if let Some(point) = order {
            self.fall(point, &format!("{op:?} of {job}"));
            self.revive();
        }
        // Whoever got no answer asks again, and whoever got one may.
        let what = format!("{op:?} of {job} is accepted");
        let answer = wait_until(&what, TAKEN, || self.send(at, &request));
        if let Ok(first) = first {
            assert_eq!(id(&first), id(&answer), "{op:?} of {job}, asked twice");
        }
        self.accepted(op, at, job, &answer);
        self.settle();
    }

    /// It dies at a point, or all is done without it.
    fn fall_or_not(&mut self, point: &str, op: Op, (at, job): (Tier, &str), request: &Request) {
        let until = Instant::now() + REACHED;
        loop {
            if let Some(status) = self.program().ended() {
                self.died(point, status);
                return self.revive();
            }
            if let Ok(answer) = self.send(at, request) {
                self.accepted(op, at, job, &answer);
                if self.agreed().is_ok() || Instant::now() > until {
                    break;
                }
            }
            pause(LOOK);
        }
        self.program().disarm();
        // It may have read the order just before.
        pause(LOOK);
        if let Some(status) = self.program().ended() {
            self.died(point, status);
            self.revive();
        }
    }

    /// What was accepted is known from now on.
    fn accepted(&mut self, op: Op, at: Tier, job: &str, answer: &Value) {
        if op == Op::Delete {
            self.deleted.insert((at, id(answer)));
        } else {
            self.jobs.get_mut(job).unwrap().id = id(answer);
        }
    }

    /// Starts it while a point is armed that lies on its way.
    pub(super) fn start_at(&mut self, point: &str) {
        self.program().kill();
        self.program().arm(point);
        self.program().spawn();
        self.fall(point, "its start");
        self.revive();
        self.settle();
    }

    /// It dies at a point, now or soon; the order is taken back.
    pub(super) fn fall(&mut self, point: &str, during: &str) {
        let what = format!("{:?} dies at {point} during {during}", self.tier);
        let program = self.program();
        let status = wait_until(&what, REACHED, || {
            program.ended().ok_or_else(|| "it runs".to_owned())
        });
        self.died(point, status);
    }

    /// Whether it dies at a point before something else is seen; the order is taken back if it does.
    pub(super) fn falls(&mut self, point: &str, otherwise: impl Fn(&System) -> bool) -> bool {
        let until = Instant::now() + 2 * REACHED;
        loop {
            if let Some(status) = self.program().ended() {
                self.died(point, status);
                return true;
            }
            if otherwise(&self.system) {
                return false;
            }
            assert!(
                Instant::now() < until,
                "it neither died at {point}, nor was there what comes instead"
            );
            pause(LOOK);
        }
    }

    /// It died there, and nowhere else; the order is taken back.
    fn died(&mut self, point: &str, status: ExitStatus) {
        let program = self.program();
        assert_eq!(status.signal(), Some(9), "{point}: {status}");
        let log = program.log();
        let last = log
            .lines()
            .rev()
            .find(|line| line.starts_with("crash point "));
        let expected = format!("crash point {point}: this process kills itself");
        assert_eq!(last, Some(expected.as_str()));
        program.disarm();
        self.visited.insert(point.to_owned());
        self.deaths += 1;
    }

    /// Starts it again after a death.
    pub(super) fn revive(&mut self) {
        self.begun = Instant::now();
        self.program().again();
    }

    /// Starts it again where it did not die.
    fn restart(&mut self) {
        self.program().kill();
        self.program().again();
    }

    /// Waits until all agree about all jobs.
    pub(super) fn settle(&mut self) {
        let left = (self.begun + AGREE).max(Instant::now() + AGREE / 2);
        let left = left.saturating_duration_since(Instant::now());
        wait_until("all agree about all jobs", left, || self.agreed());
        self.healed.push(self.begun.elapsed());
        self.begun = Instant::now();
    }

    /// A process of a job.
    pub(super) fn one_copy(&self, job: &str) -> Copy {
        let copies = self.system.copies(job);
        assert_eq!(copies.len(), 1, "{job}: {copies:?}");
        copies[0].clone()
    }

    /// The processes of jobs whose name begins so may be others from now on.
    pub(super) fn forget_processes(&mut self, jobs: &str) {
        let named = self
            .jobs
            .iter_mut()
            .filter(|(name, _)| name.starts_with(jobs));
        named.for_each(|(_, job)| job.keeps.clear());
    }

    /// What a document says and must be done, and the request for it.
    fn expect(&mut self, op: Op, at: Tier, name: &str) -> Request {
        let mut job = self.jobs.remove(name).unwrap_or(Job {
            at,
            id: String::new(),
            replicas: 1,
            seconds: 100_000,
            keeps: BTreeSet::new(),
        });
        let pids = self.system.copies(name).into_iter().map(|copy| copy.pid);
        job.keeps = pids.collect();
        let request = match op {
            Op::Deploy => Request::Submit {
                key: format!("submission-of-{name}"),
                document: document(name, &job),
            },
            Op::Scale => {
                job.replicas = 3;
                Request::Scale {
                    job: name.to_owned(),
                    replicas: job.replicas,
                }
            }
            Op::Update => {
                job.seconds += 1;
                job.keeps.clear();
                Request::Put {
                    job: name.to_owned(),
                    document: document(name, &job),
                }
            }
            Op::Migrate => {
                job.keeps.clear();
                Request::Migrate {
                    job: name.to_owned(),
                }
            }
            Op::Delete => return Request::Delete { id: job.id },
        };
        self.jobs.insert(name.to_owned(), job);
        request
    }

    fn send(&self, at: Tier, request: &Request) -> Result<Value, String> {
        let client = self.client(at);
        let Answer { status, body, .. } = match request {
            Request::Submit { key, document } => client.post_under(key, "/api/v1/jobs", document),
            Request::Scale { job, replicas } => client.post(
                &format!("/api/v1/jobs/{job}/scale"),
                &format!("replicas: {replicas}"),
            ),
            Request::Migrate { job } => client.post(&format!("/api/v1/jobs/{job}/migrate"), "{}"),
            Request::Put { job, document } => client.put(&format!("/api/v1/jobs/{job}"), document),
            Request::Delete { id } => client.delete(&format!("/api/v1/jobs/{id}")),
        }?;
        if status == 202 {
            Ok(body)
        } else if let Request::Migrate { job } = request
            && body["code"] == "operation_running"
        {
            // It was accepted before, and goes on.
            client.job(job)
        } else {
            Err(format!("{status} {body}"))
        }
    }

    fn client(&self, tier: Tier) -> Client {
        match tier {
            Tier::Root => self.system.root(),
            Tier::Cluster | Tier::Worker => self.system.cluster(0),
        }
    }

    /// Each job is there once, at each tier, with as many copies as it should have, and nothing else is.
    fn agreed(&self) -> Result<(), String> {
        for tier in [Tier::Root, Tier::Cluster] {
            let client = self.client(tier);
            let rows = client.list("/api/v1/jobs")?;
            let names: Vec<&str> = rows.iter().map(|row| text(row, "job_name")).collect();
            let unique: BTreeSet<&str> = names.iter().copied().collect();
            // A root has its own jobs, a cluster has them and its own.
            let here = |job: &Job| tier == Tier::Cluster || job.at == Tier::Root;
            let jobs = || self.jobs.iter().filter(|(_, job)| here(job));
            let expected: BTreeSet<&str> = jobs().map(|(name, _)| name.as_str()).collect();
            if unique != expected || names.len() != expected.len() {
                return Err(format!("the {tier:?} lists {names:?} and not {expected:?}"));
            }
            for (name, job) in jobs() {
                let body = client.job(&job.id)?;
                self.same(name, job, &body)
                    .map_err(|why| format!("the {tier:?} says {body}, but {why}"))?;
            }
        }
        for (at, id) in &self.deleted {
            let answer = self.client(*at).get(&format!("/api/v1/jobs/{id}"))?;
            let over = answer.status == 404 || answer.body["state"] == "TERMINATED";
            if !over {
                return Err(format!("deleted, and yet {}", answer.body));
            }
        }
        self.no_orphans()
    }

    /// What a tier says of a job is what the kernel says.
    fn same(&self, name: &str, job: &Job, body: &Value) -> Result<(), String> {
        let copies = self.system.copies(name);
        let pids: BTreeSet<i32> = copies.iter().map(|copy| copy.pid).collect();
        let there: BTreeSet<&str> = copies.iter().map(|copy| copy.instance.as_str()).collect();
        let instances = body["instances"].as_array().map(Vec::as_slice);
        let instances = instances.unwrap_or_default();
        let fine = |row: &&Value| {
            row["state"] == "RUNNING" && row["role"] == "holder" && row["stale"] == false
        };
        let said: BTreeSet<&str> = instances
            .iter()
            .filter(fine)
            .map(|row| text(row, "instance_id"))
            .collect();
        let indexes: BTreeSet<u64> = instances
            .iter()
            .filter_map(|row| row["index"].as_u64())
            .collect();
        let follows = |copy: &Copy| {
            let line = fs::read(format!("/proc/{}/cmdline", copy.pid)).unwrap_or_default();
            let wanted = job.seconds.to_string();
            line.split(|byte| *byte == 0)
                .any(|word| word == wanted.as_bytes())
        };
        let agrees = body["state"] == "RUNNING"
            && body["operation"]["state"] != "failed"
            && copies.len() == job.replicas
            && instances.len() == job.replicas
            && indexes.len() == job.replicas
            && said == there
            && job.keeps.is_subset(&pids)
            && copies.iter().all(follows);
        if agrees {
            Ok(())
        } else {
            Err(format!("{job:?} has really {copies:?}"))
        }
    }

    fn no_orphans(&self) -> Result<(), String> {
        let copies = copies_in(self.system.directory());
        let strangers: Vec<&Copy> = copies
            .iter()
            .filter(|copy| !self.jobs.contains_key(&copy.job))
            .collect();
        if !strangers.is_empty() {
            return Err(format!("orphans: {strangers:?}"));
        }
        let known: BTreeSet<String> = copies.into_iter().map(|copy| copy.instance).collect();
        let mut folders = BTreeSet::new();
        for worker in &self.system.workers {
            let entries = fs::read_dir(worker.directory.join("instances")).unwrap();
            let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            folders.extend(names);
        }
        if folders == known {
            Ok(())
        } else {
            Err(format!("folders {folders:?} and processes {known:?}"))
        }
    }
}

fn id(answer: &Value) -> String {
    text(answer, "job_id").to_owned()
}

fn document(name: &str, job: &Job) -> String {
    format!(
        "api_version: v0.1\njob_name: {name}\nimage_runtime: native\ncommand: [/bin/sleep, \"{}\"]\nreplicas: {}\nupdate: {{min_ready: 100ms}}\n",
        job.seconds, job.replicas
    )
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap_or_default()
}
