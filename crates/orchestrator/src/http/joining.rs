//! Joining: tokens are made and revoked, and machines get their certificates for them.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use identity::gate::Standing;
use identity::{Request, Secret};
use model::access::Verb;
use model::id::JoinTokenId;
use model::joining::JoinRefusal;
use protocol::problem::Problem;
use protocol::rest::{
    JoinRequest, JoinTokenBody, JoinTokenRequest, JoinedBody, List, NewJoinTokenBody, RenewRequest,
};
use rest::guard::{Caller, Certificate, Need, Realm};
use rest::{Accept, Api, ApiError, Body, Path, op};

use super::refusal::superseded;
use crate::access::{Access, Joined, MAX_OFFLINE, NotAdmitted, NotChanged};
use crate::clock;

/// Join tokens, joining, and renewals.
pub fn api(access: Access) -> Api<()> {
    let path = "/api/v1/join-tokens";
    let op = |summary| op(summary).tag("joining");
    Api::new("", "")
        .parameter("join_token", "A join token's id.")
        .get(
            path,
            list,
            op("List join tokens")
                .may(Verb::Read, Realm::JoinTokens)
                .answers::<List<JoinTokenBody>>(200, "All of them"),
        )
        .post(
            path,
            create,
            op("Create a join token")
                .may(Verb::Create, Realm::JoinTokens)
                .about("The token is in the answer and nowhere else. `node-engine join TOKEN` makes a worker of a machine.")
                .may_take::<JoinTokenRequest>()
                .example("{\"uses\": 1, \"ttl\": \"1h\"}")
                .answers::<NewJoinTokenBody>(201, "The token")
                .problems(&[409, 503]),
        )
        .delete(
            &format!("{path}/{{join_token}}"),
            revoke,
            op("Revoke a join token")
                .may(Verb::Delete, Realm::JoinTokens)
                .about("Nobody joins with it any more; who has, stays.")
                .answers::<JoinTokenBody>(200, "The token, as it was")
                .problems(&[404, 503]),
        )
        .post(
            "/api/v1/join",
            join,
            op("Join")
                .needs(Need::Nothing)
                .about(
                    "What `node-engine join` does: a token's secret and a request for a certificate go in. The same again, after \
                     an answer that was lost, gets the same id and takes no other use of the token.",
                )
                .takes::<JoinRequest>()
                .answers::<JoinedBody>(201, "Who joined, and by what it proves that")
                .problems(&[401, 503]),
        )
        .post(
            "/api/v1/join/renew",
            renew,
            op("Renew a certificate")
                .needs(Need::Nothing)
                .about(
                    "Over TLS, with the certificate that is to be renewed; it may have ended up to 30 days ago.",
                )
                .takes::<RenewRequest>()
                .answers::<JoinedBody>(201, "The same id, with another certificate")
                .problems(&[401, 503]),
        )
        .with_state(access)
}

async fn list(State(access): State<Access>, accept: Accept) -> Response {
    let book = access.book();
    let tokens = book.joins.grants();
    let rows = tokens.map(|grant| JoinTokenBody::new(grant, book.joins.used(grant.id)));
    accept.ok(&List::complete(rows.collect()))
}

async fn create(
    State(access): State<Access>,
    caller: Caller,
    accept: Accept,
    body: Body,
) -> Result<Response, ApiError> {
    let wanted =
        JoinTokenRequest::parse(&body.bytes, body.format).map_err(Problem::bad_document)?;
    let made = make(&access, &by(&caller), wanted).await?;
    Ok(accept.answer(StatusCode::CREATED, &made))
}

/// Makes a join token; `by` says for whom.
///
/// # Errors
/// As the REST interface answers.
pub async fn make(
    access: &Access,
    by: &str,
    wanted: JoinTokenRequest,
) -> Result<NewJoinTokenBody, ApiError> {
    let made = access.create_join_token(by, wanted.uses, wanted.ttl).await;
    let (token, grant) = made.map_err(not_changed)?;
    Ok(NewJoinTokenBody {
        token: token.reveal(),
        about: JoinTokenBody::new(&grant, 0),
    })
}

