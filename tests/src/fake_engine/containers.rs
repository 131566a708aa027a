//! The routes of containers.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Map, Value, json};

use super::Shared;
use super::answer::{empty, fault, json as json_of};
use super::knobs::Lie;
use super::serve::Asked;
use super::world::{Container, Status};

fn absent(key: &str) -> Response {
    fault(404, &format!("No such container: {key}"))
}

pub(super) fn create(shared: &Arc<Shared>, asked: &Asked) -> Response {
    let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
    let Some(image) = body.get("Image").and_then(Value::as_str).map(str::to_owned) else {
        return fault(400, "config cannot be empty in order to create a container");
    };
    if image.contains(' ') {
        return fault(400, "invalid reference format");
    }
    let name = asked.text("name").to_owned();
    shared.change(|world| {
        let Some(image_id) = world.image(&image) else {
            return fault(404, &format!("No such image: {}", super::world::with_tag(&image)));
        };
        if let Some(other) = world.find(&name) {
            return fault(
                409,
                &format!(
                    "Conflict. The container name \"/{name}\" is already in use by container \"{other}\". You have to \
                     remove (or rename) that container to be able to reuse that name."
                ),
            );
        }
        let id = world.add(&name, &image, &image_id, body);
        json_of(201, &json!({"Id": id, "Warnings": []}))
    })
}

pub(super) fn start(shared: &Arc<Shared>, asked: &Asked) -> Response {
    shared.change(|world| {
        let Some(id) = world.find(asked.part(1)) else {
            return absent(asked.part(1));
        };
        if world.containers.get(&id).map(|it| it.status) == Some(Status::Running) {
            return empty(304);
        }
        world.run(&id);
        empty(204)
    })
}

pub(super) fn stop(shared: &Arc<Shared>, asked: &Asked) -> Response {
    shared.change(|world| {
        let Some(id) = world.find(asked.part(1)) else {
            return absent(asked.part(1));
        };
        if world.containers.get(&id).map(|it| it.status) != Some(Status::Running) {
            return empty(304);
        }
        world.end(&id, 143);
        empty(204)
    })
}

pub(super) fn kill(shared: &Arc<Shared>, asked: &Asked) -> Response {
    shared.change(|world| {
        let Some(id) = world.find(asked.part(1)) else {
            return absent(asked.part(1));
        };
        if world.containers.get(&id).map(|it| it.status) != Some(Status::Running) {
            let key = asked.part(1);
            let message = format!("Cannot kill container: {key}: Container {id} is not running");
            return fault(409, &message);
        }
        world.end(&id, 137);
        empty(204)
    })
}

pub(super) fn remove(shared: &Arc<Shared>, asked: &Asked) -> Response {
    shared.change(|world| {
        let Some(id) = world.find(asked.part(1)) else {
            return absent(asked.part(1));
        };
        let runs = world.containers.get(&id).map(|it| it.status) == Some(Status::Running);
        if runs && !asked.is("force") {
            let message = format!(
                "You cannot remove a running container {id}. Stop the container before attempting removal or force remove"
            );
            return fault(409, &message);
        }
        world.end(&id, 137);
        world.event(&id, "destroy", json!({}));
        world.containers.remove(&id);
        empty(204)
    })
}

pub(super) fn inspect(shared: &Arc<Shared>, asked: &Asked) -> Response {
    let world = shared.world();
    let Some((id, container)) = world
        .find(asked.part(1))
        .and_then(|id| Some((id.clone(), world.containers.get(&id)?)))
    else {
        return absent(asked.part(1));
    };
    let body = &container.body;
    let said = container.said();
    let field = |name: &str| body.get(name).cloned().unwrap_or_default();
    let of_host = field("HostConfig");
    json_of(
        200,
        &json!({
            "Id": id,
            "Name": format!("/{}", container.name),
            "Image": container.image_id,
            "Created": container.started_at,
            "RestartCount": 0,
            "State": {
                "Status": said.word(),
                "Running": said == Status::Running,
                "Paused": false, "Restarting": false, "OOMKilled": false, "Dead": false,
                "Pid": if said == Status::Running { 1_000 } else { 0 },
                "ExitCode": if let Status::Exited(code) = said { code } else { 0 },
                "Error": "",
                "StartedAt": container.started_at,
                "FinishedAt": container.finished_at,
            },
            "Config": {"Labels": container.labels(), "Image": container.image, "Env": field("Env"), "Cmd": field("Cmd")},
            "HostConfig": if of_host.is_object() { of_host } else { json!({}) },
            "NetworkSettings": {"Ports": ports(container, said)},
            "Mounts": [],
        }),
    )
}

fn ports(container: &Container, said: Status) -> Value {
    let mut ports = Map::new();
    if said == Status::Running {
        for (key, port) in &container.ports {
            let bound = json!([{"HostIp": "0.0.0.0", "HostPort": port.to_string()}]);
            ports.insert(key.clone(), bound);
        }
    }
    Value::Object(ports)
}

pub(super) fn list(shared: &Arc<Shared>, asked: &Asked) -> Response {
    let wanted = Filters::of(asked.text("filters"));
    let all = asked.is("all");
    let world = shared.world();
    let rows = world.containers.iter().filter(|(_, it)| {
        let shown = it.lie != Some(Lie::LeftOut);
        shown && (all || it.said() == Status::Running) && wanted.fits("label", &it.labels())
    });
    let rows: Vec<Value> = rows
        .map(|(id, it)| {
            let ports: Vec<Value> = it.ports.values().map(|port| json!({"PublicPort": port, "Type": "tcp"})).collect();
            json!({
                "Id": id, "Names": [format!("/{}", it.name)], "Image": it.image, "ImageID": it.image_id,
                "Command": "", "Created": 0, "Ports": ports, "Labels": it.labels(), "State": it.said().word(),
                "Status": it.said().word(), "HostConfig": {"NetworkMode": "default"}, "Mounts": [],
            })
        })
        .collect();
    json_of(200, &Value::Array(rows))
}

/// `{"label": ["a=b"]}`, as the API takes it.
#[derive(Debug)]
pub(super) struct Filters(Value);

impl Filters {
    pub(super) fn of(text: &str) -> Self {
        Self(serde_json::from_str(text).unwrap_or_default())
    }

    /// The values of a filter; none where it is not set.
    pub(super) fn values(&self, name: &str) -> Vec<String> {
        match self.0.get(name) {
            Some(Value::Array(values)) => values
                .iter()
                .filter_map(|value| value.as_str().map(str::to_owned))
                .collect(),
            Some(Value::Object(values)) => values.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// Whether an object has all the pairs of a filter.
    pub(super) fn fits(&self, name: &str, object: &Value) -> bool {
        self.values(name).iter().all(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let has = object.get(key).and_then(Value::as_str);
            has.is_some_and(|has| !pair.contains('=') || has == value)
        })
    }
}
