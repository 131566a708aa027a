use std::path::Path;
use std::sync::Arc;

use audit::verify;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Request as HttpRequest, StatusCode};
use axum::response::Response;
use identity::Key;
use identity::gate::Peer;
use prometheus::proto::MetricFamily;
use protocol::rest::{JoinRequest, JoinedBody};
use rest::guard::{Caller, Guard as _, Need, Realm};
use serde_json::Value;
use store::Memory;
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::*;
use crate::http::joining;
use crate::keys::names;

struct Desk {
    access: Access,
    store: Arc<Memory>,
    dir: TempDir,
}

impl Desk {
    async fn open() -> Self {
        Self::on(Arc::new(Memory::new()), tempfile::tempdir().unwrap()).await
    }

    async fn on(store: Arc<Memory>, dir: TempDir) -> Self {
        let access = open(dir.path(), Arc::clone(&store) as _).await.unwrap();
        Self { access, store, dir }
    }

    /// The administrator's token.
    fn token(&self) -> String {
        std::fs::read_to_string(self.dir.path().join(ADMIN_TOKEN)).unwrap()
    }

    /// The same store and directory, after a restart.
    async fn again(self) -> Self {
        drop(self.access);
        Self::on(self.store, self.dir).await
    }

    /// A token for one machine.
    async fn join_token(&self) -> JoinToken {
        let life = Duration::from_mins(1);
        let made = self.access.create_join_token("test", 1, life).await;
        made.unwrap().0
    }

    async fn ask(&self, request: HttpRequest<Body>) -> Response {
        let api = joining::api(self.access.clone());
        let router = api.serve((), Arc::new(self.access.clone()));
        router.oneshot(request).await.unwrap()
    }

    async fn join(&self, token: &JoinToken, key: &Key) -> Result<JoinedBody, (StatusCode, String)> {
        let body = JoinRequest {
            token_id: token.id,
            secret: token.secret.reveal(),
            request: key.request().unwrap().to_pem(),
        };
        let body = serde_json::to_vec(&body).unwrap();
        let response = self.ask(post("/api/v1/join", body)).await;
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), 100_000)
            .await
            .unwrap();
        if status == StatusCode::CREATED {
            return Ok(serde_json::from_slice(&bytes).unwrap());
        }
        let problem: Value = serde_json::from_slice(&bytes).unwrap();
        Err((status, problem["code"].as_str().unwrap().to_owned()))
    }
}

async fn open(dir: &Path, store: Arc<dyn Store>) -> Result<Access, AccessError> {
    with_rates(dir, store, RateOptions::default()).await
}

async fn with_rates(
    dir: &Path,
    store: Arc<dyn Store>,
    rates: RateOptions,
) -> Result<Access, AccessError> {
    let settings = Settings {
        tier: Tier::Cluster,
        store: StoreKind::Embedded,
        admin_token: dir.join(ADMIN_TOKEN),
        insecure: false,
        places: vec!["192.0.2.1:10001".to_owned()],
        rates,
    };
    let keys = Keys::open(StoreKind::Embedded, dir, Tier::Cluster, names(&[], None)).unwrap();
    let audit = Audit::open(StoreKind::Embedded, dir, Tier::Cluster).unwrap();
    Access::open(settings, store, Arc::new(keys), audit).await
}

fn post(path: &str, body: Vec<u8>) -> HttpRequest<Body> {
    let request = HttpRequest::post(path).header("content-type", "application/json");
    request.body(Body::from(body)).unwrap()
}

