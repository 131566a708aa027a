//! What a handler takes, said by its extractors.

use std::collections::BTreeSet;

use axum::extract::State;
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::operation::Shape;
use crate::{Accept, Body, IdempotencyKey, LastEventId, Path, Query, WantsEvents};

/// An extractor that says what it reads of a request, and how it refuses.
#[diagnostic::on_unimplemented(
    message = "the extractor `{Self}` does not say what it reads of a request",
    note = "implement `rest::api::Input` for it; the type of a `Query` derives `rest::schemars::JsonSchema`"
)]
pub trait Input {
    /// Adds what it reads.
    fn describe(taken: &mut Taken);
}

/// All extractors of a handler: a tuple, as axum's `Handler` has it (a marker, then the arguments).
#[diagnostic::on_unimplemented(
    message = "an extractor of the handler does not say what it reads of a request",
    note = "each one implements `rest::api::Input`; the type of a `Query` derives `rest::schemars::JsonSchema` with `#[schemars(crate = \"rest::schemars\")]`"
)]
pub trait Inputs {
    /// Adds what they read.
    fn describe(taken: &mut Taken);
}

/// What is read of a request.
#[derive(Debug, Default)]
pub struct Taken {
    pub(super) query: Vec<Shape>,
    pub(super) headers: Vec<(&'static str, &'static str, Value)>,
    pub(super) problems: BTreeSet<u16>,
    pub(super) path: bool,
    pub(super) body: bool,
    /// The answer is written in the form that `Accept` asks for.
    pub(super) negotiates: bool,
}

impl Taken {
    /// Each field of `T` is a parameter of the query.
    pub fn query<T: JsonSchema>(&mut self) {
        self.query.push(T::json_schema);
        self.problem(400);
    }

    /// A header that may be left out, with the schema of its value.
    pub fn header(&mut self, name: &'static str, about: &'static str, schema: Value) {
        self.headers.push((name, about, schema));
    }

    /// It refuses with this status, as a problem.
    pub fn problem(&mut self, status: u16) {
        self.problems.insert(status);
    }

    pub(super) const fn has_query(&self) -> bool {
        !self.query.is_empty()
    }
}

impl<S> Input for State<S> {
    fn describe(_taken: &mut Taken) {}
}

impl Input for Accept {
    fn describe(taken: &mut Taken) {
        taken.negotiates = true;
        taken.problem(500);
    }
}

impl<T: JsonSchema> Input for Query<T> {
    fn describe(taken: &mut Taken) {
        taken.query::<T>();
    }
}

impl<T> Input for Path<T> {
    fn describe(taken: &mut Taken) {
        taken.path = true;
        taken.problem(400);
    }
}

impl Input for Body {
    fn describe(taken: &mut Taken) {
        taken.body = true;
        for status in [400, 408, 413, 415] {
            taken.problem(status);
        }
    }
}

impl Input for IdempotencyKey {
    fn describe(taken: &mut Taken) {
        taken.header(
            "Idempotency-Key",
            "The same key with the same body is carried out once and answered alike for 24 hours; with another body it is refused by 422.",
            json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}),
        );
        taken.problem(400);
    }
}

impl Input for LastEventId {
    fn describe(taken: &mut Taken) {
        taken.header(
            "Last-Event-ID",
            "The last event that was read: the stream goes on after it. What is too old is answered by a first event `reset`.",
            json!({"type": "string", "pattern": "^(evt_[0-7][0-9A-HJKMNP-TV-Z]{25})?$"}),
        );
        taken.problem(400);
    }
}

impl Input for WantsEvents {
    fn describe(_taken: &mut Taken) {}
}

macro_rules! inputs {
    ($($part:ident),*) => {
        impl<M, $($part: Input),*> Inputs for (M, $($part,)*) {
            fn describe(_taken: &mut Taken) {
                $($part::describe(_taken);)*
            }
        }
    };
}

inputs!();
inputs!(A);
inputs!(A, B);
inputs!(A, B, C);
inputs!(A, B, C, D);
inputs!(A, B, C, D, E);
inputs!(A, B, C, D, E, F);
inputs!(A, B, C, D, E, F, G);
inputs!(A, B, C, D, E, F, G, H);
