//! The interface: one question, one answer.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use model::units::{Bytes, Millicores, Resources};
use orchestrator::RunError;
use protocol::problem::Problem;
use protocol::rest::{HealthBody, PlaceAnswer, PlaceCandidate, PlaceRequest};
use rest::guard::{Need, Unguarded};
use rest::{Accept, Api, ApiError, Body, Metrics, Path, op};
use schedulers::{Algorithm, Offer, Workers};
use tokio::sync::watch;

/// What answers questions.
#[derive(Debug, Clone)]
pub struct Service {
    /// Which algorithm answers at `/`.
    pub algorithm: Algorithm,
    /// Whether the queue can be read; `true` where there is none.
    pub reached: watch::Receiver<bool>,
}

/// All routes.
///
/// # Errors
/// When the metrics cannot be made.
pub fn router(service: Service) -> Result<Router, RunError> {
    let metrics = Metrics::register(&prometheus::Registry::new())?;
    let router = api().serve(service, Arc::new(Unguarded));
    Ok(rest::finish(router, metrics))
}

/// The answer to a question that came by a queue: a [`PlaceAnswer`], or a problem.
pub(crate) fn by_queue(algorithm: Algorithm, question: &[u8]) -> Vec<u8> {
    let answer = match question_in(question) {
        Ok(question) => serde_json::to_vec(&choose(algorithm, &question)),
        Err(detail) => serde_json::to_vec(&Problem::bad_request(detail)),
    };
    // Both are plain records, which can always be written.
    answer.unwrap_or_default()
}

fn api() -> Api<Service> {
    let about = "A scheduler of edgeIO. An orchestrator posts what is to be placed, with the candidates that will do, and is told \
        which of them: a root's candidates are clusters, a cluster's are workers. Whoever serves `POST` of a `PlaceRequest` at any path, in any language, is a scheduler.";
    let place = |summary| {
        op(summary)
            .needs(Need::Nothing)
            .takes::<PlaceRequest>()
            .answers::<PlaceAnswer>(200, "Which one, or none and why.")
            .problems(&[400, 404])
    };
    Api::new("edgeIO scheduler", about)
        .parameter(
            "algorithm",
            "The name of an algorithm: first-fit or location.",
        )
        .post("/", by_default, place("Choose a place"))
        .post(
            "/{algorithm}",
            by_name,
            place("Choose a place by an algorithm"),
        )
        .get(
            "/healthz",
            live,
            op("Ask whether it serves")
                .needs(Need::Nothing)
                .answers::<HealthBody>(200, "It serves"),
        )
        .get(
            "/readyz",
            ready,
            op("Ask whether all of it serves")
                .needs(Need::Nothing)
                .answers::<HealthBody>(200, "It does")
                .answers::<HealthBody>(503, "Something is missing: redis"),
        )
}

async fn live(accept: Accept) -> Response {
    accept.ok(&HealthBody {
        status: "ok".to_owned(),
        missing: Vec::new(),
    })
}

async fn ready(State(service): State<Service>, accept: Accept) -> Response {
    let body = |status: &str, missing: &[&str]| HealthBody {
        status: status.to_owned(),
        missing: missing.iter().map(|&part| part.to_owned()).collect(),
    };
    if *service.reached.borrow() {
        return accept.ok(&body("ready", &[]));
    }
    accept.answer(
        StatusCode::SERVICE_UNAVAILABLE,
        &body("not ready", &["redis"]),
    )
}

async fn by_default(
    State(service): State<Service>,
    accept: Accept,
    body: Body,
) -> Result<Response, ApiError> {
    let question = question_in(&body.bytes).map_err(Problem::bad_request)?;
    Ok(accept.ok(&choose(service.algorithm, &question)))
}