/// Who asks with that header for the jobs of the root tenant: the status that it is refused with, and why.
fn admitted(access: &Access, header: Option<&str>) -> Result<Caller, (u16, String)> {
    let mut request = HttpRequest::get("/api/v1/jobs");
    if let Some(header) = header {
        request = request.header("authorization", header);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let need = Need::Right(model::access::Verb::Read, Realm::Jobs);
    let refused = |error: rest::ApiError| (error.problem.status, error.problem.detail);
    access.admit(need, &parts).map_err(refused)
}

#[tokio::test]
async fn the_first_start_makes_an_administrator_and_later_ones_know_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let desk = Desk::open().await;
    let path = desk.dir.path().join(ADMIN_TOKEN);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let token = desk.token();
    let bearer = format!("Bearer {}", token.trim());
    let caller = admitted(&desk.access, Some(&bearer)).unwrap();
    assert_eq!(caller.user.unwrap().as_str(), "admin");
    // The secret is nowhere in the store.
    let secret = token.trim().split('_').nth(3).unwrap().to_owned();
    for record in desk.store.load().unwrap() {
        assert!(!String::from_utf8_lossy(&record.value).contains(&secret));
    }

    let desk = desk.again().await;
    assert_eq!(desk.token(), token);
    admitted(&desk.access, Some(&bearer)).unwrap();

    // A file that was removed, since its token is kept elsewhere, is not made again.
    std::fs::remove_file(&path).unwrap();
    let desk = desk.again().await;
    assert!(!path.exists());
    admitted(&desk.access, Some(&bearer)).unwrap();

    // A store that was emptied finds the token that stands there.
    std::fs::write(&path, &token).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    drop(desk.access);
    let desk = Desk::on(Arc::new(Memory::new()), desk.dir).await;
    admitted(&desk.access, Some(&bearer)).unwrap();

    // What others may read, or is no token, is told.
    let Desk { access, store, dir } = desk;
    drop(access);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = open(dir.path(), Arc::clone(&store) as _).await;
    assert!(matches!(error, Err(AccessError::File(_))), "{error:?}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, "hello").unwrap();
    let error = open(dir.path(), Arc::clone(&store) as _).await;
    assert!(matches!(error, Err(AccessError::Token { .. })), "{error:?}");
}

#[tokio::test]
async fn a_stranger_learns_nothing_from_a_refusal() {
    let desk = Desk::open().await;
    let right: UserToken = desk.token().parse().unwrap();
    let bearer = |token: &UserToken| format!("Bearer {}", token.reveal());
    let wrong_secret = UserToken {
        id: right.id,
        secret: Secret::make().unwrap(),
    };
    let unknown = UserToken {
        id: TokenId::from_bits(99),
        secret: Secret::make().unwrap(),
    };
    let one = admitted(&desk.access, Some(&bearer(&wrong_secret))).unwrap_err();
    let other = admitted(&desk.access, Some(&bearer(&unknown))).unwrap_err();
    assert_eq!(one, other);
    assert_eq!(one.0, 401);
    for header in [
        None,
        Some(""),
        Some("Bearer"),
        Some("Bearer "),
        Some("Bearer eio_pat_x"),
        Some("Basic YWRtaW46YWRtaW4="),
    ] {
        let (status, why) = admitted(&desk.access, header).unwrap_err();
        assert_eq!(status, 401, "{header:?} {why}");
    }
    let loud = format!("bEaReR  {} ", right.reveal());
    admitted(&desk.access, Some(&loud)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_machines_join_at_once_with_a_token_for_a_hundred_and_no_more() {
    let desk = Arc::new(Desk::open().await);
    let life = Duration::from_mins(1);
    let (token, _) = desk
        .access
        .create_join_token("test", 100, life)
        .await
        .unwrap();
    let token = Arc::new(token);
    let joins: Vec<_> = (0..101)
        .map(|_| {
            let (desk, token) = (Arc::clone(&desk), Arc::clone(&token));
            tokio::spawn(async move { desk.join(&token, &Key::make().unwrap()).await })
        })
        .collect();
    let mut ids = std::collections::BTreeSet::new();
    let mut refused = Vec::new();
    for join in joins {
        match join.await.unwrap() {
            Ok(joined) => assert!(ids.insert(joined.id), "two have one id"),
            Err(why) => refused.push(why),
        }
    }
    assert_eq!(ids.len(), 100);
    let bad = (StatusCode::UNAUTHORIZED, "bad_join_token".to_owned());
    assert_eq!(refused, [bad]);
}

#[tokio::test]
async fn a_token_that_is_none_lets_nobody_in_and_all_answers_are_alike() {
    let desk = Desk::open().await;
    let token = desk.join_token().await;
    let key = Key::make().unwrap();
    let first = desk.join(&token, &key).await.unwrap();
    // The answer was lost: the same key again.
    assert_eq!(desk.join(&token, &key).await.unwrap().id, first.id);
    let desk = desk.again().await;
    assert_eq!(desk.join(&token, &key).await.unwrap().id, first.id);
    let other = JoinToken {
        secret: Secret::make().unwrap(),
        ..token.clone()
    };
    let unknown = JoinToken {
        id: JoinTokenId::from_bits(9),
        ..token.clone()
    };
    for bad in [&token, &other, &unknown] {
        let refused = desk.join(bad, &Key::make().unwrap()).await.unwrap_err();
        let expected = (StatusCode::UNAUTHORIZED, "bad_join_token".to_owned());
        assert_eq!(refused, expected);
    }
    desk.access.forget_join_token(token.id).await.unwrap();
    assert!(desk.join(&token, &key).await.is_err());

    // All of that is in the audit log, and it is whole.
    let Desk { access, dir, .. } = desk;
    let folder = dir.path().join(crate::audited::FOLDER);
    drop(access);
    let text = std::fs::read_to_string(folder.join("audit-00000001.jsonl")).unwrap();
    let denied = text.lines().filter(|line| line.contains("\"denied\""));
    assert_eq!(denied.count(), 4, "{text}");
    assert!(!text.contains(&token.secret.reveal()));
    verify(&folder).unwrap();
}

/// Who has a certificate of that holder.
fn peer(access: &Access, holder: Holder, lasting: Duration) -> Peer {
    let life = Life {
        from: clock::now().wall,
        lasting,
    };
    let request = Key::make().unwrap().request().unwrap();
    let issued = access.0.keys.authority().issue(&request, holder, life);
    let issued = issued.unwrap();
    Peer {
        holder,
        serial: issued.serial,
        until: issued.until,
    }
}

#[tokio::test]
async fn nobody_registers_as_a_member_without_its_certificate() {
    let desk = Desk::open().await;
    let access = &desk.access;
    let near = "127.0.0.1:5".parse().unwrap();
    let far = "192.0.2.9:5".parse().unwrap();
    let hour = Duration::from_hours(1);
    let member = NodeId::from_bits(7);
    let proven = peer(access, Holder::Worker(member), hour);
    let register = async |shown: Option<&Peer>, from, id: u128| {
        let claim = Claim {
            shown,
            from: Some(from),
            id: Some(id),
        };
        access
            .admit_member(claim)
            .await
            .map_err(|error| error.code())
    };
    // Before it was ever seen with its certificate, nobody knows that it has one.
    assert_eq!(register(None, near, 7).await, Ok(()));
    assert_eq!(register(Some(&proven), far, 7).await, Ok(()));
    assert_eq!(register(None, near, 7).await, Err("wrong_identity"));
    assert_eq!(register(None, near, 8).await, Ok(()));
    assert_eq!(register(None, far, 8).await, Err("no_identity"));
    assert_eq!(
        register(Some(&proven), near, 8).await,
        Err("wrong_identity")
    );
    let cluster = peer(access, Holder::Cluster(ClusterId::from_bits(7)), hour);
    assert_eq!(
        register(Some(&cluster), far, 7).await,
        Err("wrong_identity")
    );
    let ended = Peer {
        until: Wall(clock::now().wall.0 - 1),
        ..proven.clone()
    };
    assert_eq!(register(Some(&ended), far, 7).await, Err("expired"));

    let mut revoked = access.revocations();
    access.revoke(7).await.unwrap();
    assert_eq!(revoked.recv().await.unwrap(), 7);
    assert_eq!(register(Some(&proven), far, 7).await, Err("revoked"));
    assert_eq!(register(None, near, 7).await, Err("wrong_identity"));
    let desk = desk.again().await;
    let claim = Claim {
        shown: Some(&proven),
        from: Some(far),
        id: Some(7),
    };
    let after = desk.access.admit_member(claim).await;
    assert_eq!(after, Err(NotAdmitted::Revoked));
}

#[tokio::test]
async fn in_memory_everybody_of_this_machine_may_and_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        tier: Tier::Root,
        store: StoreKind::Memory,
        admin_token: dir.path().join(ADMIN_TOKEN),
        insecure: false,
        places: Vec::new(),
        rates: RateOptions::default(),
    };
    let keys = Keys::open(StoreKind::Memory, dir.path(), Tier::Root, names(&[], None)).unwrap();
    let audit = Audit::open(StoreKind::Memory, dir.path(), Tier::Root).unwrap();
    let store = Arc::new(Memory::new());
    let access = Access::open(settings, store, Arc::new(keys), audit)
        .await
        .unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let from = |address: &str| {
        let mut request = HttpRequest::get("/api/v1/jobs").body(()).unwrap();
        let address = rest::guard::From(address.parse().unwrap());
        request.extensions_mut().insert(address);
        let need = Need::Right(model::access::Verb::Read, Realm::Jobs);
        access.admit(need, &request.into_parts().0)
    };
    assert!(from("127.0.0.1:9").is_ok());
    assert!(from("[::ffff:127.0.0.1]:9").is_ok());
    assert_eq!(from("192.0.2.1:9").unwrap_err().problem.status, 401);
}

/// What the guard says to a reader of jobs with that token, from there.
fn asks(access: &Access, token: &str, from: &str) -> Result<Caller, rest::ApiError> {
    let need = Need::Right(model::access::Verb::Read, Realm::Jobs);
    access.admit(need, &reader(token, from))
}

/// The request of a reader of jobs.
fn reader(token: &str, from: &str) -> Parts {
    let mut request = HttpRequest::get("/api/v1/jobs").body(()).unwrap();
    let bearer = format!("Bearer {}", token.trim()).parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    let from = rest::guard::From(from.parse().unwrap());
    request.extensions_mut().insert(from);
    request.into_parts().0
}

#[tokio::test]
async fn ten_thousand_wrong_tokens_learn_nothing_and_lock_nobody_out() {
    let desk = Desk::open().await;
    let (access, right) = (&desk.access, desk.token());
    let known: UserToken = right.parse().unwrap();
    let mut answers = BTreeMap::<(u16, String, bool), u32>::new();
    for number in 0..10_000_u128 {
        // Half of them know the id of a token that there is.
        let id = if number % 2 == 0 {
            known.id
        } else {
            TokenId::from_bits(number)
        };
        let secret = Secret::make().unwrap();
        let wrong = UserToken { id, secret }.reveal();
        let refused = asks(access, &wrong, "192.0.2.66:9").unwrap_err();
        let waits = refused.retry_after.is_some();
        let answer = (
            refused.problem.status,
            refused.problem.detail.clone(),
            waits,
        );
        *answers.entry(answer).or_default() += 1;
        if number % 100 == 0 {
            asks(access, &right, "192.0.2.66:9").unwrap();
            asks(access, &right, "192.0.2.67:9").unwrap();
        }
    }
    let [(denied, tries), (late, _)] = answers.iter().collect::<Vec<_>>()[..] else {
        panic!("two answers, whatever was wrong: {answers:?}");
    };
    assert_eq!(
        (denied.0, denied.2, late.0, late.2),
        (401, false, 429, true)
    );
    // Two seconds' worth, and what the test's own time allows.
    assert!((20..2_000).contains(tries), "{answers:?}");
    // Another address has its own tries.
    let wrong = UserToken {
        id: known.id,
        secret: Secret::make().unwrap(),
    };
    let other = asks(access, &wrong.reveal(), "192.0.2.67:9").unwrap_err();
    assert_eq!(other.problem.status, 401);
    let refusals = access.0.rates.refused.with_label_values(&["failure"]);
    assert_eq!(refusals.get(), 10_000 - u64::from(*tries));
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_again_and_recorded_once() {
    let dir = tempfile::tempdir().unwrap();
    let slow = RateOptions {
        administrators: Rate::per_second(5).unwrap(),
        ..RateOptions::default()
    };
    let access = with_rates(dir.path(), Arc::new(Memory::new()), slow).await;
    let access = access.unwrap();
    let token = std::fs::read_to_string(dir.path().join(ADMIN_TOKEN)).unwrap();
    // To be named in the audit log after a refusal costs nothing.
    for _ in 0..100 {
        let named = access.known(&reader(&token, "192.0.2.1:9")).unwrap();
        assert_eq!(named.user.unwrap().as_str(), "admin");
    }
    let refused: Vec<_> = (0..100)
        .filter_map(|_| asks(&access, &token, "192.0.2.1:9").err())
        .collect();
    assert!((80..=90).contains(&refused.len()), "{}", refused.len());
    for refusal in &refused {
        assert_eq!(
            (refusal.problem.status, refusal.retry_after),
            (429, Some(1))
        );
        assert!(refusal.problem.detail.contains("admin"), "{refusal:?}");
    }
    // It is the user that is counted, wherever it asks from.
    asks(&access, &token, "192.0.2.2:9").unwrap_err();
    let registry = Registry::new();
    access.count(&registry).unwrap();
    let families = registry.gather();
    let shown: Vec<_> = families.iter().map(MetricFamily::name).collect();
    assert_eq!(
        shown,
        ["edgeio_rate_identities", "edgeio_rate_refusals_total"]
    );
    drop(access);
    let log = dir.path().join(crate::audited::FOLDER);
    let text = std::fs::read_to_string(log.join("audit-00000001.jsonl")).unwrap();
    let lines = text.lines().filter(|line| line.contains("ask too often"));
    assert_eq!(lines.count(), 1, "{text}");
}

#[tokio::test]
async fn a_body_that_proves_something_is_not_looked_at_after_too_many_wrong_ones() {
    let desk = Desk::open().await;
    let token = desk.join_token().await;
    let wrong = JoinToken {
        secret: Secret::make().unwrap(),
        ..token.clone()
    };
    let key = Key::make().unwrap();
    let mut refused = (StatusCode::UNAUTHORIZED, String::new());
    for _ in 0..1_000 {
        refused = desk.join(&wrong, &key).await.unwrap_err();
        if refused.0 == StatusCode::TOO_MANY_REQUESTS {
            break;
        }
        assert_eq!(refused.1, "bad_join_token");
    }
    let too_many = StatusCode::TOO_MANY_REQUESTS;
    assert_eq!(refused, (too_many, "too_many_requests".to_owned()));
    let right = desk.join(&token, &key).await.unwrap_err();
    assert_eq!(right.0, too_many, "it is not looked at");
    // From elsewhere it is.
    let body = JoinRequest {
        token_id: token.id,
        secret: token.secret.reveal(),
        request: key.request().unwrap().to_pem(),
    };
    let mut request = post("/api/v1/join", serde_json::to_vec(&body).unwrap());
    let from = rest::guard::From("192.0.2.2:9".parse().unwrap());
    request.extensions_mut().insert(from);
    assert_eq!(desk.ask(request).await.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn when_a_token_was_used_is_known_after_a_restart_and_forgotten_with_it() {
    let desk = Desk::open().await;
    let admin: UserToken = desk.token().parse().unwrap();
    assert_eq!(desk.access.last_use(admin.id), None);
    let before = clock::now().wall;
    asks(&desk.access, &desk.token(), "192.0.2.1:9").unwrap();
    let used = desk.access.last_use(admin.id).unwrap();
    assert!(used >= before);
    // It is stored at the end, whatever the time.
    let shutdown = CancellationToken::new();
    let storing = tokio::spawn(desk.access.clone().store_uses(shutdown.clone()));
    shutdown.cancel();
    storing.await.unwrap();
    let desk = desk.again().await;
    assert_eq!(desk.access.last_use(admin.id), Some(used));
    let uses = |desk: &Desk| {
        let records = desk.store.load().unwrap();
        records
            .iter()
            .filter(|record| record.table == "token_use")
            .count()
    };
    assert_eq!(uses(&desk), 1);
    let revoke = AccessRequest::Revoke { token: admin.id };
    let by = Credential::Password(model::name::first_user());
    desk.access.ask(&by, &revoke).await.unwrap();
    desk.access.put_uses().await;
    assert_eq!((uses(&desk), desk.access.last_use(admin.id)), (0, None));
}

/// A store whose commits are there, and fail all the same.
#[derive(Debug)]
struct Unsure(Memory, std::sync::atomic::AtomicBool);

impl Store for Unsure {
    fn commit(&self, ops: &[store::Op]) -> Result<(), StoreError> {
        self.0.commit(ops)?;
        if self.1.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(StoreError::Closed);
        }
        Ok(())
    }

    fn load(&self) -> Result<Vec<store::Record>, StoreError> {
        self.0.load()
    }

    fn get(&self, table: store::Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(table, key)
    }

    fn range(&self, page: &store::Page<'_>) -> Result<Vec<store::Record>, StoreError> {
        self.0.range(page)
    }
}

#[tokio::test]
async fn what_a_failed_commit_left_behind_is_told_to_those_who_act_on_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Unsure(Memory::new(), false.into()));
    let access = open(dir.path(), Arc::clone(&store) as _).await.unwrap();
    store.1.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut administrators = access.administrators();
    assert_eq!(administrators.borrow_and_update().len(), 1);
    let by = Credential::Password(model::name::first_user());
    let quota = Quota {
        jobs: Some(7),
        ..Quota::default()
    };
    let tenant = TenantPath::new("university").unwrap();
    let ask = AccessRequest::RequestTenant {
        tenant: tenant.clone(),
        quota,
        policy: model::access::Policy::default(),
    };
    let refused = access.ask(&by, &ask).await.unwrap_err();
    assert!(matches!(refused, NotChanged::Unavailable));
    assert!(access.quotas().contains(&(tenant, quota)));
    let make = AccessRequest::CreateToken {
        minted: minted(&mint().unwrap()),
        scope: model::access::Scope::FULL,
        expires_at: None,
    };
    access.ask(&by, &make).await.unwrap_err();
    assert_eq!(administrators.borrow_and_update().len(), 2);
}

#[tokio::test]
async fn an_answer_that_goes_on_breaks_off_soon_after_its_token_was_revoked() {
    use futures_util::StreamExt as _;
    let desk = Desk::open().await;
    let admin: UserToken = desk.token().parse().unwrap();
    let endless = async || {
        let words = futures_util::stream::once(async { Ok::<_, std::io::Error>("begun\n") });
        Body::from_stream(words.chain(futures_util::stream::pending()))
    };
    let follow = rest::op("Follow")
        .may(model::access::Verb::Read, Realm::Jobs)
        .text("text/plain", "It goes on");
    let api = rest::Api::new("", "").get("/follow", endless, follow);
    let router = api.serve((), Arc::new(desk.access.clone()));
    let bearer = format!("Bearer {}", admin.reveal());
    let request = HttpRequest::get("/follow").header("authorization", bearer);
    let response = router.oneshot(request.body(Body::empty()).unwrap()).await;
    let response = response.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut body = response.into_body().into_data_stream();
    assert_eq!(body.next().await.unwrap().unwrap(), "begun\n");
    let revoke = AccessRequest::Revoke { token: admin.id };
    let by = Credential::Password(model::name::first_user());
    desk.access.ask(&by, &revoke).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(5), body.next()).await;
    let error = ended.unwrap().unwrap().unwrap_err();
    assert!(error.to_string().contains("may not read"), "{error}");
}

