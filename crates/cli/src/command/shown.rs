//! Lists and single things, in each of the forms.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Format};

/// How rows of one kind are shown.
pub(super) struct Shown {
    /// What a row is.
    pub(super) kind: &'static str,
    /// The field with its name.
    pub(super) name: &'static str,
    /// In which form.
    pub(super) format: Format,
}

impl Shown {
    /// Jobs.
    pub(super) const fn jobs(format: Format) -> Self {
        Self {
            kind: "job",
            name: "job_name",
            format,
        }
    }

    /// Clusters.
    pub(super) const fn clusters(format: Format) -> Self {
        Self {
            kind: "cluster",
            name: "cluster_name",
            format,
        }
    }

    /// Workers.
    pub(super) const fn nodes(format: Format) -> Self {
        Self {
            kind: "node",
            name: "name",
            format,
        }
    }

    /// Events.
    pub(super) const fn events(format: Format) -> Self {
        Self {
            kind: "event",
            name: "id",
            format,
        }
    }

    /// Users.
    pub(super) const fn users(format: Format) -> Self {
        Self {
            kind: "user",
            name: "name",
            format,
        }
    }

    /// Tokens of users.
    pub(super) const fn tokens(format: Format) -> Self {
        Self {
            kind: "token",
            name: "token_id",
            format,
        }
    }

    /// Tenants.
    pub(super) const fn tenants(format: Format) -> Self {
        Self {
            kind: "tenant",
            name: "tenant",
            format,
        }
    }

    /// Secrets.
    pub(super) const fn secrets(format: Format) -> Self {
        Self {
            kind: "secret",
            name: "name",
            format,
        }
    }

    /// Prints a list.
    pub(super) fn list<T: DeserializeOwned>(
        &self,
        client: &Client,
        rows: Vec<Value>,
        table: impl FnOnce(&[T], bool) -> Vec<String>,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Json | Format::Yaml => {
                output::value(&json!({"items": rows, "next_cursor": null}), self.format)
            }
            Format::Name => output::print(rows.iter().map(|row| self.named(row))),
            Format::Table | Format::Wide if rows.is_empty() => {
                output::notice(&format!("No {}s.", self.kind));
                Ok(())
            }
            Format::Table | Format::Wide => {
                let rows: Vec<T> = client.read(Value::Array(rows), "")?;
                output::print(table(&rows, self.format == Format::Wide))
            }
        }
    }

    /// Prints one of them.
    pub(super) fn one<T: DeserializeOwned>(
        &self,
        client: &Client,
        answer: Value,
        lines: impl FnOnce(&T, bool) -> Vec<String>,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Json | Format::Yaml => output::value(&answer, self.format),
            Format::Name => output::print([self.named(&answer)]),
            Format::Table | Format::Wide => {
                let one: T = client.read(answer, "")?;
                output::print(lines(&one, self.format == Format::Wide))
            }
        }
    }

    /// `kind/name`
    pub(super) fn named(&self, row: &Value) -> String {
        let name = row.get(self.name).and_then(Value::as_str).unwrap_or("?");
        format!("{}/{name}", self.kind)
    }
}
