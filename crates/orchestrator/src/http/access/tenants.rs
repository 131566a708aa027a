//! Tenants.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use model::access::{AccessBook, AccessRequest, Resource, Subject, Tenant, TenantPath};
use protocol::problem::Problem;
use protocol::rest::{List, TenantBody, TenantPatch, TenantRequest};
use rest::guard::{Caller, Need};
use rest::{Accept, Api, ApiError, Body, Cursor, PageQuery, Path, Query, op};

use super::refusal::not_found;
use super::{Locked, Service, sees};

pub(super) fn routes() -> Api<Service> {
    let op = |summary| {
        op(summary)
            .needs(Need::Account)
            .tag("tenants")
            .problems(&[409])
    };
    let tenant = "/api/v1/tenants/{tenant}";
    Api::new("", "")
        .get(
            "/api/v1/tenants",
            list,
            op("List tenants")
                .about("Those where one is something, with all below them, and those that one asked for. By path.")
                .answers::<List<TenantBody>>(200, "A page"),
        )
        .post(
            "/api/v1/tenants",
            request,
            op("Ask for a tenant")
                .about(
                    "By any user: it waits until an administrator above it approves it, and who asked is its administrator \
                     then. Asked for by who may approve it, it is active at once.",
                )
                .takes::<TenantRequest>()
                .example(r#"{"tenant": "university/lab", "quota": {"jobs": 20, "cpu": 16, "memory_in_mb": 65536}}"#)
                .answers::<TenantBody>(201, "The tenant")
                .header(201, "Location", "Where it is")
                .problems(&[404, 503]),
        )
        .get(
            tenant,
            one,
            op("Get a tenant")
                .answers::<TenantBody>(200, "The tenant")
                .problems(&[404]),
        )
        .patch(
            tenant,
            change_limits,
            op("Change a tenant")
                .about("Its quota or its policy, each as a whole. By an administrator above it.")
                .takes::<TenantPatch>()
                .example(r#"{"quota": {"jobs": 40, "cpu": 32}}"#)
                .answers::<TenantBody>(200, "The tenant")
                .problems(&[404, 503]),
        )
        .delete(
            tenant,
            delete,
            op("Delete a tenant")
                .about("An empty one; or refuses one that was asked for.")
                .empty(204, "There is no such tenant any more")
                .problems(&[404, 503]),
        )
        .merge(turns())
}

fn turns() -> Api<Service> {
    let op = |summary| {
        let op = op(summary).needs(Need::Account).tag("tenants");
        op.answers::<TenantBody>(200, "The tenant")
            .problems(&[404, 409, 503])
    };
    let tenant = "/api/v1/tenants/{tenant}";
    Api::new("", "")
        .post(
            &format!("{tenant}/approve"),
            approve,
            op("Approve a tenant")
                .about("It is active from now on, and who asked for it is its administrator."),
        )
        .post(
            &format!("{tenant}/suspend"),
            suspend,
            op("Suspend a tenant")
                .about("What it has runs on; nothing is added or changed in it and below it."),
        )
        .post(&format!("{tenant}/resume"), resume, op("Resume a tenant"))
}

/// `GET /api/v1/tenants`.
async fn list(
    Locked(service): Locked,
    caller: Caller,
    accept: Accept,
    Query(page): Query<PageQuery>,
) -> Result<Response, ApiError> {
    let (limit, after) = (page.limit()?, page.after::<String>()?);
    let rows = service.read(&caller, |book, subject| {
        let tenants = book.tenants();
        let tenants = tenants.filter(|tenant| Some(tenant.path.as_str()) > after.as_deref());
        let rows = tenants.filter_map(|tenant| shown(book, subject, tenant));
        rows.take(limit + 1).collect()
    });
    Ok(accept.ok(&Cursor::page(rows, limit, |row: &TenantBody| {
        row.tenant.clone()
    })))
}

/// `POST /api/v1/tenants`.
async fn request(
    Locked(service): Locked,
    caller: Caller,
    accept: Accept,
    body: Body,
) -> Result<Response, ApiError> {
    let TenantRequest {
        tenant,
        quota,
        policy,
    } = TenantRequest::parse(&body.bytes, body.format).map_err(Problem::bad_document)?;
    let request = AccessRequest::RequestTenant {
        tenant: tenant.clone(),
        quota: (&quota).into(),
        policy: (&policy).into(),
    };
    service.ask(&caller, &request).await?;
    let location = format!("/api/v1/tenants/{}", tenant.as_str().replace('/', "%2F"));
    Ok(accept.created(&location, &body_of(&service, &caller, &tenant)?))
}

/// `GET /api/v1/tenants/{tenant}`.
async fn one(
    Locked(service): Locked,
    caller: Caller,
    accept: Accept,
    Path(tenant): Path<String>,
) -> Result<Response, ApiError> {
    Ok(accept.ok(&body_of(&service, &caller, &path(&tenant)?)?))
}

/// `PATCH /api/v1/tenants/{tenant}`.
async fn change_limits(
    Locked(service): Locked,
    caller: Caller,
    accept: Accept,
    Path(tenant): Path<String>,
    body: Body,
) -> Result<Response, ApiError> {
    let tenant = path(&tenant)?;
    let TenantPatch { quota, policy } =
        TenantPatch::parse(&body.bytes, body.format).map_err(Problem::bad_document)?;
    let limit = |tenant| AccessRequest::ChangeTenant {
        tenant,
        quota: quota.as_ref().map(Into::into),
        policy: policy.as_ref().map(Into::into),
    };
    change(&service, &caller, accept, tenant, limit).await
}

/// `DELETE /api/v1/tenants/{tenant}`.
async fn delete(
    Locked(service): Locked,
    caller: Caller,
    Path(tenant): Path<String>,
) -> Result<Response, ApiError> {
    let tenant = path(&tenant)?;
    let delete = AccessRequest::DeleteTenant { tenant };
    service.ask(&caller, &delete).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /api/v1/tenants/{tenant}/approve`.
async fn approve(
    Locked(service): Locked,
    caller: Caller,
    accept: Accept,
    Path(tenant): Path<String>,
) -> Result<Response, ApiError> {
    let approve = |tenant| AccessRequest::ApproveTenant { tenant };
    change(&service, &caller, accept, path(&tenant)?, approve).await
}

/// `POST /api/v1/tenants/{tenant}/suspend`.
async fn suspend(
    Locked(service): Locked,
    caller: Caller,
    accept: Accept,
    Path(tenant): Path<String>,
) -> Result<Response, ApiError> {
    let suspend = |tenant| AccessRequest::SuspendTenant { tenant };
    change(&service, &caller, accept, path(&tenant)?, suspend).await
}

/// `POST /api/v1/tenants/{tenant}/resume`.
async fn resume(
    Locked(service): Locked,
    caller: Caller,
    accept: Accept,
    Path(tenant): Path<String>,
) -> Result<Response, ApiError> {
    let resume = |tenant| AccessRequest::ResumeTenant { tenant };
    change(&service, &caller, accept, path(&tenant)?, resume).await
}

/// Asks for a change of a tenant, and answers it as it is then.
async fn change(
    service: &Service,
    caller: &Caller,
    accept: Accept,
    path: TenantPath,
    request: impl FnOnce(TenantPath) -> AccessRequest,
) -> Result<Response, ApiError> {
    service.ask(caller, &request(path.clone())).await?;
    Ok(accept.ok(&body_of(service, caller, &path)?))
}

fn body_of(service: &Service, caller: &Caller, path: &TenantPath) -> Result<TenantBody, ApiError> {
    let body = service.read(caller, |book, subject| {
        book.tenant(path)
            .and_then(|tenant| shown(book, subject, tenant))
    });
    body.ok_or_else(|| not_found(path))
}

/// A tenant as the subject sees it; `None`: not at all.
fn shown(book: &AccessBook, subject: &Subject<'_>, tenant: &Tenant) -> Option<TenantBody> {
    sees(book, subject, &Resource::Tenant(tenant.path.clone())).then(|| tenant.into())
}

fn path(text: &str) -> Result<TenantPath, ApiError> {
    TenantPath::new(text).map_err(|error| Problem::bad_request(error.to_string()).into())
}
