//! `edgeio token`: what lets workers join a cluster, and clusters a root.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use protocol::rest::{JoinTokenBody, JoinTokenRequest, NewJoinTokenBody};
use serde_json::Value;

use crate::client::{Body, Client, segment};
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::{table, values};

use super::{near, place, print_answers, print_done};

/// The path of all join tokens of the orchestrator that is asked.
const TOKENS: &str = "/api/v1/join-tokens";

/// Makes, shows and revokes tokens by which machines join.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio token create --cluster garching
  edgeio token create --cluster garching --uses 20 --ttl 24h
  edgeio token create --role cluster
  edgeio token create --role cluster --out cluster.token
  edgeio token list
  edgeio token revoke join_01ARZ3NDEKTSV4RRFFQ69G5FAV")]
pub(crate) struct Options {
    /// What is to be done.
    #[command(subcommand)]
    pub(crate) what: What,
}

/// What is done with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Makes one, and prints it: it is shown now and never again.
    ///
    /// A worker joins with `node-engine join TOKEN`, a cluster with `cluster-orchestrator --join-token TOKEN`.
    Create {
        /// The cluster whose workers are to join; asked of its root.
        #[arg(long, value_name = "CLUSTER", value_parser = values::cluster)]
        cluster: Option<String>,
        /// Who is to join: a cluster, at a root, or a worker, at a cluster. Without this and --cluster: whoever joins the
        /// orchestrator that is asked.
        #[arg(long, value_name = "ROLE", conflicts_with = "cluster")]
        role: Option<Role>,
        /// How many machines may join with it.
        #[arg(long, value_name = "N", default_value_t = 1)]
        uses: u32,
        /// How long it lives.
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = daemon::value::duration)]
        ttl: Duration,
        /// Writes it to this file, for its owner alone, and does not print it.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Shows those of the orchestrator that is asked, without their secrets.
    List,
    /// Makes one void; who has joined with it stays.
    Revoke {
        /// Its id, which is a part of the token.
        #[arg(value_name = "TOKEN")]
        id: String,
    },
}

/// Who joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// A cluster joins a root.
    Cluster,
    /// A worker joins a cluster.
    Worker,
}

/// Does it.
pub(super) fn run(client: &Client, what: &What, format: Format) -> Result<(), Failure> {
    match what {
        What::Create {
            cluster,
            role,
            uses,
            ttl,
            out,
        } => {
            let wanted = JoinTokenRequest {
                uses: *uses,
                ttl: *ttl,
            };
            let (made, answer) = create(client, (cluster.as_deref(), *role), wanted)?;
            match out {
                Some(path) => keep(path, &made.token),
                None => show(made, answer, format),
            }
        }
        What::List => {
            let rows = client.list(TOKENS)?;
            match format {
                Format::Json | Format::Yaml => print_answers(&rows, format),
                Format::Name => {
                    output::print(rows.iter().filter_map(|row| row.get("token_id")?.as_str()))
                }
                Format::Table | Format::Wide => {
                    let tokens: Vec<JoinTokenBody> = client.read(rows.into(), TOKENS)?;
                    output::print(table::join_tokens(&tokens))
                }
            }
        }
        What::Revoke { id } => {
            let answer = client.delete(&format!("{TOKENS}/{}", segment(id)))?;
            print_done(id, "revoked", format)?;
            print_answers(&[answer], format)
        }
    }
}

fn create(
    client: &Client,
    (cluster, role): (Option<&str>, Option<Role>),
    wanted: JoinTokenRequest,
) -> Result<(NewJoinTokenBody, Value), Failure> {
    let path = match cluster {
        Some(name) => format!("{}/join-tokens", place::cluster_path(name)),
        None => TOKENS.to_owned(),
    };
    let bytes = wanted.body().to_string();
    let body = Body {
        media_type: "application/json",
        bytes: bytes.as_bytes(),
    };
    let answer = client.post(&path, body);
    let answer = match cluster {
        Some(name) => answer.map_err(|failure| near::cluster(client, name, failure))?,
        None => answer?,
    };
    let made: NewJoinTokenBody = client.read(answer.clone(), &path)?;
    let word = joins(&made);
    if role.is_some_and(|role| role != word) {
        // It is of no use to anybody.
        client.delete(&format!("{TOKENS}/{}", made.about.token_id))?;
        return Err(Failure::Usage(match word {
            Role::Cluster => "workers join a cluster, and a root was asked: name the cluster with --cluster, or ask it with --url".to_owned(),
            Role::Worker => "clusters join a root, and a cluster was asked: ask the root with --url".to_owned(),
        }));
    }
    Ok((made, answer))
}

/// Who joins with it.
fn joins(made: &NewJoinTokenBody) -> Role {
    if made.token.starts_with("eio1.cluster.") {
        Role::Cluster
    } else {
        Role::Worker
    }
}

/// Who reads the file sees a whole token or none.
fn keep(path: &Path, token: &str) -> Result<(), Failure> {
    let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let write = || {
        // It is made with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(parent.unwrap_or_else(|| Path::new(".")))?;
        writeln!(file, "{token}")?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|source| Failure::Write {
        path: path.to_owned(),
        source,
    })
}

fn show(made: NewJoinTokenBody, answer: Value, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json | Format::Yaml => return print_answers(&[answer], format),
        Format::Name => return output::print([made.about.token_id.to_string()]),
        Format::Table | Format::Wide => {}
    }
    let join = match joins(&made) {
        Role::Cluster => "cluster-orchestrator --join-token",
        Role::Worker => "node-engine join",
    };
    output::complain(&[format!("To be used with: {join} TOKEN")]);
    output::print([made.token])
}
