//! What is counted, and that no tenant ever has more than it may.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::access::{AccessBook, AccessRequest, Measure, Quota, TenantPath, Usage};
use model::time::Wall;
use model::units::{Millicores, Resources};
use proptest::prelude::*;

use crate::stage::{Stage, path, user};

/// The same by brute force: every sum is made anew.
#[derive(Debug, Clone, Default)]
struct Oracle {
    quotas: BTreeMap<TenantPath, Quota>,
    own: BTreeMap<TenantPath, Usage>,
}

impl Oracle {
    fn used(&self, tenant: &TenantPath, measure: Measure) -> u64 {
        let below = self.own.iter().filter(|(path, _)| path.is_within(tenant));
        below.map(|(_, usage)| usage.get(measure)).sum()
    }

    fn limit(&self, tenant: &TenantPath, measure: Measure) -> Option<u64> {
        self.quotas
            .get(tenant)
            .and_then(|quota| quota.limit(measure))
    }

    fn taken(&self, tenant: &TenantPath, measure: Measure) -> u64 {
        let own = self.own.get(tenant).map_or(0, |usage| usage.get(measure));
        let children = self
            .quotas
            .keys()
            .filter(|path| path.parent().as_ref() == Some(tenant));
        let weight = |child| {
            let taken = self.taken(child, measure);
            self.limit(child, measure)
                .map_or(taken, |limit| limit.max(taken))
        };
        own + children.map(weight).sum::<u64>()
    }

    /// Whether some tenant takes more than it did and more than it may.
    fn exceeds(&self, before: &Self) -> bool {
        let tenants = || self.quotas.keys();
        Measure::ALL.into_iter().any(|measure| {
            tenants().any(|tenant| {
                let taken = self.taken(tenant, measure);
                let limit = self.limit(tenant, measure);
                taken > before.taken(tenant, measure) && limit.is_some_and(|limit| taken > limit)
            })
        })
    }

    /// Whether the tenant takes more than it may.
    fn is_beyond(&self, tenant: &TenantPath) -> bool {
        Measure::ALL.into_iter().any(|measure| {
            let limit = self.limit(tenant, measure);
            limit.is_some_and(|limit| self.taken(tenant, measure) > limit)
        })
    }
}

#[derive(Debug, Clone)]
enum Step {
    Request(TenantPath, Quota),
    Change(TenantPath, Quota),
    Suspend(TenantPath),
    Delete(TenantPath),
    /// A job, if there is room for it.
    Submit(TenantPath, Usage),
    /// A job that others accepted: nobody asks whether there is room.
    Adopt(TenantPath, Usage),
    /// Another size of the tenant's nth job; nothing: it is deleted.
    Resize(TenantPath, usize, Option<u64>),
}

fn a_path() -> impl Strategy<Value = TenantPath> {
    let part = prop::sample::select(vec!["a", "b"]);
    prop::collection::vec(part, 0..=3).prop_map(|parts| {
        if parts.is_empty() {
            TenantPath::root()
        } else {
            path(&parts.join("/"))
        }
    })
}

fn a_quota() -> impl Strategy<Value = Quota> {
    let limit = || prop::option::of(0_u64..40);
    (limit(), limit()).prop_map(|(jobs, cpu)| Quota {
        jobs,
        cpu: cpu.map(Millicores),
        ..Quota::default()
    })
}

fn of_cpu(cpu: u64) -> Usage {
    Usage {
        jobs: 1,
        instances: 1,
        resources: Resources {
            cpu: Millicores(cpu),
            ..Resources::default()
        },
    }
}

fn a_step() -> impl Strategy<Value = Step> {
    let usage = || (0_u64..10).prop_map(of_cpu);
    let size = prop::option::of(0_u64..20);
    prop_oneof![
        4 => (a_path(), a_quota()).prop_map(|(path, quota)| Step::Request(path, quota)),
        3 => (a_path(), a_quota()).prop_map(|(path, quota)| Step::Change(path, quota)),
        1 => a_path().prop_map(Step::Suspend),
        2 => a_path().prop_map(Step::Delete),
        8 => (a_path(), usage()).prop_map(|(path, usage)| Step::Submit(path, usage)),
        2 => (a_path(), usage()).prop_map(|(path, usage)| Step::Adopt(path, usage)),
        4 => (a_path(), 0_usize..5, size).prop_map(|(path, nth, size)| Step::Resize(path, nth, size)),
    ]
}

/// A book and its oracle.
#[derive(Debug)]
struct Pair {
    stage: Stage,
    oracle: Oracle,
    jobs: BTreeMap<TenantPath, Vec<Usage>>,
}

impl Pair {
    fn new() -> Self {
        let mut oracle = Oracle::default();
        oracle.quotas.insert(TenantPath::root(), Quota::default());
        Self {
            stage: Stage::new(),
            oracle,
            jobs: BTreeMap::new(),
        }
    }

    fn ask(&mut self, request: &AccessRequest) -> bool {
        self.stage.ask(&user("admin"), request).is_ok()
    }

