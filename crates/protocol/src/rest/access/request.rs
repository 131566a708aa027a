//! What is asked of users, tokens and tenants, read as strictly as documents.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use model::access::{Role, TenantPath};
use model::name::Name;
use serde::{Serialize, Serializer};

use super::limits::{PolicyBody, QuotaBody};
use crate::document::fields::Fields;
use crate::document::{Fault, Faults, Format, Spot, parse_one};
use crate::rest::request::known;
use crate::time::format_duration;

const DAY: Duration = Duration::from_hours(24);
/// How long a token lasts that does not last for ever.
const TOKEN: RangeInclusive<Duration> = Duration::from_secs(1)..=DAY.saturating_mul(3_650);
/// How long an invitation lasts.
const INVITATION: RangeInclusive<Duration> = Duration::from_mins(1)..=DAY.saturating_mul(90);
/// How long the token of a login lasts.
const LOGIN: RangeInclusive<Duration> = Duration::from_mins(1)..=DAY.saturating_mul(30);
/// An example of a password, for those who left it out.
const EXAMPLE: &str = "\"…\", of 12 characters or more";

/// A password, which nothing prints.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Password(String);

/// A text is no password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a password has {} to {} characters, none of them NUL",
    Password::SHORTEST,
    Password::LONGEST
)]
pub struct PasswordError;

impl Password {
    /// Characters of one at least.
    pub const SHORTEST: usize = 12;
    /// Characters of one at most.
    pub const LONGEST: usize = 256;

    /// One that is to be.
    ///
    /// # Errors
    /// When it is too short or too long.
    pub fn new(text: &str) -> Result<Self, PasswordError> {
        Self::of(text, Self::SHORTEST)
    }

    /// One that is said to be a user's: it may be older than the rules for new ones.
    ///
    /// # Errors
    /// When it cannot be any.
    pub fn entered(text: &str) -> Result<Self, PasswordError> {
        Self::of(text, 1)
    }

    fn of(text: &str, shortest: usize) -> Result<Self, PasswordError> {
        let fits = (shortest..=Self::LONGEST).contains(&text.chars().count());
        if fits && !text.contains('\0') {
            Ok(Self(text.to_owned()))
        } else {
            Err(PasswordError)
        }
    }

    /// The password itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

/// `POST /tenants`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(deny_unknown_fields))]
pub struct TenantRequest {
    /// Where it is to be, as in `university/lab`.
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "crate::rest::schema::TenantPathText")
    )]
    pub tenant: TenantPath,
    /// What it should have; without limits of its own where left out.
    #[cfg_attr(feature = "openapi", schemars(with = "Option<QuotaBody>"))]
    pub quota: QuotaBody,
    /// What its jobs may run; as above it where left out.
    #[cfg_attr(feature = "openapi", schemars(with = "Option<PolicyBody>"))]
    pub policy: PolicyBody,
}

/// `PATCH /tenants/{tenant}`.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(deny_unknown_fields))]
pub struct TenantPatch {
    /// All of its quota; as it is where left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<QuotaBody>,
    /// All of its policy; as it is where left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyBody>,
}

/// `POST /users`: an account is asked for, or an invitation accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(deny_unknown_fields))]
pub struct UserRequest {
    /// Unique in the whole system.
    #[cfg_attr(feature = "openapi", schemars(with = "crate::rest::schema::Name"))]
    pub name: Name,
    /// What it will log in by.
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "crate::rest::schema::PasswordText")
    )]
    pub password: Password,
    /// The tenant whose administrators should approve the account; left out where an invitation's token comes with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<crate::rest::schema::TenantPathText>")
    )]
    pub home: Option<TenantPath>,
}

/// `POST /users/{user}/approve`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(deny_unknown_fields))]
pub struct ApproveRequest {
    /// What the user is at its home; nothing where left out, for somebody who will ask for a tenant.
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<crate::rest::schema::TenantRole>")
    )]
    pub role: Option<Role>,
}

/// `PUT /users/{user}/role`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(deny_unknown_fields))]
pub struct RoleRequest {
    /// There, and below it.
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "crate::rest::schema::TenantPathText")
    )]
    pub tenant: TenantPath,
    /// What the user is from now on; null for nothing.
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "crate::rest::schema::TenantRoleOrNone")
    )]
    pub role: Option<Role>,
}

