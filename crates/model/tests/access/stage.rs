//! A book with an administrator, asked as a core asks it.

use model::access::{
    Access, AccessAnswer, AccessBook, AccessRequest, AccessWrite, Credential, Entry, Grant, Minted,
    PasswordHash, Policy, Quota, Resource, Role, Scope, TenantPath, Token, Verb,
};
use model::id::TokenId;
use model::name::Name;
use model::time::Wall;

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn path(text: &str) -> TenantPath {
    TenantPath::new(text).unwrap()
}

pub(crate) fn password() -> PasswordHash {
    PasswordHash("$argon2id$…".to_owned())
}

pub(crate) fn minted(number: u128) -> Minted {
    Minted {
        id: TokenId::from_bits(number),
        hash: [number as u8; 32],
    }
}

/// Who has that user's password.
pub(crate) fn user(text: &str) -> Credential {
    Credential::Password(name(text))
}

pub(crate) fn token(number: u128) -> Credential {
    Credential::Token(TokenId::from_bits(number))
}

#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) book: AccessBook,
    pub(crate) at: Wall,
}

impl Stage {
    /// The first start: `admin` with token 1.
    pub(crate) fn new() -> Self {
        let mut book = AccessBook::default();
        for write in book.administrator(minted(1), Wall(0)) {
            book.apply(&write);
        }
        Self { book, at: Wall(0) }
    }

    /// Asks, and applies what is decided.
    pub(crate) fn ask(
        &mut self,
        who: &Credential,
        request: &AccessRequest,
    ) -> Result<Entry, String> {
        let subject = self.book.subject(who, self.at).ok_or("401")?;
        let (writes, answer) = self.book.decide(&subject, self.at, request);
        for write in &writes {
            self.book.apply(write);
        }
        match answer {
            AccessAnswer::Done(entry) => Ok(entry),
            AccessAnswer::Refused(refusal) => {
                assert_eq!(writes, []);
                Err(refusal.to_string())
            }
        }
    }

    pub(crate) fn access(&self, who: &Credential, verb: Verb, resource: &Resource) -> Access {
        let subject = self.book.subject(who, self.at).unwrap();
        self.book.authorize(&subject, verb, resource)
    }

    pub(crate) fn may(&self, who: &Credential, verb: Verb, resource: &Resource) -> bool {
        self.access(who, verb, resource) == Access::Granted
    }

    /// An active tenant with that quota.
    pub(crate) fn tenant(&mut self, tenant: &str, quota: Quota) {
        self.ask(&user("admin"), &request_tenant(tenant, quota))
            .unwrap();
    }

    /// An active user of the root with these roles.
    pub(crate) fn user(&mut self, user: &str, roles: &[(&str, Role)]) {
        let (name, home) = (name(user), TenantPath::root());
        self.apply(&AccessWrite::User(model::access::User {
            name,
            home,
            state: model::access::UserState::Active,
            password: Some(password()),
            roles: roles.iter().map(|(at, role)| (path(at), *role)).collect(),
            created_at: self.at,
        }));
    }

    /// A token of that user and scope, which never expires.
    pub(crate) fn token(&mut self, number: u128, user: &str, role: Role, tenant: Option<&str>) {
        let scope = Scope {
            role,
            tenant: tenant.map(path),
        };
        let Minted { id, hash } = minted(number);
        self.apply(&AccessWrite::Token(Token {
            id,
            hash,
            grant: Grant::User {
                name: name(user),
                scope,
            },
            created_at: self.at,
            expires_at: None,
        }));
    }

    fn apply(&mut self, write: &AccessWrite) {
        self.book.apply(write);
    }
}

pub(crate) fn request_tenant(tenant: &str, quota: Quota) -> AccessRequest {
    AccessRequest::RequestTenant {
        tenant: path(tenant),
        quota,
        policy: Policy::default(),
    }
}

pub(crate) fn request_user(user: &str, home: &str) -> AccessRequest {
    AccessRequest::RequestUser {
        name: name(user),
        home: path(home),
        password: password(),
    }
}

/// A quota of jobs only.
pub(crate) fn jobs(jobs: u64) -> Quota {
    Quota {
        jobs: Some(jobs),
        ..Quota::default()
    }
}