    /// The oracle with what the jobs of that tenant ask for.
    fn with_jobs(&self, tenant: &TenantPath, jobs: &[Usage]) -> Oracle {
        let mut oracle = self.oracle.clone();
        let sum = jobs
            .iter()
            .fold(Usage::default(), |sum, job| sum.plus(*job));
        oracle.own.insert(tenant.clone(), sum);
        oracle
    }

    fn with_quota(&self, tenant: &TenantPath, quota: Quota) -> Oracle {
        let mut oracle = self.oracle.clone();
        oracle.quotas.insert(tenant.clone(), quota);
        oracle
    }

    /// Has the tenant's jobs become these, by changing one; as a core does, unless it is forced.
    fn change_jobs(
        &mut self,
        tenant: &TenantPath,
        jobs: Vec<Usage>,
        (before, after): (Usage, Usage),
        forced: bool,
    ) {
        let next = self.with_jobs(tenant, &jobs);
        let fits = self.stage.book.check(tenant, &after.minus(before)).is_ok();
        assert_eq!(
            fits,
            !next.exceeds(&self.oracle),
            "{tenant} {before:?} {after:?}"
        );
        if fits || forced {
            self.stage.book.charge(tenant, &before, &after);
            self.jobs.insert(tenant.clone(), jobs);
            self.oracle = next;
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Request(tenant, quota) => {
                let next = self.with_quota(&tenant, quota);
                let request = crate::stage::request_tenant(tenant.as_str(), quota);
                let parent = tenant.parent();
                let possible = !self.oracle.quotas.contains_key(&tenant)
                    && parent.is_some_and(|parent| self.is_open(&parent));
                let fits = possible && !next.exceeds(&self.oracle) && !next.is_beyond(&tenant);
                assert_eq!(self.ask(&request), fits, "{request:?}");
                if fits {
                    self.oracle = next;
                }
            }
            Step::Change(tenant, quota) => {
                let next = self.with_quota(&tenant, quota);
                let possible = self.oracle.quotas.contains_key(&tenant);
                let fits = possible && !next.exceeds(&self.oracle) && !next.is_beyond(&tenant);
                let request = AccessRequest::ChangeTenant {
                    tenant,
                    quota: Some(quota),
                    policy: None,
                };
                assert_eq!(self.ask(&request), fits, "{request:?}");
                if fits {
                    self.oracle = next;
                }
            }
            Step::Suspend(tenant) => {
                self.ask(&AccessRequest::SuspendTenant { tenant });
            }
            Step::Delete(tenant) => {
                let gone = tenant.clone();
                if self.ask(&AccessRequest::DeleteTenant { tenant }) {
                    self.oracle.quotas.remove(&gone);
                    self.oracle.own.remove(&gone);
                    self.jobs.remove(&gone);
                }
            }
            Step::Submit(tenant, usage) => self.add(&tenant, usage, false),
            Step::Adopt(tenant, usage) => self.add(&tenant, usage, true),
            Step::Resize(tenant, nth, size) => {
                let mut jobs = self.jobs.get(&tenant).cloned().unwrap_or_default();
                let Some(before) = jobs.get(nth).copied() else {
                    return;
                };
                let after = size.map_or_else(Usage::default, of_cpu);
                jobs[nth] = after;
                jobs.retain(|job| job.jobs > 0);
                self.change_jobs(&tenant, jobs, (before, after), false);
            }
        }
    }

    fn add(&mut self, tenant: &TenantPath, usage: Usage, forced: bool) {
        if !self.oracle.quotas.contains_key(tenant) {
            return;
        }
        let mut jobs = self.jobs.get(tenant).cloned().unwrap_or_default();
        jobs.push(usage);
        self.change_jobs(tenant, jobs, (Usage::default(), usage), forced);
    }

    fn is_open(&self, tenant: &TenantPath) -> bool {
        tenant.upwards().all(|above| {
            let known = self.stage.book.tenant(&above);
            known.is_some_and(|tenant| tenant.state == model::access::TenantState::Active)
        })
    }

