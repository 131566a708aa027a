//! Tenants: whose a job is, who sees it, and how much each may have.

use model::access::{Measure, Quota, TenantPath, Usage};
use model::book::{Asked, JobAnswer, JobRequest, Refusal};
use model::id::JobId;
use model::job::JobState;
use root_core::{Action, Answer, Input, Page, RequestId};

use crate::support::{Document, World};

fn path(text: &str) -> TenantPath {
    TenantPath::new(text).unwrap()
}

fn instances(limit: u64) -> Quota {
    Quota {
        instances: Some(limit),
        ..Quota::default()
    }
}

fn at(tenant: &str) -> Asked {
    Asked::at(path(tenant))
}

fn submission(number: u128, replicas: u32) -> JobRequest {
    let document = Document::new(&format!("job-{number}"), 1, replicas);
    JobRequest::Submit {
        drafts: vec![document.draft(number)],
        key: None,
    }
}

fn exceeded(answer: &JobAnswer) -> Option<Measure> {
    match answer {
        JobAnswer::Accepted(_) => None,
        JobAnswer::Refused(Refusal::Quota(exceeded)) => Some(exceeded.what),
        other => panic!("{other:?}"),
    }
}

fn used(world: &World, tenant: &str) -> u64 {
    world.state.usage(&path(tenant)).instances
}

#[test]
fn a_quota_holds_under_a_hundred_submissions_in_one_batch() {
    let mut world = World::of(&[1_000]);
    let quotas = vec![
        (path("uni"), instances(30)),
        (path("uni/lab"), instances(12)),
    ];
    let inputs = (1_000..1_100).map(|number| Input::Job {
        request: RequestId(number),
        asked: at(if number % 2 == 0 { "uni" } else { "uni/lab" }),
        ask: submission(number.into(), 2),
    });
    let inputs: Vec<Input> = std::iter::once(Input::Quotas(quotas))
        .chain(inputs)
        .collect();
    world.turn(inputs);
    let accepted = world.last.actions.iter().filter(|action| {
        matches!(action, Action::Answer(_, Answer::Job(answer)) if exceeded(answer).is_none())
    });
    // 12 of the laboratory, and what is not given to it.
    assert_eq!(accepted.count(), 15);
    assert_eq!((used(&world, "uni/lab"), used(&world, "uni")), (12, 30));
}

#[test]
fn a_quota_holds_under_a_hundred_submissions_one_after_another_and_restarts() {
    let mut world = World::of(&[1_000]);
    let quotas = || vec![(path("uni"), instances(10))];
    world.turn([Input::Quotas(quotas())]);
    let mut accepted = 0;
    for number in 1_000..1_100 {
        let answer = world.request_for(at("uni"), submission(number, 1));
        accepted += usize::from(exceeded(&answer).is_none());
        if number == 1_004 {
            world.restart();
            assert_eq!(used(&world, "uni"), 5, "as the store has it");
            world.turn([Input::Quotas(quotas())]);
        }
    }
    assert_eq!((accepted, used(&world, "uni")), (10, 10));
    // Others have none.
    let answer = world.request_for(at("other"), submission(2_000, 50));
    assert_eq!(exceeded(&answer), None);
}

#[test]
fn what_is_scaled_down_is_free_when_it_has_ended() {
    let mut world = World::of(&[1_000]);
    world.turn([Input::Quotas(vec![(path("uni"), instances(4))])]);
    world.request_for(at("uni"), submission(1_000, 4));
    world.deliver();
    let scale = |world: &mut World, replicas| {
        let key = "job-1000".to_owned();
        let service = None;
        world.request_for(
            at("uni"),
            JobRequest::Scale {
                key,
                service,
                replicas,
            },
        )
    };
    let answer = scale(&mut world, 5);
    assert_eq!(exceeded(&answer), Some(Measure::Instances));
    assert_eq!(
        scale(&mut world, 1),
        JobAnswer::Applied(JobId::from_bits(1_000))
    );
    assert_eq!(used(&world, "uni"), 4, "three of them still end");
    let answer = world.request_for(at("uni"), submission(1_001, 3));
    assert_eq!(exceeded(&answer), Some(Measure::Instances));
    world.restart();
    world.turn([Input::Quotas(vec![(path("uni"), instances(4))])]);
    assert_eq!(used(&world, "uni"), 4, "as the store has it");
    world.deliver();
    assert_eq!(used(&world, "uni"), 1);
    let answer = world.request_for(at("uni"), submission(1_001, 3));
    assert_eq!(exceeded(&answer), None);
}

#[test]
fn a_deleted_job_counts_as_long_as_it_may_run_somewhere() {
    let mut world = World::of(&[1_000]);
    world.turn([Input::Quotas(vec![(path("uni"), instances(2))])]);
    world.request_for(at("uni"), submission(1_000, 2));
    world.deliver();
    world.cut(1);
    world.pass(120);
    let key = JobId::from_bits(1_000).to_string();
    world.request_for(at("uni"), JobRequest::Delete { key: key.clone() });
    world.pass(60);
    assert_ne!(world.job(&key).state, JobState::Terminated);
    assert_eq!(
        (world.state.usage(&path("uni")).jobs, used(&world, "uni")),
        (1, 2)
    );
    let answer = world.request_for(at("uni"), submission(1_001, 1));
    assert_eq!(exceeded(&answer), Some(Measure::Instances));
    world.back(1);
    world.deliver();
    assert_eq!(world.job(&key).state, JobState::Terminated);
    assert_eq!(world.state.usage(&path("uni")), Usage::default());
}

#[test]
fn jobs_and_their_events_are_seen_within_a_tenant_only() {
    let mut world = World::of(&[1_000]);
    for (number, tenant) in (1_000..).zip(["default", "uni", "uni/lab", "other"]) {
        let answer = world.request_for(at(tenant), submission(number, 1));
        assert_eq!(exceeded(&answer), None);
    }
    world.deliver();
    let all = Page {
        after: None,
        limit: 1_000,
    };
    let listed = |tenant: &str| {
        let views = world.state.jobs(&path(tenant), &all, None);
        views.iter().map(|view| view.job.id).collect::<Vec<_>>()
    };
    let told = |tenant: &str| {
        let events = world.state.history().after(&path(tenant), None);
        let mut jobs: Vec<JobId> = events.map(|event| event.job).collect();
        jobs.sort_unstable();
        jobs.dedup();
        jobs
    };
    let seen = [
        ("default", vec![1_000, 1_001, 1_002, 1_003]),
        ("uni", vec![1_001, 1_002]),
        ("uni/lab", vec![1_002]),
        ("lab", vec![]),
    ];
    for (tenant, jobs) in seen {
        let jobs: Vec<JobId> = jobs.into_iter().map(JobId::from_bits).collect();
        assert_eq!(listed(tenant), jobs, "{tenant}");
        assert_eq!(told(tenant), jobs, "{tenant}");
    }
    let within = |tenant: &str| Asked {
        within: path(tenant),
        ..at(tenant)
    };
    let key = JobId::from_bits(1_002).to_string();
    assert!(world.state.find_job(&within("uni"), &key).is_some());
    assert!(world.state.find_job(&within("other"), &key).is_none());
    let answer = world.request_for(within("other"), JobRequest::Delete { key: key.clone() });
    assert_eq!(answer, JobAnswer::Refused(Refusal::NotFound(key)));
}
