//! What types do not say of a route.

use std::collections::BTreeSet;

use model::access::Verb;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::guard::{Need, Realm};

/// Makes the schema of a type, by reference where it has a name.
pub(super) type Shape = fn(&mut SchemaGenerator) -> Schema;

/// What a route does: its summary, the shape of its body, its answers, and the refusals that its handler decides.
#[derive(Debug, Clone)]
pub struct Operation {
    pub(super) summary: &'static str,
    pub(super) about: &'static str,
    pub(super) tag: &'static str,
    pub(super) takes: Option<Sent>,
    pub(super) answers: Vec<Answer>,
    pub(super) headers: Vec<(u16, &'static str, &'static str)>,
    pub(super) problems: BTreeSet<u16>,
    pub(super) need: Option<Need>,
}

/// A request's body.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) shape: Shape,
    pub(super) required: bool,
    pub(super) example: Option<&'static str>,
}

/// One answer. Several of one status are alternatives.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) about: &'static str,
    pub(super) form: Form,
}

#[derive(Debug, Clone)]
pub(super) enum Form {
    /// JSON, or YAML where the handler takes an [`crate::Accept`].
    Body(Shape),
    /// JSON of that media type.
    Json(&'static str, Shape),
    /// Text of that media type.
    Text(&'static str),
    Empty,
}

/// An operation of that summary: a few words, other ones for each operation, since its `operationId` is made of them.
pub fn op(summary: &'static str) -> Operation {
    Operation {
        summary,
        about: "",
        tag: "service",
        takes: None,
        answers: Vec::new(),
        headers: Vec::new(),
        problems: BTreeSet::new(),
        need: None,
    }
}

impl Operation {
    /// Who may: every operation says so.
    #[must_use]
    pub const fn needs(mut self, need: Need) -> Self {
        self.need = Some(need);
        self
    }

    /// What it needs; an account where it does not say, which is a fault.
    pub(super) fn need(&self) -> Need {
        self.need.unwrap_or(Need::Account)
    }

    /// Who may do that to these.
    #[must_use]
    pub const fn may(self, verb: Verb, realm: Realm) -> Self {
        self.needs(Need::Right(verb, realm))
    }

    /// More on it, in CommonMark.
    #[must_use]
    pub const fn about(mut self, text: &'static str) -> Self {
        self.about = text;
        self
    }

    /// The group that it is shown in (`jobs`, `nodes`, …).
    #[must_use]
    pub const fn tag(mut self, tag: &'static str) -> Self {
        self.tag = tag;
        self
    }

    /// The body must be such a one. The handler takes a [`crate::Body`].
    #[must_use]
    pub fn takes<T: JsonSchema>(mut self) -> Self {
        self.takes = Some(Sent {
            shape: SchemaGenerator::subschema_for::<T>,
            required: true,
            example: None,
        });
        self
    }

    /// As [`Operation::takes`], but no body is one, too.
    #[must_use]
    pub fn may_take<T: JsonSchema>(mut self) -> Self {
        self = self.takes::<T>();
        if let Some(sent) = &mut self.takes {
            sent.required = false;
        }
        self
    }

    /// A body to begin with, in JSON. After [`Operation::takes`].
    #[must_use]
    pub const fn example(mut self, json: &'static str) -> Self {
        if let Some(sent) = &mut self.takes {
            sent.example = Some(json);
        }
        self
    }

    /// Answers with such a body; a second one of the same status is an alternative.
    #[must_use]
    pub fn answers<T: JsonSchema>(self, status: u16, about: &'static str) -> Self {
        let form = Form::Body(SchemaGenerator::subschema_for::<T>);
        self.answer(status, about, form)
    }

    /// Answers 200 with JSON of that media type.
    #[must_use]
    pub fn json<T: JsonSchema>(self, media_type: &'static str, about: &'static str) -> Self {
        let form = Form::Json(media_type, SchemaGenerator::subschema_for::<T>);
        self.answer(200, about, form)
    }

    /// Answers 200 with text of that media type.
    #[must_use]
    pub fn text(self, media_type: &'static str, about: &'static str) -> Self {
        self.answer(200, about, Form::Text(media_type))
    }

    /// Answers without a body.
    #[must_use]
    pub fn empty(self, status: u16, about: &'static str) -> Self {
        self.answer(status, about, Form::Empty)
    }

    /// A header of the answer of that status.
    #[must_use]
    pub fn header(mut self, status: u16, name: &'static str, about: &'static str) -> Self {
        self.headers.push((status, name, about));
        self
    }

    /// Refusals that the handler decides, as problems. Those of its extractors are known already.
    #[must_use]
    pub fn problems(mut self, statuses: &[u16]) -> Self {
        self.problems.extend(statuses);
        self
    }

    fn answer(mut self, status: u16, about: &'static str, form: Form) -> Self {
        self.answers.push(Answer {
            status,
            about,
            form,
        });
        self
    }

    /// `List jobs` -> `listJobs`.
    pub(super) fn id(&self) -> String {
        let words = self
            .summary
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty());
        let mut id = String::new();
        for word in words {
            let mut letters = word.chars();
            let first = letters.next().map(|c| {
                if id.is_empty() {
                    c.to_ascii_lowercase()
                } else {
                    c.to_ascii_uppercase()
                }
            });
            id.extend(first);
            id.push_str(letters.as_str());
        }
        id
    }
}