    fn agrees(&self, book: &AccessBook) {
        for tenant in self.oracle.quotas.keys() {
            for measure in Measure::ALL {
                let used = self.oracle.used(tenant, measure);
                assert_eq!(
                    book.usage(tenant).get(measure),
                    used,
                    "{tenant} {measure:?}"
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn the_sums_of_any_tree_are_those_that_are_made_anew(steps in prop::collection::vec(a_step(), 1..60)) {
        let mut pair = Pair::new();
        let adopts = steps.iter().any(|step| matches!(step, Step::Adopt(..)));
        for step in steps {
            pair.step(step);
            pair.agrees(&pair.stage.book);
            for tenant in pair.oracle.quotas.keys() {
                prop_assert!(adopts || !pair.oracle.is_beyond(tenant), "{}", tenant);
            }
        }
        // What a store gives back, in another order, is the same.
        let mut again = AccessBook::default();
        for (tenant, jobs) in &pair.jobs {
            for job in jobs {
                again.charge(tenant, &Usage::default(), job);
            }
        }
        let writes: Vec<_> = pair.stage.book.writes().collect();
        for write in writes.iter().rev() {
            again.apply(write);
        }
        pair.agrees(&again);
        for tenant in pair.oracle.quotas.keys() {
            for cpu in [0, 1, 5, 20] {
                let demand = of_cpu(cpu);
                let own = pair.oracle.own.get(tenant).copied().unwrap_or_default();
                let next = pair.with_jobs(tenant, &[own, demand]);
                let fits = again.check(tenant, &demand);
                prop_assert_eq!(fits.is_ok(), !next.exceeds(&pair.oracle), "{} {}", tenant, cpu);
                prop_assert_eq!(fits, pair.stage.book.check(tenant, &demand));
            }
        }
    }
}

#[test]
fn a_hundred_submissions_at_once_do_not_exceed_a_quota() {
    let mut stage = Stage::new();
    let quota = Quota {
        cpu: Some(Millicores(1_000)),
        ..Quota::default()
    };
    stage.tenant("uni", quota);
    stage.tenant("uni/a", Quota::default());
    stage.tenant(
        "uni/b",
        Quota {
            cpu: Some(Millicores(300)),
            ..quota
        },
    );
    let tenants = ["uni", "uni/a", "uni/b"];
    let mut accepted = [0_u64; 3];
    // A core decides each on the state that the one before has left, and commits all of them together.
    for number in 0..100 {
        let tenant = path(tenants[number % 3]);
        if stage.book.check(&tenant, &of_cpu(30)).is_ok() {
            stage.book.charge(&tenant, &Usage::default(), &of_cpu(30));
            accepted[number % 3] += 1;
        }
    }
    assert_eq!(accepted[2], 10);
    assert_eq!(accepted[0] + accepted[1], 23);
    assert_eq!(
        stage.book.usage(&path("uni")).resources.cpu,
        Millicores(33 * 30)
    );
}

#[test]
fn what_a_tenant_has_beyond_its_quota_is_missing_above_it() {
    let mut stage = Stage::new();
    stage.tenant("uni", crate::stage::jobs(10));
    stage.tenant("uni/lab", crate::stage::jobs(3));
    let jobs = |jobs| Usage {
        jobs,
        ..Usage::default()
    };
    // Adopted from a cluster that accepted them.
    stage
        .book
        .charge(&path("uni/lab"), &Usage::default(), &jobs(6));
    let exceeded = stage.book.check(&path("uni"), &jobs(5)).unwrap_err();
    assert_eq!((exceeded.used, exceeded.wanted), (6, 5));
    stage.book.check(&path("uni"), &jobs(4)).unwrap();
    stage.book.charge(&path("uni/lab"), &jobs(6), &jobs(1));
    stage.book.check(&path("uni"), &jobs(7)).unwrap();
}

#[test]
fn what_is_not_demanded_is_not_refused() {
    let mut stage = Stage::new();
    stage.tenant("uni", crate::stage::jobs(1));
    let (two, wide) = (
        Usage {
            jobs: 2,
            ..Usage::default()
        },
        Usage {
            jobs: 0,
            ..of_cpu(1_000)
        },
    );
    stage.book.charge(&path("uni"), &Usage::default(), &two);
    stage.book.check(&path("uni"), &wide).unwrap();
    let exceeded = stage.book.check(&path("uni"), &of_cpu(0)).unwrap_err();
    assert_eq!(
        (
            exceeded.what,
            exceeded.limit,
            exceeded.used,
            exceeded.wanted
        ),
        (Measure::Jobs, 1, 2, 1)
    );
}

#[test]
fn a_job_is_counted_with_all_replicas_until_it_is_deleted() {
    use model::id::JobId;
    use model::job::{Job, JobSpec, OnPartition, PlacementRules, Reconcile, ServiceSpec, Takeover};
    let service = ServiceSpec {
        name: crate::stage::name("web"),
        workload: Arc::new(model::workload::Workload {
            resources: of_cpu(250).resources,
            ..crate::tenants::workload(model::workload::RuntimeKind::Noop, "web")
        }),
        placement: PlacementRules::default(),
        replicas: 3,
        takeover: Takeover::default(),
    };
    let mut job = Job {
        id: JobId::from_bits(1),
        tenant: model::access::TenantPath::root(),
        generation: 1,
        created_at: Wall(0),
        deleted_at: None,
        spec: Arc::new(JobSpec {
            name: crate::stage::name("web"),
            lost_after: None,
            on_partition: OnPartition::Stay,
            reconcile: Reconcile::default(),
            services: vec![Arc::new(service.clone()), Arc::new(service)],
        }),
        service_generations: BTreeMap::new(),
        operation: None,
    };
    let usage = Usage::of(&job);
    assert_eq!(
        (usage.jobs, usage.instances, usage.resources.cpu),
        (1, 6, Millicores(1_500))
    );
    job.deleted_at = Some(Wall(1));
    assert_eq!(Usage::of(&job), Usage::default());
}