async fn revoke(
    State(access): State<Access>,
    accept: Accept,
    Path(token): Path<String>,
) -> Result<Response, ApiError> {
    let missing = || ApiError::from(Problem::not_found("join_token", &token));
    let id: JoinTokenId = token.parse().map_err(|_| missing())?;
    let book = access.book();
    let known = book.joins.grant(id).ok_or_else(missing)?;
    let body = JoinTokenBody::new(known, book.joins.used(id));
    access.forget_join_token(id).await.map_err(not_changed)?;
    Ok(accept.ok(&body))
}

async fn join(
    State(access): State<Access>,
    caller: Caller,
    accept: Accept,
    body: Body,
) -> Result<Response, ApiError> {
    let wanted = JoinRequest::parse(&body.bytes, body.format).map_err(Problem::bad_document)?;
    let request = request(&wanted.request)?;
    let joined = match Secret::read(&wanted.secret) {
        Some(secret) => access.join(wanted.token_id, &secret, &request).await,
        None => Err(JoinRefusal::Token.into()),
    };
    match joined {
        Ok(joined) => {
            tracing::info!(holder = %joined.holder, token = %wanted.token_id, "somebody joined");
            Ok(accept.answer(StatusCode::CREATED, &joined_body(joined)))
        }
        Err(refused) => {
            let what = ("join", wanted.token_id.to_string());
            access.refused(None, caller.from, what, refused.to_string());
            Err(not_changed(refused))
        }
    }
}

async fn renew(
    State(access): State<Access>,
    Certificate(shown): Certificate,
    caller: Caller,
    accept: Accept,
    body: Body,
) -> Result<Response, ApiError> {
    let wanted = RenewRequest::parse(&body.bytes, body.format).map_err(Problem::bad_document)?;
    let request = request(&wanted.request)?;
    let Some(peer) = shown else {
        let why = "show the certificate that is to be renewed, over TLS";
        return Err(Problem::new(401, "no_certificate", why).into());
    };
    let id = match access.member_of(&peer) {
        Ok(id) => id,
        Err(NotAdmitted::Expired) if is_renewable(peer.standing(clock::now().wall)) => {
            Access::bits_of(peer.holder)
        }
        Err(refused) => {
            let what = ("renew", peer.holder.id());
            access.refused(Some(peer.holder), caller.from, what, refused.to_string());
            return Err(Problem::new(401, refused.code(), refused.to_string()).into());
        }
    };
    let joined = access.renew(id, &request).map_err(not_changed)?;
    Ok(accept.answer(StatusCode::CREATED, &joined_body(joined)))
}

fn is_renewable(standing: Standing) -> bool {
    match standing {
        Standing::Valid => true,
        Standing::Expired(since) => since <= MAX_OFFLINE,
    }
}

fn request(pem: &str) -> Result<Request, ApiError> {
    let request = Request::from_pem(pem);
    request.map_err(|error| Problem::bad_request(format!("request: {error}")).into())
}

fn joined_body(joined: Joined) -> JoinedBody {
    JoinedBody {
        id: joined.holder.id(),
        certificate: joined.certificate,
        authority: joined.authority,
        expires_at: joined.until,
    }
}

/// Who asks, in words.
pub(super) fn by(caller: &Caller) -> String {
    let user = caller.user.as_ref();
    user.map_or_else(
        || "somebody on this machine".to_owned(),
        ToString::to_string,
    )
}

/// A change that was not made, as a problem.
pub fn not_changed(reason: NotChanged) -> ApiError {
    let text = reason.to_string();
    match reason {
        NotChanged::Join(JoinRefusal::Token) => Problem::new(401, "bad_join_token", text),
        NotChanged::Join(JoinRefusal::Revoked) => Problem::new(401, "revoked", text),
        NotChanged::Join(JoinRefusal::Uses | JoinRefusal::Life) | NotChanged::Issue(_) => {
            Problem::bad_request(text)
        }
        NotChanged::Join(JoinRefusal::TooMany) => Problem::conflict("too_many_join_tokens", text),
        NotChanged::Secret(refusal) => super::secrets::refused(&refusal),
        NotChanged::Open => Problem::conflict("open", text),
        NotChanged::Unavailable => Problem::unavailable(text),
        NotChanged::Superseded => return superseded(),
    }
    .into()
}