/// `PUT /users/{user}/password`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(deny_unknown_fields))]
pub struct PasswordRequest {
    /// What the user logs in by from now on.
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "crate::rest::schema::PasswordText")
    )]
    pub password: Password,
}

/// `POST /tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(deny_unknown_fields))]
pub struct TokenRequest {
    /// What this role may not, the token may not; all that you may where left out.
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<crate::rest::schema::TenantRole>")
    )]
    pub role: Option<Role>,
    /// Nothing outside of this tenant and those below it; everywhere where left out.
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<crate::rest::schema::TenantPathText>")
    )]
    pub tenant: Option<TenantPath>,
    /// How long it lasts, 1s to 3650d; until it is revoked where left out.
    #[serde(serialize_with = "life")]
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<crate::rest::schema::LifeText>")
    )]
    pub ttl: Option<Duration>,
}

/// `POST /invitations`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(deny_unknown_fields))]
pub struct InvitationRequest {
    /// The home of who accepts it.
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "crate::rest::schema::TenantPathText")
    )]
    pub tenant: TenantPath,
    /// What it will be there; nothing where left out, for somebody who will ask for a tenant.
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<crate::rest::schema::TenantRole>")
    )]
    pub role: Option<Role>,
    /// How long it can be accepted, 1m to 90d; 7d where left out.
    #[serde(serialize_with = "life")]
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<crate::rest::schema::LifeText>")
    )]
    pub ttl: Option<Duration>,
}

/// `POST /login`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(deny_unknown_fields))]
pub struct LoginRequest {
    /// Who it is.
    #[cfg_attr(feature = "openapi", schemars(with = "crate::rest::schema::Name"))]
    pub name: Name,
    /// Its password.
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "crate::rest::schema::EnteredText")
    )]
    pub password: Password,
    /// How long the token lasts, 1m to 30d; 12h where left out.
    #[serde(serialize_with = "life")]
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<crate::rest::schema::LifeText>")
    )]
    pub ttl: Option<Duration>,
}

impl InvitationRequest {
    /// How long an invitation lasts where nothing is said.
    pub const TTL: Duration = DAY.saturating_mul(7);

    /// Reads a body.
    ///
    /// # Errors
    /// With all faults.
    pub fn parse(body: &[u8], format: Format) -> Result<Self, Vec<Fault>> {
        parse_one(body, format, |root, faults| {
            let fields = known(root, &["tenant", "role", "ttl"], faults)?;
            let tenant = required_tenant(&fields, "tenant", faults);
            let role = role(&fields, faults);
            let ttl = ttl(&fields, &INVITATION, faults);
            Some(Self {
                tenant: tenant?,
                role,
                ttl,
            })
        })
    }
}

impl LoginRequest {
    /// How long the token lasts where nothing is said.
    pub const TTL: Duration = Duration::from_hours(12);

    /// Reads a body.
    ///
    /// # Errors
    /// With all faults; none of them repeats the password.
    pub fn parse(body: &[u8], format: Format) -> Result<Self, Vec<Fault>> {
        parse_one(body, format, |root, faults| {
            let fields = known(root, &["name", "password", "ttl"], faults)?;
            let name = name(&fields, faults);
            let password = password(&fields, Password::entered, faults);
            let ttl = ttl(&fields, &LOGIN, faults);
            Some(Self {
                name: name?,
                password: password?,
                ttl,
            })
        })
    }
}

impl TenantRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// With all faults.
    pub fn parse(body: &[u8], format: Format) -> Result<Self, Vec<Fault>> {
        parse_one(body, format, |root, faults| {
            let fields = known(root, &["tenant", "quota", "policy"], faults)?;
            let tenant = required_tenant(&fields, "tenant", faults);
            let TenantPatch { quota, policy } = limits(&fields, faults);
            Some(Self {
                tenant: tenant?,
                quota: quota.unwrap_or_default(),
                policy: policy.unwrap_or_default(),
            })
        })
    }
}

impl TenantPatch {
    /// Reads a body.
    ///
    /// # Errors
    /// With all faults.
    pub fn parse(body: &[u8], format: Format) -> Result<Self, Vec<Fault>> {
        parse_one(body, format, |root, faults| {
            let fields = known(root, &["quota", "policy"], faults)?;
            Some(limits(&fields, faults))
        })
    }
}

