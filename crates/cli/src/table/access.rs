//! Users, their tokens, and tenants.

use std::collections::BTreeMap;

use protocol::rest::{QuotaBody, TenantBody, TokenBody, UserBody, WhoamiBody};
use protocol::time::format_wall;

use super::Seen::{Always, Wide};
use super::{Column, age, ago, cores, now, render};

/// One row a user.
pub(crate) fn users(users: &[UserBody], wide: bool) -> Vec<String> {
    let now = now();
    let columns: [Column<'_, UserBody>; 6] = [
        Column(Always, "NAME", &|user| user.name.clone()),
        Column(Always, "STATE", &|user| user.state.clone()),
        Column(Always, "HOME", &|user| user.home.clone()),
        Column(Always, "ROLES", &|user| roles(&user.roles)),
        Column(Wide, "PASSWORD", &|user| {
            (if user.has_password { "yes" } else { "no" }).to_owned()
        }),
        Column(Always, "AGE", &|user| age(user.created_at.0, now)),
    ];
    render(&columns, users, wide)
}

/// One row a token.
pub(crate) fn tokens(tokens: &[TokenBody], wide: bool) -> Vec<String> {
    let now = now();
    let columns: [Column<'_, TokenBody>; 7] = [
        Column(Always, "ID", &|token| token.token_id.to_string()),
        Column(Wide, "USER", &|token| {
            token.user.clone().unwrap_or_default()
        }),
        Column(Always, "ROLE", &|token| {
            token.role.clone().unwrap_or_default()
        }),
        Column(Always, "TENANT", &|token| {
            token.tenant.clone().unwrap_or_default()
        }),
        Column(Always, "EXPIRES", &|token| {
            token
                .expires_at
                .map_or_else(|| "never".to_owned(), format_wall)
        }),
        Column(Wide, "USED", &|token| {
            token.last_used.map(|at| age(at.0, now)).unwrap_or_default()
        }),
        Column(Always, "AGE", &|token| age(token.created_at.0, now)),
    ];
    render(&columns, tokens, wide)
}

/// One row a tenant.
pub(crate) fn tenants(tenants: &[TenantBody], wide: bool) -> Vec<String> {
    let now = now();
    let columns: [Column<'_, TenantBody>; 7] = [
        Column(Always, "TENANT", &|tenant| tenant.tenant.clone()),
        Column(Always, "STATE", &|tenant| tenant.state.clone()),
        Column(Always, "QUOTA", &|tenant| limits(&tenant.quota).join(", ")),
        Column(Wide, "REGISTRIES", &|tenant| {
            joined(tenant.policy.registries.as_ref())
        }),
        Column(Wide, "RUNTIMES", &|tenant| {
            joined(tenant.policy.runtimes.as_ref())
        }),
        Column(Always, "REQUESTED BY", &|tenant| {
            tenant.requested_by.clone().unwrap_or_default()
        }),
        Column(Always, "AGE", &|tenant| age(tenant.created_at.0, now)),
    ];
    render(&columns, tenants, wide)
}

/// All of a tenant.
pub(crate) fn tenant(tenant: &TenantBody) -> Vec<String> {
    let state = match &tenant.requested_by {
        Some(by) => format!("{} by {by}", tenant.state),
        None => tenant.state.clone(),
    };
    let quota = limits(&tenant.quota).join(", ");
    lines(&[
        ("Tenant", tenant.tenant.clone()),
        ("State", state),
        ("Quota", or(quota, "as much as the tenant above leaves it")),
        (
            "Registries",
            or(joined(tenant.policy.registries.as_ref()), "as above it"),
        ),
        (
            "Runtimes",
            or(joined(tenant.policy.runtimes.as_ref()), "as above it"),
        ),
        ("Created", ago(tenant.created_at)),
    ])
}

/// Who asks.
pub(crate) fn whoami(who: &WhoamiBody) -> Vec<String> {
    let user = who.user.clone().unwrap_or_default();
    let mut rows = vec![
        (
            "User",
            or(user, "nobody: no user is known by this credential"),
        ),
        ("Roles", or(roles(&who.roles), "none")),
        ("Tenant", who.tenant.clone()),
    ];
    if let Some(scope) = &who.scope {
        let place = scope.tenant.as_ref();
        let place = place.map_or_else(String::new, |tenant| format!(" in {tenant}"));
        let limit = format!("no more than {}{place}", scope.role);
        rows.push(("Token", limit));
    }
    lines(&rows)
}

fn lines(rows: &[(&str, String)]) -> Vec<String> {
    let line = |(title, text): &(&str, String)| format!("{:<11} {text}", format!("{title}:"));
    rows.iter().map(line).collect()
}

fn or(text: String, otherwise: &str) -> String {
    if text.is_empty() {
        otherwise.to_owned()
    } else {
        text
    }
}

fn roles(roles: &BTreeMap<String, String>) -> String {
    let words = roles
        .iter()
        .map(|(tenant, role)| format!("{role}@{tenant}"));
    words.collect::<Vec<_>>().join(",")
}

fn joined<'a>(words: Option<impl IntoIterator<Item = &'a String>>) -> String {
    let words = words.map(|words| words.into_iter().map(String::as_str).collect());
    let words: Option<Vec<&str>> = words;
    words.map_or_else(String::new, |words| or(words.join(","), "none"))
}

fn limits(quota: &QuotaBody) -> Vec<String> {
    let of = |limit: Option<u64>, what: &str| limit.map(|limit| format!("{limit} {what}"));
    let all = [
        of(quota.jobs, "jobs"),
        of(quota.instances, "instances"),
        quota.cpu.map(|cpu| format!("{} cores", cores(cpu))),
        of(quota.memory_in_mb, "MB memory"),
        of(quota.disk_in_mb, "MB disk"),
    ];
    all.into_iter().flatten().collect()
}
