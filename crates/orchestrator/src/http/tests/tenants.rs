//! What one tenant sees of what happens to others, and what a full quota is answered by.

use axum::extract::{FromRequestParts, State as Served};
use axum::http::Request;
use axum::response::Response;
use model::access::{Exceeded, Measure};
use model::book::Refusal;
use rest::{Accept, LastEventId, WantsEvents};

use super::super::asked::Asking;
use super::super::{events, refusal};
use super::*;

async fn taken<T: FromRequestParts<(), Rejection = E>, E: std::fmt::Debug>(uri: &str) -> T {
    let (mut parts, ()) = Request::get(uri).body(()).unwrap().into_parts();
    T::from_request_parts(&mut parts, &()).await.unwrap()
}

async fn listed(service: &Service<Toy>, uri: &str) -> Vec<String> {
    let served = Served(service.clone());
    let accept: Accept = taken(uri).await;
    let asking: Asking<_> = taken(uri).await;
    let (wants, last): (WantsEvents, LastEventId) = (taken(uri).await, taken(uri).await);
    let answer: Response = events::all::<Toy>(served, accept, asking, wants, last)
        .await
        .unwrap();
    let bytes = axum::body::to_bytes(answer.into_body(), usize::MAX).await;
    let page: serde_json::Value = serde_json::from_slice(&bytes.unwrap()).unwrap();
    let rows = page["items"].as_array().unwrap().iter();
    rows.map(|row| row["job_id"].as_str().unwrap().to_owned())
        .collect()
}

fn job(number: u128) -> String {
    JobId::from_bits(number).to_string()
}

#[tokio::test]
async fn the_events_of_all_jobs_are_those_of_the_tenant_and_of_all_below_it() {
    let (handle, _shutdown) = toy().await;
    for number in [1, UNI, LAB, 2] {
        happens(&handle, number, 1).await;
    }
    let access = open_to_all().await;
    let service = Service::new(handle.clone(), Options::default(), backups(), access);
    let all = listed(&service, "/api/v1/events").await;
    assert_eq!(all, [1, UNI, LAB, 2].map(job));
    let uni = listed(&service, "/api/v1/events?tenant=uni").await;
    assert_eq!(uni, [UNI, LAB].map(job));
    let page = listed(&service, "/api/v1/events?limit=1&tenant=uni/lab").await;
    assert_eq!(page, [job(LAB)]);
    let none = listed(&service, "/api/v1/events?tenant=un").await;
    assert_eq!(none, [] as [String; 0]);
}

#[tokio::test]
async fn a_follower_is_told_of_its_tenant_only_before_and_after_it_comes() {
    let (handle, _shutdown) = toy().await;
    happens(&handle, 1, 1).await;
    happens(&handle, UNI, 1).await;
    let wanted = Wanted {
        whose: Whose::Tenant(TenantPath::new("uni").unwrap()),
        ..all()
    };
    let mut follower = stream(&handle, wanted);
    let stored = frame(&mut follower).await.unwrap();
    assert!(stored.contains(&job(UNI)), "{stored}");
    happens(&handle, 2, 5).await;
    happens(&handle, LAB, 1).await;
    let live = frame(&mut follower).await.unwrap();
    assert!(live.contains(&job(LAB)), "{live}");
}

#[test]
fn a_full_quota_is_a_conflict_that_says_whose_it_is() {
    let exceeded = Exceeded {
        tenant: TenantPath::new("uni").unwrap(),
        what: Measure::Instances,
        limit: 10,
        used: 9,
        wanted: 2,
    };
    let refused = refusal::of_job(&JobAnswer::Refused(Refusal::Quota(exceeded)));
    let problem = &refused.problem;
    assert_eq!(
        (problem.status, problem.code.as_str()),
        (409, "quota_exceeded")
    );
    for part in ["tenant uni", "10 instances", "9 instances", "2 instances"] {
        assert!(problem.detail.contains(part), "{}", problem.detail);
    }
}
