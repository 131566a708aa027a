//! Roles, and the table of what each may do.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::tenant::TenantPath;

/// What a user is at a tenant, and at all tenants below it. At the root: of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks at what there is.
    Viewer,
    /// Runs jobs, too.
    Deployer,
    /// Takes care of workers and clusters, too.
    Operator,
    /// Decides about tenants, users and quotas, too.
    Admin,
    /// Looks at what there is, and at who did what.
    Auditor,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Viewer,
        Self::Deployer,
        Self::Operator,
        Self::Admin,
        Self::Auditor,
    ];

    /// The word in requests and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Deployer => "deployer",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Auditor => "auditor",
        }
    }

    /// The role of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is done to a [`Resource`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Any `GET` but logs and backups, and following what it shows.
    Read,
    /// Makes a new one: submits (also as a dry run), asks for a tenant, invites a user, issues a token of join.
    Create,
    /// Applies a document, scales, migrates, restarts; a tenant's quota, policy and suspension; a user's roles and
    /// suspension; a worker's labels; the settings and the brake of a system.
    Change,
    /// Ends or forgets one, or takes back what is not used yet.
    Delete,
    /// Reads what the instances of a job print.
    Logs,
    /// Runs a command inside an instance.
    Exec,
    /// Cordons, drains, uncordons or quarantines.
    Cordon,
    /// Grants what a user asked for: a tenant, or an account.
    Approve,
    /// Reads the whole store.
    Backup,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Read,
        Self::Create,
        Self::Change,
        Self::Delete,
        Self::Logs,
        Self::Exec,
        Self::Cordon,
        Self::Approve,
        Self::Backup,
    ];

    /// The word in refusals and in the audit log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Create => "create",
            Self::Change => "change",
            Self::Delete => "delete",
            Self::Logs => "logs",
            Self::Exec => "exec",
            Self::Cordon => "cordon",
            Self::Approve => "approve",
            Self::Backup => "backup",
        }
    }
}

/// What something is done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// The jobs of a tenant, with their instances, events and explanations.
    Jobs(TenantPath),
    /// The secrets and registry credentials of a tenant; reading them shows names, never values.
    Secrets(TenantPath),
    /// A tenant: its quota, its policy, its life.
    Tenant(TenantPath),
    /// The accounts whose home is a tenant, the roles that users have at it, and invitations to it.
    Users(TenantPath),
    /// What was done by whom in a tenant; in the root: everywhere.
    Audit(TenantPath),
    /// Workers.
    Nodes,
    /// Clusters.
    Clusters,
    /// Tokens by which workers and clusters join.
    JoinTokens,
    /// An orchestrator itself: its metrics, its settings, its brake, its store.
    System,
}

impl Resource {
    /// The tenant that it belongs to; `None`: to the system, which is the root's.
    pub const fn tenant(&self) -> Option<&TenantPath> {
        match self {
            Self::Jobs(tenant)
            | Self::Secrets(tenant)
            | Self::Tenant(tenant)
            | Self::Users(tenant)
            | Self::Audit(tenant) => Some(tenant),
            Self::Nodes | Self::Clusters | Self::JoinTokens | Self::System => None,
        }
    }

    /// The word in refusals and in the audit log.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Jobs(_) => "jobs",
            Self::Secrets(_) => "secrets",
            Self::Tenant(_) => "tenant",
            Self::Users(_) => "users",
            Self::Audit(_) => "audit",
            Self::Nodes => "nodes",
            Self::Clusters => "clusters",
            Self::JoinTokens => "join tokens",
            Self::System => "system",
        }
    }
}

/// Where one of a rule's roles is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// At the tenant of the resource, or above it; where it has none, at the root.
    Here,
    /// Above that tenant: what limits a tenant is not decided in it. Nothing is above the root, so there it is as `Here`.
    Above,
    /// Nowhere: an account is enough, whatever its roles.
    Account,
}

/// Who may do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) place: Place,
    /// Any of them will do.
    pub(super) roles: &'static [Role],
}

/// The table: who may do this to that. What is not in it, nobody may.
#[expect(
    clippy::match_same_arms,
    reason = "a table is read line by line, by resource"
)]
pub(super) const fn rule(verb: Verb, resource: &Resource) -> Option<Rule> {
    use Place::{Above, Account, Here};
    use Resource::{Audit, Clusters, Jobs, JoinTokens, Nodes, Secrets, System, Tenant, Users};
    use Verb::{Approve, Backup, Change, Cordon, Create, Delete, Exec, Logs, Read};

    const EVERYBODY: &[Role] = &Role::ALL;
    const DEPLOYERS: &[Role] = &[Role::Deployer, Role::Operator, Role::Admin];
    const OPERATORS: &[Role] = &[Role::Operator, Role::Admin];
    const ADMINS: &[Role] = &[Role::Admin];
    const AUDITORS: &[Role] = &[Role::Admin, Role::Auditor];

    let (place, roles) = match (verb, resource) {
        (Read, Jobs(_)) => (Here, EVERYBODY),
        (Create | Change | Delete | Logs | Exec, Jobs(_)) => (Here, DEPLOYERS),
        (Read | Create | Change | Delete, Secrets(_)) => (Here, DEPLOYERS),
        (Read, Tenant(_)) => (Here, EVERYBODY),
        (Create, Tenant(_)) => (Account, EVERYBODY),
        (Approve | Change | Delete, Tenant(_)) => (Above, ADMINS),
        (Read, Users(_)) => (Here, AUDITORS),
        (Create | Approve | Change | Delete, Users(_)) => (Here, ADMINS),
        (Read, Audit(_)) => (Here, AUDITORS),
        (Read, Nodes) => (Here, EVERYBODY),
        (Change | Delete | Cordon, Nodes) => (Here, OPERATORS),
        (Read, Clusters) => (Account, EVERYBODY),
        (Change | Delete | Cordon, Clusters) => (Here, OPERATORS),
        (Read | Create | Delete, JoinTokens) => (Here, OPERATORS),
        (Read, System) => (Here, EVERYBODY),
        (Change, System) => (Here, OPERATORS),
        (Backup, System) => (Here, ADMINS),
        _ => return None,
    };
    Some(Rule { place, roles })
}
