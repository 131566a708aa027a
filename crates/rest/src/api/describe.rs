//! The OpenAPI document of the routes (OpenAPI 3.1, whose schemas are JSON Schema 2020-12).

mod query;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::problem::{self, Problem};
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use super::input::Taken;
use super::operation::{Answer, Form, Operation, Sent};
use crate::ApiError;
use crate::guard::Need;

/// Content types of bodies that are documents as they are.
const STRUCTURED: [&str; 4] = [
    "application/yaml",
    "application/json",
    "application/x-yaml",
    "text/yaml",
];

/// What routes do.
#[derive(Debug)]
pub(super) struct Description {
    title: String,
    about: String,
    parameters: BTreeMap<String, String>,
    routes: Vec<Route>,
}

#[derive(Debug)]
struct Route {
    method: &'static str,
    path: String,
    taken: Taken,
    operation: Operation,
}

impl Description {
    pub(super) fn new(title: &str, about: &str) -> Self {
        Self {
            title: title.to_owned(),
            about: about.to_owned(),
            parameters: BTreeMap::new(),
            routes: Vec::new(),
        }
    }

    pub(super) fn parameter(&mut self, name: &str, about: &str) {
        self.parameters.insert(name.to_owned(), about.to_owned());
    }

    /// Adds a route; answers every status that it is described with.
    pub(super) fn add(
        &mut self,
        method: &'static str,
        path: &str,
        taken: Taken,
        operation: Operation,
    ) -> Arc<BTreeSet<u16>> {
        let route = Route {
            method,
            path: path.to_owned(),
            taken,
            operation,
        };
        let mut statuses = route.refusals();
        statuses.extend(route.operation.answers.iter().map(|answer| answer.status));
        self.routes.push(route);
        Arc::new(statuses)
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.parameters.extend(other.parameters);
        self.routes.extend(other.routes);
    }

    /// What each operation needs of who asks.
    pub(super) fn needs(&self) -> Vec<(&'static str, &str, Need)> {
        let need = |route: &Route| route.operation.need();
        let routes = self.routes.iter();
        routes
            .map(|route| (route.method, route.path.as_str(), need(route)))
            .collect()
    }

    /// The whole document.
    pub(super) fn document(&self) -> Value {
        let mut schemas = Schemas::new();
        let mut paths: Map<String, Value> = Map::new();
        let mut tags = BTreeSet::new();
        let mut refusals = BTreeSet::new();
        for route in &self.routes {
            tags.insert(route.operation.tag);
            refusals.extend(route.refusals());
            let described = route.describe(&self.parameters, &mut schemas);
            let item = paths.entry(&*route.path).or_insert_with(|| json!({}));
            if let Some(item) = item.as_object_mut() {
                item.insert(route.method.to_owned(), described);
            }
        }
        let problem = schemas.answers.subschema_for::<Problem>();
        let responses: Map<String, Value> = refusals
            .into_iter()
            .map(|status| {
                (
                    format!("Problem{status}"),
                    refusal(status, problem.as_value()),
                )
            })
            .collect();
        let tags: Vec<_> = tags.into_iter().map(|name| json!({"name": name})).collect();
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": self.title,
                "description": self.about,
                "version": env!("CARGO_PKG_VERSION"),
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/", "description": "The one that serves this document"}],
            "tags": tags,
            "paths": paths,
            "components": {"responses": responses, "schemas": schemas.all(), "securitySchemes": {"token": {
                "type": "http", "scheme": "bearer",
                "description": "A user's token; the first one stands in admin.token in the data directory."}}},
            "security": [{"token": []}],
        })
    }
}

/// Schemas of what is read and of what is written: there, a field with a default is always present.
struct Schemas {
    requests: SchemaGenerator,
    answers: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12()
                .with(|settings| settings.definitions_path = "/components/schemas".into())
        };
        Self {
            requests: settings().for_deserialize().into_generator(),
            answers: settings().for_serialize().into_generator(),
        }
    }

    fn all(mut self) -> Map<String, Value> {
        let mut all = self.requests.take_definitions(true);
        all.extend(self.answers.take_definitions(true));
        all
    }
}

