//! The handlers on an owner whose store is in memory, asked as clients ask.

mod lifecycle;
mod matrix;
mod secrets;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use identity::{Secret, UserToken};
use model::access::{Credential, Minted, PasswordHash, Role, Scope, TenantPath};
use model::id::TokenId;
use model::name::{Name, first_user};
use serde_json::Value;
use store::{Memory, Store};
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::*;
use crate::access::{ADMIN_TOKEN, RateOptions, Settings};
use crate::audited::Audit;
use crate::keys::Keys;
use crate::{StoreKind, Tier};

/// An orchestrator's users, and the routes to them.
struct Rig {
    access: Access,
    store: Arc<Memory>,
    router: Router,
    admin: String,
    _dir: TempDir,
}

/// An answer.
struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Reply {
    /// The status, and the code of a problem.
    fn outcome(&self) -> String {
        let code = self.body["code"].as_str().unwrap_or_default();
        format!("{} {code}", self.status).trim_end().to_owned()
    }

    fn text(&self, field: &str) -> String {
        self.body[field].as_str().unwrap().to_owned()
    }

    /// One field of each row of a list.
    fn column(&self, field: &str) -> Vec<&str> {
        let rows = self.body["items"].as_array().unwrap();
        rows.iter()
            .map(|row| row[field].as_str().unwrap())
            .collect()
    }
}

fn tenant(path: &str) -> TenantPath {
    TenantPath::new(path).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn keys() -> Arc<Keys> {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::open(StoreKind::Memory, dir.path(), Tier::Root, vec![]);
    Arc::new(keys.unwrap())
}

impl Rig {
    async fn new(kind: StoreKind) -> Self {
        Self::with(kind, keys()).await
    }

    async fn with(kind: StoreKind, keys: Arc<Keys>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Memory::default());
        let settings = Settings {
            tier: Tier::Root,
            store: kind,
            admin_token: dir.path().join(ADMIN_TOKEN),
            insecure: false,
            places: vec![],
            rates: RateOptions::default(),
        };
        let audit = Audit::open(StoreKind::Memory, dir.path(), Tier::Root).unwrap();
        let opened = Access::open(settings, Arc::clone(&store) as Arc<dyn Store>, keys, audit);
        let access = opened.await.unwrap();
        let admin = std::fs::read_to_string(dir.path().join(ADMIN_TOKEN)).unwrap_or_default();
        Self {
            router: api(access.clone()).serve((), Arc::new(access.clone())),
            access,
            store,
            admin: admin.trim().to_owned(),
            _dir: dir,
        }
    }

    /// Sends a request: `"GET /api/v1/users"`, with a token if it is not empty, and a body if it is not null.
    async fn ask(&self, token: &str, what: &str, body: Value) -> Reply {
        let (method, path) = what.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = if body.is_null() {
            Body::empty()
        } else {
            request = request.header("content-type", "application/json");
            Body::from(body.to_string())
        };
        let response = self
            .router
            .clone()
            .oneshot(request.body(body).unwrap())
            .await;
        let response = response.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 1 << 20).await.unwrap();
        Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
        }
    }

    async fn get(&self, token: &str, path: &str) -> Reply {
        self.ask(token, &format!("GET /api/v1/{path}"), Value::Null)
            .await
    }

    async fn post(&self, token: &str, path: &str, body: Value) -> Reply {
        self.ask(token, &format!("POST /api/v1/{path}"), body).await
    }

    /// Has the first administrator ask for something, without HTTP.
    async fn decide(&self, request: AccessRequest) {
        let answer = self
            .access
            .ask(&Credential::Password(first_user()), &request)
            .await
            .unwrap();
        assert!(matches!(answer, AccessAnswer::Done(_)), "{answer:?}");
    }

    /// An active tenant.
    async fn tenant(&self, path: &str) {
        self.decide(AccessRequest::RequestTenant {
            tenant: tenant(path),
            quota: model::access::Quota::default(),
            policy: model::access::Policy::default(),
        })
        .await;
    }

    /// An account that waits for approval, with a password that nobody has.
    async fn applicant(&self, user: &str, home: &str) {
        self.decide(AccessRequest::RequestUser {
            name: name(user),
            home: tenant(home),
            password: PasswordHash("none".to_owned()),
        })
        .await;
    }

    /// An active user with that role at its home; answers a token that may all that it may.
    async fn user(&self, user: &str, home: &str, role: Option<Role>) -> String {
        self.applicant(user, home).await;
        let approve = AccessRequest::ApproveUser {
            user: name(user),
            role,
        };
        self.decide(approve).await;
        self.token(user, Scope::FULL).await.reveal()
    }

    async fn token(&self, user: &str, scope: Scope) -> UserToken {
        let token = UserToken {
            id: TokenId::from_bits(clock::mint().unwrap()),
            secret: Secret::make().unwrap(),
        };
        let create = AccessRequest::CreateToken {
            minted: Minted {
                id: token.id,
                hash: token.secret.hash(),
            },
            scope,
            expires_at: None,
        };
        let credential = Credential::Password(name(user));
        let answer = self.access.ask(&credential, &create).await.unwrap();
        assert_eq!(answer, AccessAnswer::Done(Entry::Token(token.id)));
        token
    }
}
