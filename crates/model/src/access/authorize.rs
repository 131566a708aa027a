//! Whether somebody may do something: the table of [`role`](super::role), applied to a tree of tenants.

use super::AccessBook;
use super::request::{Entry, Refusal};
use super::role::{Place, Resource, Role, Rule, Verb, rule};
use super::tenant::{TenantPath, TenantState};
use super::user::{Subject, User};

/// Whether somebody may do something.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "who is not granted it must not do it"]
pub enum Access {
    /// Yes.
    Granted,
    /// No, and it is of a tenant that is none of the subject's business: to it there is no such thing (404).
    Hidden,
    /// No (403).
    Denied(Denied),
}

/// Why something that may be seen may not be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It needs an account.
    #[error("this needs an account: send a token of yours, or log in")]
    NoAccount,
    /// Nobody may.
    #[error("nobody may do this ({} {what})", verb.as_str())]
    Nobody {
        /// What is done.
        verb: Verb,
        /// The word of what it is done to.
        what: &'static str,
    },
    /// It needs another role.
    #[error(
        "this ({} {what}) needs the role {} at tenant {tenant}; ask an administrator of it", verb.as_str(), words(roles)
    )]
    Role {
        /// What is done.
        verb: Verb,
        /// The word of what it is done to.
        what: &'static str,
        /// Any of these would do.
        roles: &'static [Role],
        /// There, or at a tenant above it.
        tenant: TenantPath,
    },
    /// The user may, but not with this token.
    #[error("you may do this, but not with this token, which was made for less; use another one")]
    Scope,
    /// Nothing is added to a tenant that is not active, or is below such a one.
    #[error(
        "tenant {tenant} is {state}, and so nothing is added or changed in it or below it; an administrator above it can change that"
    )]
    Inactive {
        /// That tenant.
        tenant: TenantPath,
        /// The word of its state.
        state: &'static str,
    },
}

impl Access {
    /// Hidden, where it is not granted and the reason is not for everybody's eyes.
    pub(super) fn shown(self, to_see: bool) -> Self {
        if to_see || self == Self::Granted {
            self
        } else {
            Self::Hidden
        }
    }

    /// Nothing, where it is granted; what is hidden is not found.
    pub(super) fn granted(self, entry: impl Into<Entry>) -> Result<(), Refusal> {
        match self {
            Self::Granted => Ok(()),
            Self::Hidden => Err(Refusal::NotFound(entry.into())),
            Self::Denied(denied) => Err(denied.into()),
        }
    }
}

fn words(roles: &[Role]) -> String {
    let words: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
    words.join(" or ")
}

impl AccessBook {
    /// Whether somebody may do this to that. Whether it exists is the caller's to see; of a tenant that does not, only who
    /// has a role above it is granted anything.
    pub fn authorize(&self, subject: &Subject<'_>, verb: Verb, resource: &Resource) -> Access {
        let tenant = resource.tenant();
        let (user, scope) = match subject {
            Subject::User { user, scope, .. } => (*user, scope),
            Subject::Stranger | Subject::Invited { .. } if tenant.is_some() => {
                return Access::Hidden;
            }
            Subject::Stranger | Subject::Invited { .. } => {
                return Access::Denied(Denied::NoAccount);
            }
        };
        let reaches = |tenant: &TenantPath| {
            let bound = scope.tenant.as_ref();
            bound.is_none_or(|bound| tenant.is_within(bound))
        };
        let rule = rule(verb, resource);
        if rule.is_some_and(|rule| rule.place == Place::Account) {
            return Access::Granted;
        }
        if tenant.is_some_and(|tenant| self.roles(user, tenant).is_empty() || !reaches(tenant)) {
            return Access::Hidden;
        }
        let what = resource.as_str();
        let Some(Rule { place, roles }) = rule else {
            return Access::Denied(Denied::Nobody { verb, what });
        };
        let here = tenant.cloned().unwrap_or_else(TenantPath::root);
        let place = match place {
            Place::Above => here.parent().unwrap_or(here),
            Place::Here | Place::Account => here,
        };
        if !self
            .roles(user, &place)
            .iter()
            .any(|role| roles.contains(role))
        {
            return Access::Denied(Denied::Role {
                verb,
                what,
                roles,
                tenant: place,
            });
        }
        if !roles.contains(&scope.role) || !reaches(&place) {
            return Access::Denied(Denied::Scope);
        }
        self.open_to(verb, resource)
    }

    /// What a user is at a tenant, by its roles there and above. Who asked for a tenant looks at it as a viewer meanwhile.
    pub(super) fn roles(&self, user: &User, tenant: &TenantPath) -> Vec<Role> {
        let requested = self.tenants.get(tenant).is_some_and(
            |tenant| matches!(&tenant.state, TenantState::Requested { by } if *by == user.name),
        );
        let held = tenant.upwards().filter_map(|above| user.roles.get(&above));
        held.copied()
            .chain(requested.then_some(Role::Viewer))
            .collect()
    }

    /// Whether the tenant of jobs and secrets lets anybody add to them or change them.
    fn open_to(&self, verb: Verb, resource: &Resource) -> Access {
        let adds = matches!(verb, Verb::Create | Verb::Change | Verb::Exec);
        match resource {
            Resource::Jobs(tenant) | Resource::Secrets(tenant) if adds => self.open(tenant),
            Resource::Jobs(_)
            | Resource::Secrets(_)
            | Resource::Tenant(_)
            | Resource::Users(_)
            | Resource::Audit(_)
            | Resource::Nodes
            | Resource::Clusters
            | Resource::JoinTokens
            | Resource::System => Access::Granted,
        }
    }

    /// Whether a tenant, and each above it, is there and active.
    pub fn open(&self, tenant: &TenantPath) -> Access {
        for above in tenant.upwards() {
            match self.tenants.get(&above).map(|tenant| &tenant.state) {
                None => return Access::Hidden,
                Some(TenantState::Active) => {}
                Some(state @ (TenantState::Requested { .. } | TenantState::Suspended)) => {
                    return Access::Denied(Denied::Inactive {
                        state: state.as_str(),
                        tenant: above,
                    });
                }
            }
        }
        Access::Granted
    }
}