impl Route {
    /// Every status that is a problem: those of the extractors, those of the handler, and those of the layers.
    fn refusals(&self) -> BTreeSet<u16> {
        let mut statuses: BTreeSet<u16> = &self.taken.problems | &self.operation.problems;
        if !self.taken.has_query() {
            statuses.insert(400);
        }
        if self.method != "get" {
            statuses.insert(403);
        }
        // The guard says how often somebody may ask.
        statuses.insert(429);
        match self.operation.need {
            Some(Need::Nothing) => {}
            Some(Need::Account) | None => {
                statuses.insert(401);
            }
            // Of another tenant, nothing is found.
            Some(Need::Right(..)) => statuses.extend([401, 403, 404]),
        }
        for answer in &self.operation.answers {
            statuses.remove(&answer.status);
        }
        statuses
    }

    fn describe(&self, about: &BTreeMap<String, String>, schemas: &mut Schemas) -> Value {
        let operation = &self.operation;
        let mut described = Map::new();
        described.insert("operationId".to_owned(), operation.id().into());
        described.insert("summary".to_owned(), operation.summary.into());
        if !operation.about.is_empty() {
            described.insert("description".to_owned(), operation.about.into());
        }
        described.insert("tags".to_owned(), json!([operation.tag]));
        let mut parameters = self.in_path(about);
        parameters.extend(query::parameters(&self.taken.query, &mut schemas.requests));
        parameters.extend(self.taken.headers.iter().map(|(name, about, schema)| {
            json!({"name": name, "in": "header", "description": about, "schema": schema})
        }));
        if !parameters.is_empty() {
            described.insert("parameters".to_owned(), parameters.into());
        }
        if let Some(sent) = &operation.takes {
            described.insert("requestBody".to_owned(), body(sent, &mut schemas.requests));
        }
        let mut responses = self.answers(&mut schemas.answers);
        for status in self.refusals() {
            let reference = json!({"$ref": format!("#/components/responses/Problem{status}")});
            responses.insert(status.to_string(), reference);
        }
        described.insert("responses".to_owned(), responses.into());
        if operation.need == Some(Need::Nothing) {
            described.insert("security".to_owned(), json!([]));
        }
        if let Some(Need::Right(verb, realm)) = operation.need {
            let right = format!("{} {}", verb.as_str(), realm.as_str());
            described.insert("x-right".to_owned(), right.into());
        }
        described.into()
    }

    fn in_path(&self, about: &BTreeMap<String, String>) -> Vec<Value> {
        names_in(&self.path)
            .map(|name| {
                let about = about.get(name).map_or("", String::as_str);
                json!({"name": name, "in": "path", "required": true, "description": about,
                    "schema": {"type": "string", "minLength": 1}})
            })
            .collect()
    }

    fn answers(&self, generator: &mut SchemaGenerator) -> Map<String, Value> {
        let mut by_status: BTreeMap<u16, Vec<&Answer>> = BTreeMap::new();
        for answer in &self.operation.answers {
            by_status.entry(answer.status).or_default().push(answer);
        }
        by_status
            .into_iter()
            .map(|(status, answers)| (status.to_string(), self.answer(status, &answers, generator)))
            .collect()
    }