#[tokio::test]
async fn the_token_of_prometheus_reads_metrics_and_nothing_else() {
    use std::os::unix::fs::PermissionsExt as _;
    let desk = Desk::open().await;
    let file = desk.dir.path().join("scrape.token");
    let give = |text: &str, mode: u32| {
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        desk.access.scraped_by(Some(&file))
    };
    let token = "0123456789abcdef0123456789abcdef";
    for bad in [
        "",
        "too-short\n",
        &format!("{token} {token}"),
        &"x".repeat(201),
    ] {
        let error = give(bad, 0o600).unwrap_err().to_string();
        assert!(error.contains("openssl rand -hex 32"), "{bad:?}: {error}");
    }
    assert!(matches!(
        give(token, 0o640),
        Err(AccessError::ScrapeFile(_))
    ));
    let nowhere = desk.access.scraped_by(Some(&desk.dir.path().join("none")));
    assert!(matches!(nowhere, Err(AccessError::ScrapeToken { .. })));

    let system = Need::Right(model::access::Verb::Read, Realm::System);
    let asked = |path: &str, need: Need, token: &str| {
        let bearer = format!("Bearer {token}");
        let request = HttpRequest::get(path).header("authorization", bearer);
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let refused = |error: rest::ApiError| error.problem.status;
        desk.access.admit(need, &parts).map(drop).map_err(refused)
    };
    assert_eq!(asked("/metrics", system, token), Err(401));
    give(&format!("{token}\n"), 0o600).unwrap();
    assert_eq!(asked("/metrics", system, token), Ok(()));
    assert_eq!(
        asked("/metrics", system, &token.replace('0', "1")),
        Err(401)
    );
    assert_eq!(asked("/api/v1/brake", system, token), Err(401));
    let jobs = Need::Right(model::access::Verb::Read, Realm::Jobs);
    assert_eq!(asked("/api/v1/jobs", jobs, token), Err(401));
    let change = Need::Right(model::access::Verb::Change, Realm::System);
    assert_eq!(asked("/metrics", change, token), Err(401));
    assert_eq!(asked("/api/v1/whoami", Need::Account, token), Err(401));
    // A user's does as before.
    assert_eq!(asked("/metrics", system, desk.token().trim()), Ok(()));
}
