//! Users.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use model::access::{AccessBook, AccessRequest, Entry, Resource, Subject, User};
use model::name::Name;
use protocol::problem::Problem;
use protocol::rest::{ApproveRequest, List, PasswordRequest, RoleRequest, UserBody, UserRequest};
use rest::guard::{Caller, Need};
use rest::{Accept, Api, ApiError, Body, Cursor, PageQuery, Path, Query, op};

use super::refusal::not_found;
use super::{Locked, Service, is, sees};

pub(super) fn routes() -> Api<Service> {
    let op = |summary| {
        op(summary)
            .needs(Need::Account)
            .tag("users")
            .problems(&[409])
    };
    let user = "/api/v1/users/{user}";
    Api::new("", "")
        .get(
            "/api/v1/users",
            list,
            op("List users")
                .about("Oneself, and those whose home, or a tenant where they are something, one may look after. By name.")
                .answers::<List<UserBody>>(200, "A page"),
        )
        .post(
            "/api/v1/users",
            request,
            op("Ask for an account")
                .needs(Need::Nothing)
                .about(
                    "By anybody: it waits until an administrator of its home approves it. With the token of an invitation, \
                     and without `home`, it is active at once, and the invitation is used up.",
                )
                .takes::<UserRequest>()
                .example(r#"{"name": "alice", "password": "correct horse battery", "home": "university"}"#)
                .answers::<UserBody>(201, "The account")
                .header(201, "Location", "Where it is")
                .problems(&[401, 404, 429, 503]),
        )
        .get(
            user,
            one,
            op("Get a user")
                .answers::<UserBody>(200, "The user")
                .problems(&[404]),
        )
        .delete(
            user,
            delete,
            op("Delete a user")
                .about("With its tokens and what it asked for; or refuses an account that was asked for.")
                .empty(204, "There is no such user any more")
                .problems(&[404, 503]),
        )
        .merge(changes())
}

/// What is done to a user that is there.
fn changes() -> Api<Service> {
    let op = |summary| {
        let op = op(summary).needs(Need::Account).tag("users");
        op.answers::<UserBody>(200, "The user")
            .problems(&[404, 409, 503])
    };
    let user = "/api/v1/users/{user}";
    Api::new("", "")
        .post(
            &format!("{user}/approve"),
            approve,
            op("Approve an account")
                .may_take::<ApproveRequest>()
                .example(r#"{"role": "deployer"}"#),
        )
        .post(
            &format!("{user}/suspend"),
            suspend,
            op("Suspend a user")
                .about("Neither its tokens nor its password mean anything from now on."),
        )
        .post(
            &format!("{user}/resume"),
            resume,
            op("Resume a user").about("Its tokens and its password mean what they did."),
        )
        .put(
            &format!("{user}/role"),
            set_role,
            op("Give a user a role")
                .about("By an administrator of the tenant, to a user of any home.")
                .takes::<RoleRequest>()
                .example(r#"{"tenant": "university/lab", "role": "operator"}"#),
        )
        .put(
            &format!("{user}/password"),
            set_password,
            op("Set a password")
                .about("One's own; an administrator of the root sets anybody's.")
                .takes::<PasswordRequest>()
                .example(r#"{"password": "correct horse battery"}"#)
                .problems(&[429]),
        )
}

/// `GET /api/v1/users`.
async fn list(
    Locked(service): Locked,
    caller: Caller,
    accept: Accept,
    Query(page): Query<PageQuery>,
) -> Result<Response, ApiError> {
    let (limit, after) = (page.limit()?, page.after::<String>()?);
    let rows = service.read(&caller, |book, subject| {
        let users = book.users();
        let users = users.filter(|user| Some(user.name.as_str()) > after.as_deref());
        let rows = users.filter_map(|user| shown(book, subject, user));
        rows.take(limit + 1).collect()
    });
    Ok(accept.ok(&Cursor::page(rows, limit, |row: &UserBody| {
        row.name.clone()
    })))
}

/// `POST /api/v1/users`.
async fn request(
    Locked(service): Locked,
    caller: Caller,
    accept: Accept,
    body: Body,
) -> Result<Response, ApiError> {
    let UserRequest {
        name,
        password,
        home,
    } = UserRequest::parse(&body.bytes, body.format).map_err(Problem::bad_document)?;
    let invited = |_: &_, subject: &Subject<'_>| matches!(subject, Subject::Invited { .. });
    if home.is_some() && service.read(&caller, invited) {
        let why = "an invitation says which tenant is the home; leave `home` out";
        return Err(Problem::bad_request(why).into());
    }
    let password = service.passwords.hash(password).await?;
    let request = match home {
        Some(home) => AccessRequest::RequestUser {
            name: name.clone(),
            home,
            password,
        },
        None => AccessRequest::AcceptInvitation {
            name: name.clone(),
            password,
        },
    };
    service.ask(&caller, &request).await?;
    let book = service.access.book();
    let user = book.access.user(&name).ok_or_else(|| not_found(&name))?;
    let body = UserBody::of(user, |_| true);
    Ok(accept.created(&format!("/api/v1/users/{name}"), &body))
}

/// `GET /api/v1/users/{user}`.
async fn one(
    Locked(service): Locked,
    caller: Caller,
    accept: Accept,
    Path(user): Path<String>,
) -> Result<Response, ApiError> {
    let name = name(&user)?;
    let body = service.read(&caller, |book, subject| {
        book.user(&name).and_then(|user| shown(book, subject, user))
    });
    Ok(accept.ok(&body.ok_or_else(|| not_found(&name))?))
}

/// `DELETE /api/v1/users/{user}`.
async fn delete(
    Locked(service): Locked,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<Response, ApiError> {
    let user = name(&user)?;
    let delete = AccessRequest::DeleteUser { user };
    service.ask(&caller, &delete).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /api/v1/users/{user}/approve`.
async fn approve(
    Locked(service): Locked,
    caller: Caller,
    accept: Accept,
    Path(user): Path<String>,
    body: Body,
) -> Result<Response, ApiError> {
    let user = name(&user)?;
    let ApproveRequest { role } =
        ApproveRequest::parse(&body.bytes, body.format).map_err(Problem::bad_document)?;
    let approve = AccessRequest::ApproveUser { user, role };
    change(&service, &caller, accept, approve).await
}

/// `POST /api/v1/users/{user}/suspend`.
async fn suspend(
    Locked(service): Locked,
    caller: Caller,
    accept: Accept,
    Path(user): Path<String>,
) -> Result<Response, ApiError> {
    let user = name(&user)?;
    let suspend = AccessRequest::SuspendUser { user };
    change(&service, &caller, accept, suspend).await
}

/// `POST /api/v1/users/{user}/resume`.
async fn resume(
    Locked(service): Locked,
    caller: Caller,
    accept: Accept,
    Path(user): Path<String>,
) -> Result<Response, ApiError> {
    let user = name(&user)?;
    let resume = AccessRequest::ResumeUser { user };
    change(&service, &caller, accept, resume).await
}

/// `PUT /api/v1/users/{user}/role`.
async fn set_role(
    Locked(service): Locked,
    caller: Caller,
    accept: Accept,
    Path(user): Path<String>,
    body: Body,
) -> Result<Response, ApiError> {
    let user = name(&user)?;
    let RoleRequest { tenant, role } =
        RoleRequest::parse(&body.bytes, body.format).map_err(Problem::bad_document)?;
    let set = AccessRequest::SetRole { user, tenant, role };
    change(&service, &caller, accept, set).await
}

/// `PUT /api/v1/users/{user}/password`.
async fn set_password(
    Locked(service): Locked,
    caller: Caller,
    accept: Accept,
    Path(user): Path<String>,
    body: Body,
) -> Result<Response, ApiError> {
    let user = name(&user)?;
    let PasswordRequest { password } =
        PasswordRequest::parse(&body.bytes, body.format).map_err(Problem::bad_document)?;
    let password = service.passwords.hash(password).await?;
    let set = AccessRequest::SetPassword { user, password };
    change(&service, &caller, accept, set).await
}

/// Asks for a change of a user, and answers it as it is then.
async fn change(
    service: &Service,
    caller: &Caller,
    accept: Accept,
    request: AccessRequest,
) -> Result<Response, ApiError> {
    let entry = service.ask(caller, &request).await?;
    let body = service.read(caller, |book, subject| match &entry {
        Entry::User(name) => book.user(name).map(|user| {
            // Who has just suspended itself sees nothing any more.
            let shown = shown(book, subject, user);
            shown.unwrap_or_else(|| UserBody::of(user, |_| false))
        }),
        Entry::Tenant(_) | Entry::Token(_) => None,
    });
    Ok(accept.ok(&body.ok_or_else(|| not_found(entry))?))
}

/// A user as the subject sees it; `None`: not at all.
fn shown(book: &AccessBook, subject: &Subject<'_>, user: &User) -> Option<UserBody> {
    let own = is(subject, &user.name);
    let sees = |tenant: &_| own || sees(book, subject, &Resource::Users(Clone::clone(tenant)));
    let visible = sees(&user.home) || user.roles.keys().any(sees);
    visible.then(|| UserBody::of(user, sees))
}

fn name(text: &str) -> Result<Name, ApiError> {
    Name::new(text).map_err(|error| Problem::bad_request(error.to_string()).into())
}
