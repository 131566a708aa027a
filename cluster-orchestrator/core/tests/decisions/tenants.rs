//! Tenants: whose a job is, who sees it, and how much each may have.

use cluster_core::{Action, Answer, Input, Page, RequestId};
use model::access::{Measure, Quota, TenantPath, Usage};
use model::book::{Asked, JobAnswer, JobRequest, Refusal};
use model::id::JobId;
use model::job::JobState;

use crate::support::{Document, Site};

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

fn used(site: &Site, tenant: &str) -> u64 {
    site.state.usage(&path(tenant)).instances
}

#[test]
fn a_quota_holds_under_a_hundred_submissions_in_one_batch() {
    let mut site = Site::of(&[1_000]);
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
    site.turn(inputs);
    let accepted = site.last.iter().filter(|action| {
        matches!(action, Action::Answer(_, Answer::Job(answer)) if exceeded(answer).is_none())
    });
    // 12 of the laboratory, and what is not given to it.
    assert_eq!(accepted.count(), 15);
    assert_eq!((used(&site, "uni/lab"), used(&site, "uni")), (12, 30));
}

#[test]
fn a_quota_holds_under_a_hundred_submissions_one_after_another_and_restarts() {
    let mut site = Site::of(&[1_000]);
    let quotas = || vec![(path("uni"), instances(10))];
    site.turn([Input::Quotas(quotas())]);
    let mut accepted = 0;
    for number in 1_000..1_100 {
        let answer = site.request_for(at("uni"), submission(number, 1));
        accepted += usize::from(exceeded(&answer).is_none());
        if number == 1_004 {
            site.restart();
            assert_eq!(used(&site, "uni"), 5, "as the store has it");
            site.turn([Input::Quotas(quotas())]);
        }
    }
    assert_eq!((accepted, used(&site, "uni")), (10, 10));
    // Others have none.
    let answer = site.request_for(at("other"), submission(2_000, 50));
    assert_eq!(exceeded(&answer), None);
}

#[test]
fn what_is_scaled_down_is_free_when_it_has_ended() {
    let mut site = Site::of(&[1_000]);
    site.turn([Input::Quotas(vec![(path("uni"), instances(4))])]);
    site.request_for(at("uni"), submission(1_000, 4));
    site.deliver();
    let scale = |site: &mut Site, replicas| {
        let key = "job-1000".to_owned();
        let service = None;
        site.request_for(
            at("uni"),
            JobRequest::Scale {
                key,
                service,
                replicas,
            },
        )
    };
    let answer = scale(&mut site, 5);
    assert_eq!(exceeded(&answer), Some(Measure::Instances));
    assert_eq!(
        scale(&mut site, 1),
        JobAnswer::Applied(JobId::from_bits(1_000))
    );
    assert_eq!(used(&site, "uni"), 4, "three of them still end");
    let answer = site.request_for(at("uni"), submission(1_001, 3));
    assert_eq!(exceeded(&answer), Some(Measure::Instances));
    site.restart();
    site.turn([Input::Quotas(vec![(path("uni"), instances(4))])]);
    assert_eq!(used(&site, "uni"), 4, "as the store has it");
    site.deliver();
    assert_eq!(used(&site, "uni"), 1);
    let answer = site.request_for(at("uni"), submission(1_001, 3));
    assert_eq!(exceeded(&answer), None);
}

#[test]
fn a_deleted_job_counts_as_long_as_it_may_run_somewhere() {
    let mut site = Site::of(&[1_000]);
    site.turn([Input::Quotas(vec![(path("uni"), instances(2))])]);
    site.request_for(at("uni"), submission(1_000, 2));
    site.deliver();
    site.cut(1);
    site.pass(120);
    let key = JobId::from_bits(1_000).to_string();
    site.request_for(at("uni"), JobRequest::Delete { key: key.clone() });
    site.pass(60);
    assert_ne!(site.job(&key).state, JobState::Terminated);
    assert_eq!(
        (site.state.usage(&path("uni")).jobs, used(&site, "uni")),
        (1, 2)
    );
    let answer = site.request_for(at("uni"), submission(1_001, 1));
    assert_eq!(exceeded(&answer), Some(Measure::Instances));
    site.back(1);
    site.deliver();
    assert_eq!(site.job(&key).state, JobState::Terminated);
    assert_eq!(site.state.usage(&path("uni")), Usage::default());
}

#[test]
fn jobs_and_their_events_are_seen_within_a_tenant_only() {
    let mut site = Site::of(&[1_000]);
    for (number, tenant) in (1_000..).zip(["default", "uni", "uni/lab", "other"]) {
        let answer = site.request_for(at(tenant), submission(number, 1));
        assert_eq!(exceeded(&answer), None);
    }
    site.deliver();
    let all = Page {
        after: None,
        limit: 1_000,
    };
    let listed = |tenant: &str| {
        let views = site.state.jobs(site.now, &path(tenant), &all, None);
        views.iter().map(|view| view.job.id).collect::<Vec<_>>()
    };
    let told = |tenant: &str| {
        let events = site.state.history().after(&path(tenant), None);
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
    assert!(site.state.find_job(&within("uni"), &key).is_some());
    assert!(site.state.find_job(&within("other"), &key).is_none());
    let answer = site.request_for(within("other"), JobRequest::Delete { key: key.clone() });
    assert_eq!(answer, JobAnswer::Refused(Refusal::NotFound(key)));
}
