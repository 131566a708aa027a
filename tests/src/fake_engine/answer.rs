//! Answers in dockerd's shapes.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

pub(super) fn with(status: u16, kind: &str, body: impl Into<Body>) -> Response {
    Response::builder()
        .status(StatusCode::from_u16(status).expect("a status"))
        .header(header::CONTENT_TYPE, kind)
        .header("Api-Version", "1.41")
        .header("Server", "Docker/fake (linux)")
        .body(body.into())
        .expect("a response")
}

pub(super) fn json(status: u16, body: &Value) -> Response {
    with(status, "application/json", body.to_string())
}

pub(super) fn fault(status: u16, message: &str) -> Response {
    json(status, &json!({"message": message}))
}

pub(super) fn empty(status: u16) -> Response {
    with(status, "text/plain", Body::empty())
}

pub(super) fn text(body: &'static str) -> Response {
    with(200, "text/plain; charset=utf-8", body)
}

pub(super) fn version() -> Response {
    json(
        200,
        &json!({"ApiVersion": "1.41", "MinAPIVersion": "1.12", "Version": "20.10.0-fake", "Os": "linux",
            "Arch": "amd64", "GitCommit": "none", "GoVersion": "none", "KernelVersion": "none",
            "Platform": {"Name": "a fake engine"}, "Components": []}),
    )
}

pub(super) fn info() -> Response {
    json(
        200,
        &json!({"ServerVersion": "20.10.0-fake", "Driver": "fake", "DockerRootDir": "/no/such/folder", "MemoryLimit": true,
            "SwapLimit": true, "CpuCfsQuota": true, "LiveRestoreEnabled": true}),
    )
}
