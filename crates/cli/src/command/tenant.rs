//! `edgeio tenant`: whose jobs and users are kept apart, and how much they may have.

use std::collections::BTreeSet;

use clap::Subcommand;
use model::access::TenantPath;
use protocol::rest::{PolicyBody, QuotaBody, TenantBody, TenantPatch, TenantRequest};
use serde_json::{Value, json};

use crate::client::{Client, segment};
use crate::failure::Failure;
use crate::output::Format;
use crate::table;
use crate::values::{self, OrNone};

use super::shown::Shown;
use super::{print_answers, print_done, with_json, without_body};

/// The path of all tenants.
const TENANTS: &str = "/api/v1/tenants";

/// Decides about tenants: whose jobs and users are kept apart from all others', and how much they may have.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio tenant list
  edgeio tenant create university/lab --jobs 20 --cpu 16 --memory 65536
  edgeio tenant approve university/lab
  edgeio tenant quota university/lab --jobs 40 --cpu none
  edgeio tenant show university/lab")]
pub(crate) struct Options {
    /// What is to be done.
    #[command(subcommand)]
    pub(crate) what: What,
}

/// How much a tenant may have.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Limits {
    /// How many jobs it may have, or none for no limit of its own.
    #[arg(long, value_name = "N", value_parser = values::count_or_none)]
    jobs: Option<OrNone<u64>>,
    /// How many instances all its services may have.
    #[arg(long, value_name = "N", value_parser = values::count_or_none)]
    instances: Option<OrNone<u64>>,
    /// How many cores they may ask for.
    #[arg(long, value_name = "CORES", value_parser = values::cores_or_none)]
    cpu: Option<OrNone<f64>>,
    /// How much memory they may ask for, in MB of 1,048,576 bytes.
    #[arg(long, value_name = "MB", value_parser = values::count_or_none)]
    memory: Option<OrNone<u64>>,
    /// How much disk they may ask for, in MB of 1,048,576 bytes.
    #[arg(long, value_name = "MB", value_parser = values::count_or_none)]
    disk: Option<OrNone<u64>>,
}

/// What can be done with tenants.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Shows the tenants where you are something, and those that you asked for.
    List,
    /// Asks for a tenant; it is there at once if you may approve it.
    Create {
        /// Where it is to be, as in university/lab.
        #[arg(value_name = "TENANT", value_parser = values::tenant)]
        tenant: TenantPath,
        #[command(flatten)]
        limits: Limits,
        /// A registry that images may come from; all that are allowed above where this is left out.
        #[arg(long, value_name = "HOST")]
        registry: Vec<String>,
        /// A runtime that may be used; all that are allowed above where this is left out.
        #[arg(long, value_name = "RUNTIME")]
        runtime: Vec<String>,
    },
    /// Shows one tenant.
    Show {
        /// Which.
        #[arg(value_name = "TENANT", value_parser = values::tenant)]
        tenant: TenantPath,
    },
    /// Changes how much a tenant may have; what is not given stays as it is.
    Quota {
        /// Which.
        #[arg(value_name = "TENANT", value_parser = values::tenant)]
        tenant: TenantPath,
        #[command(flatten)]
        limits: Limits,
    },
    /// Lets a tenant begin that was asked for; who asked is its administrator.
    Approve {
        /// Which.
        #[arg(value_name = "TENANT", value_parser = values::tenant)]
        tenant: TenantPath,
    },
    /// Lets nothing be added or changed in a tenant and below it; what runs goes on.
    Suspend {
        /// Which.
        #[arg(value_name = "TENANT", value_parser = values::tenant)]
        tenant: TenantPath,
    },
    /// Lets a suspended tenant go on.
    Resume {
        /// Which.
        #[arg(value_name = "TENANT", value_parser = values::tenant)]
        tenant: TenantPath,
    },
    /// Forgets an empty tenant, or refuses one that was asked for.
    Delete {
        /// Which.
        #[arg(value_name = "TENANT", value_parser = values::tenant)]
        tenant: TenantPath,
    },
}

/// Does it.
pub(super) fn run(client: &Client, what: &What, format: Format) -> Result<(), Failure> {
    match what {
        What::List => {
            let rows = client.list(TENANTS)?;
            Shown::tenants(format).list(client, rows, |tenants: &[TenantBody], wide| {
                table::tenants(tenants, wide)
            })
        }
        What::Show { tenant } => {
            let answer = client.get(&of_tenant(tenant, ""))?;
            Shown::tenants(format).one(client, answer, |tenant: &TenantBody, _| {
                table::tenant(tenant)
            })
        }
        What::Create {
            tenant,
            limits,
            registry,
            runtime,
        } => create(client, tenant, limits, (registry, runtime), format),
        What::Quota { tenant, limits } => {
            let path = of_tenant(tenant, "");
            let known: TenantBody = client.read(client.get(&path)?, &path)?;
            let patch = TenantPatch {
                quota: Some(limits.over(known.quota)),
                policy: None,
            };
            let answer = with_json(&patch, |body| client.patch(&path, body))?;
            told(tenant, "has another quota", answer, format)
        }
        What::Approve { tenant } => turn(client, tenant, ("approve", "approved"), format),
        What::Suspend { tenant } => turn(client, tenant, ("suspend", "suspended"), format),
        What::Resume { tenant } => turn(client, tenant, ("resume", "resumed"), format),
        What::Delete { tenant } => {
            client.delete(&of_tenant(tenant, ""))?;
            told(tenant, "deleted", json!({"tenant": tenant}), format)
        }
    }
}

impl Limits {
    /// What is given here, and otherwise as it was.
    fn over(&self, quota: QuotaBody) -> QuotaBody {
        let of = |given: Option<OrNone<u64>>, was| given.map_or(was, |OrNone(limit)| limit);
        QuotaBody {
            jobs: of(self.jobs, quota.jobs),
            instances: of(self.instances, quota.instances),
            cpu: self.cpu.map_or(quota.cpu, |OrNone(limit)| limit),
            memory_in_mb: of(self.memory, quota.memory_in_mb),
            disk_in_mb: of(self.disk, quota.disk_in_mb),
        }
    }
}

fn create(
    client: &Client,
    tenant: &TenantPath,
    limits: &Limits,
    (registries, runtimes): (&[String], &[String]),
    format: Format,
) -> Result<(), Failure> {
    let some = |words: &[String]| {
        let words: BTreeSet<String> = words.iter().cloned().collect();
        Some(words).filter(|words| !words.is_empty())
    };
    let request = TenantRequest {
        tenant: tenant.clone(),
        quota: limits.over(QuotaBody::default()),
        policy: PolicyBody {
            registries: some(registries),
            runtimes: some(runtimes),
        },
    };
    let answer = with_json(&request, |body| client.post(TENANTS, body))?;
    let done = match answer.get("state").and_then(Value::as_str) {
        Some("active") => "created",
        _ => "asked for; it waits for approval",
    };
    told(tenant, done, answer, format)
}

fn turn(
    client: &Client,
    tenant: &TenantPath,
    (verb, done): (&str, &str),
    format: Format,
) -> Result<(), Failure> {
    let path = of_tenant(tenant, &format!("/{verb}"));
    let answer = without_body(|body| client.post(&path, body))?;
    told(tenant, done, answer, format)
}

fn of_tenant(tenant: &TenantPath, more: &str) -> String {
    format!("{TENANTS}/{}{more}", segment(tenant.as_str()))
}

fn told(tenant: &TenantPath, done: &str, answer: Value, format: Format) -> Result<(), Failure> {
    print_done(&format!("tenant/{tenant}"), done, format)?;
    print_answers(&[answer], format)
}
