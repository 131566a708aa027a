//! What the engine has: containers, images, events.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Containers;
use super::knobs::{Call, Knobs, Lie};

/// How a container really is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Made and never started.
    Created,
    /// It runs.
    Running,
    /// It ended with this code.
    Exited(i64),
}

impl Status {
    /// The engine's word.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Exited(_) => "exited",
        }
    }
}

/// A container, for a test to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its label `edgeio.job_name`; empty for one of others.
    pub job: String,
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// How it is.
    pub status: Status,
    /// When it was started last, in the engine's words.
    pub started_at: String,
    /// How often it was started.
    pub starts: u32,
}

#[derive(Debug)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) image_id: String,
    /// What it was made from.
    pub(super) body: Value,
    pub(super) status: Status,
    pub(super) lie: Option<Lie>,
    pub(super) starts: u32,
    pub(super) started_at: String,
    pub(super) finished_at: String,
    /// By `80/tcp`: the host's port.
    pub(super) ports: BTreeMap<String, u16>,
    pub(super) output: Vec<(String, String)>,
}

impl Container {
    pub(super) fn label(&self, label: &str) -> &str {
        let labels = self.body.get("Labels");
        let value = labels.and_then(|labels| labels.get(label));
        value.and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn labels(&self) -> Value {
        let labels = self.body.get("Labels").cloned();
        labels.filter(Value::is_object).unwrap_or_else(|| json!({}))
    }

    /// How the engine says that it is.
    pub(super) const fn said(&self) -> Status {
        match self.lie {
            Some(Lie::Runs) => Status::Running,
            Some(Lie::Ended(code)) => Status::Exited(code),
            Some(Lie::LeftOut) | None => self.status,
        }
    }
}

/// Never.
const NEVER: &str = "0001-01-01T00:00:00Z";

#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) containers: BTreeMap<String, Container>,
    /// By id: the names.
    pub(super) images: BTreeMap<String, Vec<String>>,
    /// Fetched in part: bytes by name.
    pub(super) partial: BTreeMap<String, u64>,
    pub(super) events: Vec<Value>,
    /// Events before the first of `events`.
    forgotten: u64,
    pub(super) calls: Vec<Call>,
    pub(super) knobs: Knobs,
    number: u64,
}

pub(super) fn now() -> String {
    jiff::Timestamp::now().to_string()
}

impl World {
    pub(super) fn id(&mut self) -> String {
        self.number += 1;
        format!("{:016x}{:048x}", self.number, self.number)
    }

    pub(super) fn events_so_far(&self) -> u64 {
        self.forgotten + self.events.len() as u64
    }

    /// The events from that number on.
    pub(super) fn events_from(&self, number: u64) -> &[Value] {
        let skip = number.saturating_sub(self.forgotten) as usize;
        self.events.get(skip..).unwrap_or_default()
    }

    pub(super) fn engine_stops(&mut self, containers: Containers) {
        if containers == Containers::End {
            for container in self.containers.values_mut() {
                if container.status == Status::Running {
                    container.status = Status::Exited(137);
                    container.finished_at = now();
                }
            }
        }
        // Events are kept in the daemon's memory alone.
        self.forgotten += self.events.len() as u64;
        self.events.clear();
        self.partial.clear();
    }

    pub(super) fn event(&mut self, container: &str, action: &str, more: Value) {
        let Some(known) = self.containers.get(container) else {
            return;
        };
        let mut attributes = known.labels();
        if let (Some(attributes), Value::Object(more)) = (attributes.as_object_mut(), more) {
            attributes.insert("name".to_owned(), json!(known.name));
            attributes.insert("image".to_owned(), json!(known.image));
            attributes.extend(more);
        }
        let at = jiff::Timestamp::now();
        let event = json!({
            "Type": "container", "Action": action, "status": action, "id": container, "scope": "local",
            "Actor": {"ID": container, "Attributes": attributes},
            "time": at.as_second(), "timeNano": at.as_nanosecond() as i64,
        });
        for _ in 0..self.knobs.events {
            self.events.push(event.clone());
        }
    }

