//! `edgeio secret`: what applications need and nobody else may know.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use model::access::TenantPath;
use model::secret::SecretBook;
use protocol::rest::{SecretBody, SecretRequest};
use serde_json::json;

use crate::client::{Client, segment};
use crate::failure::Failure;
use crate::output::Format;
use crate::table;
use crate::values;

use super::shown::Shown;
use super::{password, print_answers, print_done, with_json};

/// The path of all secrets.
const SECRETS: &str = "/api/v1/secrets";

/// Sets, shows and deletes secrets; nobody is told their values again, but the applications that name them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio secret set db-password                          # asks for it
  edgeio secret set tls.key --from-file tls.key
  edgeio secret set ghcr --registry ghcr.io --username bob    # asks for its password or token
  edgeio secret list
  edgeio secret delete db-password

A document names them:
  secrets:
    - db-password                    # the file /run/secrets/db-password
    - {name: api, env: API_KEY}
  pull_secret: ghcr")]
pub(crate) struct Options {
    /// What is to be done.
    #[command(subcommand)]
    pub(crate) what: What,
}

/// Whose secrets.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Of {
    /// The tenant; the highest that you see where this is left out.
    #[arg(long, value_name = "TENANT", value_parser = values::tenant)]
    tenant: Option<TenantPath>,
}

/// What can be done with secrets.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Makes a secret, or gives it another value; jobs get that when their document is applied again.
    ///
    /// The value is asked for at a terminal, and its first line counts; otherwise it is all of standard input.
    Set {
        /// Its name.
        #[arg(value_name = "SECRET", value_parser = values::secret)]
        name: String,
        /// The file that holds the value, to the last byte.
        #[arg(long, value_name = "FILE", conflicts_with = "registry")]
        from_file: Option<PathBuf>,
        /// Makes it a login for pulling images from that registry; the value is the password or token.
        #[arg(long, value_name = "HOST", requires = "username")]
        registry: Option<String>,
        /// Who logs in there.
        #[arg(long, value_name = "USER", requires = "registry")]
        username: Option<String>,
        #[command(flatten)]
        of: Of,
    },
    /// Shows those of a tenant and of all below it, without their values.
    List {
        #[command(flatten)]
        of: Of,
    },
    /// Forgets a secret; jobs that have it keep it.
    Delete {
        /// Its name.
        #[arg(value_name = "SECRET", value_parser = values::secret)]
        name: String,
        #[command(flatten)]
        of: Of,
    },
}

impl Of {
    /// The path with the tenant.
    fn path(&self, path: &str) -> String {
        match &self.tenant {
            Some(tenant) => format!("{path}?tenant={}", segment(tenant.as_str())),
            None => path.to_owned(),
        }
    }

    fn secret(&self, name: &str) -> String {
        self.path(&format!("{SECRETS}/{}", segment(name)))
    }
}

/// Does it.
pub(super) fn run(client: &Client, what: &What, format: Format) -> Result<(), Failure> {
    match what {
        What::Set {
            name,
            from_file,
            registry,
            username,
            of,
        } => {
            let wanted = match (registry, username) {
                (Some(registry), Some(username)) => SecretRequest::Registry {
                    registry: registry.clone(),
                    username: username.clone(),
                    password: password::hidden("Password or token: ")?,
                },
                _ => SecretRequest::Value(value(from_file.as_deref())?),
            };
            let answer = with_json(&wanted, |body| client.put(&of.secret(name), body))?;
            print_done(&format!("secret/{name}"), "set", format)?;
            print_answers(&[answer], format)
        }
        What::List { of } => {
            let rows = client.list(&of.path(SECRETS))?;
            Shown::secrets(format).list(client, rows, |secrets: &[SecretBody], wide| {
                table::secrets(secrets, wide)
            })
        }
        What::Delete { name, of } => {
            client.delete(&of.secret(name))?;
            print_done(&format!("secret/{name}"), "deleted", format)?;
            print_answers(&[json!({"name": name})], format)
        }
    }
}

/// The bytes of a value: a file's, what a terminal is told, or all of standard input.
fn value(file: Option<&Path>) -> Result<Vec<u8>, Failure> {
    let failed = |source| Failure::Read {
        path: file.map_or_else(|| "standard input".into(), Path::to_owned),
        source,
    };
    // One byte more tells a value that is too long.
    let most = SecretBook::LARGEST as u64 + 1;
    let mut value = Vec::new();
    match file {
        Some(path) => std::fs::File::open(path)
            .and_then(|file| file.take(most).read_to_end(&mut value))
            .map_err(failed)?,
        None if password::is_asked() => {
            return password::hidden("Value: ").map(String::into_bytes);
        }
        None => io::stdin()
            .lock()
            .take(most)
            .read_to_end(&mut value)
            .map_err(failed)?,
    };
    if value.is_empty() || value.len() > SecretBook::LARGEST {
        return Err(Failure::Usage(format!(
            "a secret has 1 to {} bytes, and this one has {}",
            SecretBook::LARGEST,
            if value.is_empty() { "none" } else { "more" }
        )));
    }
    Ok(value)
}