    fn answer(&self, status: u16, answers: &[&Answer], generator: &mut SchemaGenerator) -> Value {
        let about: Vec<_> = answers.iter().map(|answer| answer.about).collect();
        let mut shapes = Vec::new();
        let mut content = Map::new();
        for answer in answers {
            match answer.form {
                Form::Body(shape) => shapes.push(shape(generator).to_value()),
                Form::Json(media, shape) => {
                    let schema = shape(generator).to_value();
                    content.insert(media.to_owned(), json!({"schema": schema}));
                }
                Form::Text(media) => {
                    content.insert(media.to_owned(), json!({"schema": {"type": "string"}}));
                }
                Form::Empty => {}
            }
        }
        let schema = match (shapes.pop(), shapes.is_empty()) {
            (Some(only), true) => Some(only),
            (Some(last), false) => {
                shapes.push(last);
                Some(json!({"anyOf": shapes}))
            }
            (None, _) => None,
        };
        if let Some(schema) = schema {
            content.insert("application/json".to_owned(), json!({"schema": schema}));
            if self.taken.negotiates {
                content.insert("application/yaml".to_owned(), json!({"schema": schema}));
            }
        }
        let headers: Map<String, Value> = self
            .operation
            .headers
            .iter()
            .filter(|(of, ..)| *of == status)
            .map(|(_, name, about)| {
                let header = json!({"description": about, "schema": {"type": "string"}});
                ((*name).to_owned(), header)
            })
            .collect();
        let mut response = json!({"description": about.join(" Or: ")});
        if let Some(response) = response.as_object_mut() {
            if !content.is_empty() {
                response.insert("content".to_owned(), content.into());
            }
            if !headers.is_empty() {
                response.insert("headers".to_owned(), headers.into());
            }
        }
        response
    }

    /// What the extractors and the operation do not agree on.
    pub(super) fn faults(&self, about: &BTreeMap<String, String>) -> Vec<String> {
        let mut faults = Vec::new();
        if self.taken.body != self.operation.takes.is_some() {
            faults.push(
                "a handler has a `Body` where its operation `takes` something, and only there",
            );
        }
        if !self
            .operation
            .answers
            .iter()
            .any(|answer| answer.status < 400)
        {
            faults.push("no answer is a success");
        }
        if names_in(&self.path).any(|name| !about.contains_key(name)) {
            faults.push("a parameter of the path is not explained");
        }
        if self.taken.path != names_in(&self.path).next().is_some() {
            faults.push("a handler has a `Path` where its path has parameters, and only there");
        }
        if self.operation.need.is_none() {
            faults.push("nothing says who may do this");
        }
        let route = format!("{} {}", self.method, self.path);
        faults
            .into_iter()
            .map(|fault| format!("{route}: {fault}"))
            .collect()
    }
}

impl Description {
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults: Vec<_> = self
            .routes
            .iter()
            .flat_map(|route| route.faults(&self.parameters))
            .collect();
        let mut seen = BTreeSet::new();
        for route in &self.routes {
            let id = route.operation.id();
            if !seen.insert(id.clone()) {
                faults.push(format!("two operations are called {id}"));
            }
        }
        faults
    }
}

/// The names in braces.
fn names_in(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn body(sent: &Sent, generator: &mut SchemaGenerator) -> Value {
    let schema = (sent.shape)(generator).to_value();
    let mut media = json!({"schema": schema});
    let parsed = sent
        .example
        .and_then(|text| serde_json::from_str::<Value>(text).ok());
    if let (Some(media), Some(example)) = (media.as_object_mut(), parsed) {
        media.insert("example".to_owned(), example);
    }
    let mut content: Map<String, Value> = STRUCTURED
        .iter()
        .map(|kind| ((*kind).to_owned(), media.clone()))
        .collect();
    let raw = json!({"schema": {"type": "string", "contentMediaType": "application/yaml",
        "description": "YAML as it is, not form fields: the type that curl's --data-binary names when it is told none."}});
    content.insert("application/x-www-form-urlencoded".to_owned(), raw);
    json!({"required": sent.required, "content": content})
}

fn refusal(status: u16, schema: &Value) -> Value {
    let mut response = json!({
        "description": problem::title(status),
        "content": {problem::MEDIA_TYPE: {"schema": schema}},
    });
    if let (true, Some(response)) = (ApiError::waits(status), response.as_object_mut()) {
        let header = json!({"description": "Seconds after which to try again",
            "required": true, "schema": {"type": "integer", "minimum": 0}});
        response.insert("headers".to_owned(), json!({"Retry-After": header}));
    }
    response
}