async fn by_name(
    accept: Accept,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response, ApiError> {
    let known = name.parse::<Algorithm>().ok();
    let algorithm = known.filter(|algorithm| !algorithm.is_for_tests());
    let algorithm = algorithm.ok_or_else(|| Problem::not_found("scheduler", &name))?;
    let question = question_in(&body.bytes).map_err(Problem::bad_request)?;
    Ok(accept.ok(&choose(algorithm, &question)))
}

fn question_in(body: &[u8]) -> Result<PlaceRequest, String> {
    let read = serde_json::from_slice(body);
    read.map_err(|error| format!("this is no question for a scheduler: {error}"))
}

fn choose(algorithm: Algorithm, question: &PlaceRequest) -> PlaceAnswer {
    let offers: Vec<Offer> = question.candidates.iter().map(offer).collect();
    let chosen = algorithm.among(question.location.as_deref(), &offers);
    match chosen.and_then(|position| offers.into_iter().nth(position)) {
        Some(offer) => PlaceAnswer {
            choose: Some(offer.id),
            reason: None,
        },
        None => PlaceAnswer {
            choose: None,
            reason: Some("there is no candidate".to_owned()),
        },
    }
}

fn offer(candidate: &PlaceCandidate) -> Offer {
    Offer {
        id: candidate.id.clone(),
        name: candidate.name.clone(),
        location: candidate.location.clone(),
        architecture: candidate.architecture.clone(),
        labels: candidate.labels.clone(),
        room: room(
            candidate.free_cores,
            candidate.memory_free_in_mb,
            candidate.disk_free_in_mb,
        ),
        replicas: candidate.replicas,
        workers: candidate.workers.map(|count| Workers {
            count,
            room: room(
                candidate.total_free_cores.unwrap_or_default(),
                candidate.total_memory_free_in_mb.unwrap_or_default(),
                candidate.total_disk_free_in_mb.unwrap_or_default(),
            ),
        }),
    }
}

fn room(cores: f64, memory_in_mb: u64, disk_in_mb: u64) -> Resources {
    Resources {
        cpu: Millicores::from_cores(cores),
        memory: Bytes::from_mb(memory_in_mb),
        disk: Bytes::from_mb(disk_in_mb),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use axum::http::Request;
    use serde_json::{Value, json};
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(path: &str, body: &str) -> (StatusCode, Value) {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .body(axum::body::Body::from(body.to_owned()));
        let (_, reached) = watch::channel(true);
        let service = Service {
            algorithm: Algorithm::FirstFit,
            reached,
        };
        let answer = router(service)
            .unwrap()
            .oneshot(request.unwrap())
            .await
            .unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    fn question() -> Value {
        let candidate = |id: &str, city: &str, replicas: u32| {
            json!({
                "id": id, "name": format!("pi-{id}"), "labels": {"city": city}, "free_cores": 1.5,
                "memory_free_in_mb": 100, "disk_free_in_mb": 0, "replicas": replicas,
            })
        };
        json!({
            "version": 1, "job_name": "shop", "service": "web", "replica": 0, "image_runtime": "docker", "cpu_cores": 0.5,
            "memory_in_mb": 64, "disk_in_mb": 0, "location": "Munich",
            "candidates": [candidate("1", "berlin", 0), candidate("2", "munich", 0), candidate("3", "munich", 1)],
        })
    }

    #[tokio::test]
    async fn each_algorithm_answers_at_its_name_and_one_at_the_root() {
        for (path, chosen) in [("/", "1"), ("/first-fit", "1"), ("/location", "2")] {
            let (status, answer) = ask(path, &question().to_string()).await;
            assert_eq!(status, StatusCode::OK, "{path}: {answer}");
            assert_eq!(answer, json!({"choose": chosen}), "{path}");
        }
    }

    #[test]
    fn a_queue_is_answered_as_a_post_is() {
        let answer = by_queue(Algorithm::Location, question().to_string().as_bytes());
        assert_eq!(answer, br#"{"choose":"2"}"#);
        let answer: Value = serde_json::from_slice(&by_queue(Algorithm::Location, b"{")).unwrap();
        assert_eq!(answer["status"], 400, "{answer}");
        assert!(answer.get("choose").is_none(), "{answer}");
    }

    #[tokio::test]
    async fn what_is_no_question_is_refused_with_what_is_wrong() {
        let mut half = question();
        half.as_object_mut().unwrap().remove("candidates");
        let (status, answer) = ask("/", &half.to_string()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(
            answer["detail"].as_str().unwrap().contains("candidates"),
            "{answer}"
        );
        let (status, _) = ask("/", "[").await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        for unknown in ["/best-guess", "/faulty"] {
            let (status, answer) = ask(unknown, &question().to_string()).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{answer}");
        }
        let mut nobody = question();
        nobody["candidates"] = json!([]);
        let (_, answer) = ask("/location", &nobody.to_string()).await;
        assert_eq!(
            answer,
            json!({"choose": null, "reason": "there is no candidate"})
        );
    }
}