    /// The container of that id or name.
    pub(super) fn find(&self, key: &str) -> Option<String> {
        if self.containers.contains_key(key) {
            return Some(key.to_owned());
        }
        let named = self.containers.iter().find(|(_, it)| it.name == key);
        named.map(|(id, _)| id.clone())
    }

    pub(super) fn add(&mut self, name: &str, image: &str, image_id: &str, body: Value) -> String {
        let id = self.id();
        let container = Container {
            name: name.to_owned(),
            image: image.to_owned(),
            image_id: image_id.to_owned(),
            body,
            status: Status::Created,
            lie: None,
            starts: 0,
            started_at: NEVER.to_owned(),
            finished_at: NEVER.to_owned(),
            ports: BTreeMap::new(),
            output: Vec::new(),
        };
        self.containers.insert(id.clone(), container);
        self.event(&id, "create", json!({}));
        id
    }

    /// Makes it run.
    pub(super) fn run(&mut self, id: &str) {
        let number = self.number as u16;
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        container.status = Status::Running;
        container.starts += 1;
        container.started_at = now();
        let bindings = container.body.pointer("/HostConfig/PortBindings");
        let bindings = bindings.and_then(Value::as_object).cloned();
        for (at, (key, binding)) in (0_u16..).zip(bindings.unwrap_or_default()) {
            let asked = binding.pointer("/0/HostPort").and_then(Value::as_str);
            let port = asked.and_then(|port| port.parse().ok());
            let free = 32_768 + number.wrapping_mul(8).wrapping_add(at) % 10_000;
            let port = port.unwrap_or(free);
            container.ports.insert(key, port);
        }
        self.event(id, "start", json!({}));
    }

    pub(super) fn end(&mut self, id: &str, code: i64) {
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        if container.status != Status::Running {
            return;
        }
        container.status = Status::Exited(code);
        container.finished_at = now();
        self.event(id, "die", json!({"exitCode": code.to_string()}));
    }

    pub(super) fn write(&mut self, id: &str, line: &str) {
        if let Some(container) = self.containers.get_mut(id) {
            container.output.push((now(), line.to_owned()));
        }
    }

    pub(super) fn lie(&mut self, id: &str, lie: Lie) {
        let container = self.containers.get_mut(id).expect("such a container");
        container.lie = Some(lie);
    }

    pub(super) fn all_lies_end(&mut self) {
        let all = self.containers.values_mut();
        all.for_each(|container| container.lie = None);
    }

    pub(super) fn foreign(&mut self, name: &str, image: &str) -> String {
        let image_id = self.add_image(image);
        let id = self.add(name, image, &image_id, json!({"Image": image}));
        self.run(&id);
        id
    }

    pub(super) fn add_image(&mut self, name: &str) -> String {
        let name = with_tag(name);
        if let Some(id) = self.image(&name) {
            return id;
        }
        let id = format!("sha256:{}", self.id());
        self.images.insert(id.clone(), vec![name]);
        id
    }

    /// The id of the image of that name or id.
    pub(super) fn image(&self, key: &str) -> Option<String> {
        if self.images.contains_key(key) {
            return Some(key.to_owned());
        }
        let name = with_tag(key);
        let named = self.images.iter().find(|(_, names)| names.contains(&name));
        named.map(|(id, _)| id.clone())
    }

    pub(super) fn image_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.images.values().flatten().cloned().collect();
        names.sort();
        names
    }

    pub(super) fn partial_bytes(&self) -> u64 {
        self.partial.values().sum()
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        let one = |(id, it): (&String, &Container)| Seen {
            job: it.label("edgeio.job_name").to_owned(),
            name: it.name.clone(),
            id: id.clone(),
            status: it.status,
            started_at: it.started_at.clone(),
            starts: it.starts,
        };
        let mut seen: Vec<Seen> = self.containers.iter().map(one).collect();
        seen.sort_by(|left, right| left.name.cmp(&right.name));
        seen
    }
}

pub(super) fn with_tag(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains([':', '@']) {
        name.to_owned()
    } else {
        format!("{name}:latest")
    }
}