impl UserRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// With all faults; none of them repeats the password.
    pub fn parse(body: &[u8], format: Format) -> Result<Self, Vec<Fault>> {
        parse_one(body, format, |root, faults| {
            let fields = known(root, &["name", "password", "home"], faults)?;
            let name = name(&fields, faults);
            let password = password(&fields, Password::new, faults);
            let home = tenant(&fields, "home", faults);
            Some(Self {
                name: name?,
                password: password?,
                home,
            })
        })
    }
}

impl ApproveRequest {
    /// Reads a body; an empty one gives no role.
    ///
    /// # Errors
    /// With all faults.
    pub fn parse(body: &[u8], format: Format) -> Result<Self, Vec<Fault>> {
        if body.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        parse_one(body, format, |root, faults| {
            let fields = known(root, &["role"], faults)?;
            Some(Self {
                role: role(&fields, faults),
            })
        })
    }
}

impl RoleRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// With all faults.
    pub fn parse(body: &[u8], format: Format) -> Result<Self, Vec<Fault>> {
        parse_one(body, format, |root, faults| {
            let fields = known(root, &["tenant", "role"], faults)?;
            let tenant = required_tenant(&fields, "tenant", faults);
            // Who forgets it must not take a role away.
            let given = fields.each().any(|(key, ..)| key == "role");
            if !given {
                fields.require("role", "viewer, or null for none", faults);
            }
            let role = role(&fields, faults);
            Some(Self {
                tenant: tenant?,
                role,
            })
        })
    }
}

impl PasswordRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// With all faults; none of them repeats the password.
    pub fn parse(body: &[u8], format: Format) -> Result<Self, Vec<Fault>> {
        parse_one(body, format, |root, faults| {
            let fields = known(root, &["password"], faults)?;
            Some(Self {
                password: password(&fields, Password::new, faults)?,
            })
        })
    }
}

impl TokenRequest {
    /// Reads a body; an empty one asks for all that one may, until it is revoked.
    ///
    /// # Errors
    /// With all faults.
    pub fn parse(body: &[u8], format: Format) -> Result<Self, Vec<Fault>> {
        if body.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        parse_one(body, format, |root, faults| {
            let fields = known(root, &["role", "tenant", "ttl"], faults)?;
            Some(Self {
                role: role(&fields, faults),
                tenant: tenant(&fields, "tenant", faults),
                ttl: ttl(&fields, &TOKEN, faults),
            })
        })
    }
}

fn limits(fields: &Fields<'_>, faults: &mut Faults) -> TenantPatch {
    let quota = fields.get("quota");
    let policy = fields.get("policy");
    TenantPatch {
        quota: quota.and_then(|spot| QuotaBody::read(&spot, faults)),
        policy: policy.and_then(|spot| PolicyBody::read(&spot, faults)),
    }
}

fn name(fields: &Fields<'_>, faults: &mut Faults) -> Option<Name> {
    fields.require("name", "alice", faults)?.name(faults)
}

fn required_tenant(fields: &Fields<'_>, field: &str, faults: &mut Faults) -> Option<TenantPath> {
    let spot = fields.require(field, "university/lab", faults)?;
    path(&spot, faults)
}

fn tenant(fields: &Fields<'_>, field: &str, faults: &mut Faults) -> Option<TenantPath> {
    path(&fields.get(field)?, faults)
}

fn path(spot: &Spot<'_>, faults: &mut Faults) -> Option<TenantPath> {
    let path = TenantPath::new(spot.text(faults)?);
    path.map_err(|error| spot.fault(faults, error.to_string()))
        .ok()
}

fn role(fields: &Fields<'_>, faults: &mut Faults) -> Option<Role> {
    let words = Role::ALL.map(|role| (role.as_str(), role));
    fields.get("role")?.choice(&words, faults)
}

fn ttl(
    fields: &Fields<'_>,
    range: &RangeInclusive<Duration>,
    faults: &mut Faults,
) -> Option<Duration> {
    fields.get("ttl")?.duration(range, faults)
}

fn password(
    fields: &Fields<'_>,
    read: impl Fn(&str) -> Result<Password, PasswordError>,
    faults: &mut Faults,
) -> Option<Password> {
    let spot = fields.require("password", EXAMPLE, faults)?;
    let password = read(spot.secret(faults)?);
    password
        .map_err(|error| spot.fault(faults, error.to_string()))
        .ok()
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn life<S: Serializer>(ttl: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    ttl.map(format_duration).serialize(serializer)
}
