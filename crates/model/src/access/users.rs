//! Requests about users and their tokens.

use std::collections::BTreeMap;

use super::authorize::Denied;
use super::request::{AccessAnswer, AccessWrite, Entry, Minted, Refusal};
use super::role::{Resource, Role, Verb};
use super::tenant::{TenantPath, TenantState};
use super::tenants::room;
use super::user::{Grant, PasswordHash, Scope, Subject, Token, User, UserState};
use super::{AccessBook, Decided};
use crate::id::TokenId;
use crate::name::{Name, first_user};
use crate::time::Wall;

impl AccessBook {
    /// The user `admin`, an administrator of the root tenant whatever it was before, with a token that never expires: how a
    /// first start, or who has the machine, gets in.
    pub fn administrator(&self, minted: Minted, at: Wall) -> Vec<AccessWrite> {
        let name = first_user();
        let known = self.users.get(&name).cloned();
        let mut user = known.unwrap_or_else(|| new_user(&name, &TenantPath::root(), None, at));
        user.state = UserState::Active;
        user.roles.insert(TenantPath::root(), Role::Admin);
        let grant = Grant::User {
            name,
            scope: Scope::FULL,
        };
        vec![
            AccessWrite::User(user),
            AccessWrite::Token(minted.token(grant, at, None)),
        ]
    }

    pub(super) fn request_user(
        &self,
        name: &Name,
        home: &TenantPath,
        password: &PasswordHash,
        at: Wall,
    ) -> Decided {
        self.free(name)?;
        self.open(home).shown(false).granted(home)?;
        let waits = |user: &&User| user.state == UserState::Requested && user.home == *home;
        let waiting = self.users().filter(waits).count();
        room(waiting, home, "accounts that wait for approval")?;
        let user = new_user(name, home, Some(password), at);
        Ok(written(user))
    }

    pub(super) fn accept_invitation(
        &self,
        subject: &Subject<'_>,
        name: &Name,
        password: &PasswordHash,
        at: Wall,
    ) -> Decided {
        let &Subject::Invited {
            token,
            tenant,
            role,
        } = subject
        else {
            return Err(Refusal::NoInvitation);
        };
        self.free(name)?;
        self.open(tenant).granted(tenant)?;
        let mut user = new_user(name, tenant, Some(password), at);
        user.state = UserState::Active;
        give(&mut user, tenant, role);
        let (mut writes, answer) = written(user);
        writes.push(AccessWrite::Forget(Entry::Token(token)));
        Ok((writes, answer))
    }

    pub(super) fn approve_user(
        &self,
        subject: &Subject<'_>,
        name: &Name,
        role: Option<Role>,
    ) -> Decided {
        let mut user = self.governed_user(subject, Verb::Approve, name)?.clone();
        match user.state {
            UserState::Requested => {}
            UserState::Active => return Ok((Vec::new(), AccessAnswer::Done(name.into()))),
            UserState::Suspended => return Err(Refusal::Suspended(name.into())),
        }
        user.state = UserState::Active;
        let home = user.home.clone();
        give(&mut user, &home, role);
        Ok(written(user))
    }

    pub(super) fn set_role(
        &self,
        subject: &Subject<'_>,
        name: &Name,
        tenant: &TenantPath,
        role: Option<Role>,
    ) -> Decided {
        self.authorize(subject, Verb::Change, &Resource::Users(tenant.clone()))
            .granted(tenant)?;
        match self.tenants.get(tenant).map(|tenant| &tenant.state) {
            None => return Err(Refusal::NotFound(tenant.into())),
            Some(TenantState::Requested { .. }) => {
                return Err(Refusal::Requested(tenant.into()));
            }
            Some(TenantState::Active | TenantState::Suspended) => {}
        }
        let known = self.users.get(name);
        let mut user = known.ok_or_else(|| Refusal::NotFound(name.into()))?.clone();
        if user.state == UserState::Requested {
            return Err(Refusal::Requested(name.into()));
        }
        give(&mut user, tenant, role);
        self.keeps_an_administrator(name, user.is_administrator())?;
        Ok(written(user))
    }

    /// Suspends an active account, or makes a suspended one active.
    pub(super) fn turn_user(
        &self,
        subject: &Subject<'_>,
        name: &Name,
        state: UserState,
    ) -> Decided {
        let mut user = self.governed_user(subject, Verb::Change, name)?.clone();
        if user.state == UserState::Requested {
            return Err(Refusal::Requested(name.into()));
        }
        user.state = state;
        self.keeps_an_administrator(name, user.is_administrator())?;
        Ok(written(user))
    }

    pub(super) fn delete_user(&self, subject: &Subject<'_>, name: &Name) -> Decided {
        self.governed_user(subject, Verb::Delete, name)?;
        self.keeps_an_administrator(name, false)?;
        let mut writes = vec![AccessWrite::Forget(name.into())];
        let tokens = self.tokens().filter(|token| token.is_of(name));
        writes.extend(tokens.map(|token| AccessWrite::Forget(Entry::Token(token.id))));
        // Else a later user of this name would be the administrator of what this one asked for.
        let requested = self
            .tenants()
            .filter(|tenant| matches!(&tenant.state, TenantState::Requested { by } if by == name));
        writes.extend(requested.map(|tenant| AccessWrite::Forget((&tenant.path).into())));
        Ok((writes, AccessAnswer::Done(name.into())))
    }

    pub(super) fn set_password(
        &self,
        subject: &Subject<'_>,
        name: &Name,
        password: &PasswordHash,
    ) -> Decided {
        if subject.user()?.name == *name {
            subject.full()?;
        } else {
            // Who could set the password of an administrator would be one.
            self.authorize(subject, Verb::Change, &Resource::Users(TenantPath::root()))
                .granted(name)?;
        }
        let known = self.users.get(name);
        let mut user = known.ok_or_else(|| Refusal::NotFound(name.into()))?.clone();
        user.password = Some(password.clone());
        Ok(written(user))
    }

    pub(super) fn create_token(
        &self,
        subject: &Subject<'_>,
        minted: Minted,
        scope: &Scope,
        expires_at: Option<Wall>,
        at: Wall,
    ) -> Decided {
        let user = subject.full()?;
        let tokens = self.tokens().filter(|token| token.is_of(&user.name));
        if tokens.count() >= Self::TOKENS {
            return Err(Refusal::TooManyTokens {
                user: user.name.clone(),
                limit: Self::TOKENS,
            });
        }
        let grant = Grant::User {
            name: user.name.clone(),
            scope: scope.clone(),
        };
        issued(minted.token(grant, at, expires_at))
    }

    pub(super) fn invite(
        &self,
        subject: &Subject<'_>,
        invitation: Token,
        tenant: &TenantPath,
    ) -> Decided {
        self.authorize(subject, Verb::Create, &Resource::Users(tenant.clone()))
            .granted(tenant)?;
        self.open(tenant).granted(tenant)?;
        let waits = |token: &&Token| token.invites_to() == Some(tenant);
        let waiting = self.tokens().filter(waits).count();
        room(waiting, tenant, "invitations that nobody has accepted")?;
        issued(invitation)
    }

    pub(super) fn revoke(&self, subject: &Subject<'_>, id: TokenId) -> Decided {
        let user = subject.user()?;
        let missing = || Refusal::NotFound(Entry::Token(id));
        let token = self.tokens.get(&id).ok_or_else(missing)?;
        let tenant = match &token.grant {
            Grant::Invitation { tenant, .. } => Some(tenant),
            Grant::User { name, .. } if *name == user.name => None,
            Grant::User { name, .. } => Some(&self.users.get(name).ok_or_else(missing)?.home),
        };
        if let Some(tenant) = tenant {
            self.authorize(subject, Verb::Delete, &Resource::Users(tenant.clone()))
                .granted(Entry::Token(id))?;
        } else if !subject.is_by(id) {
            subject.full()?;
        }
        Ok((
            vec![AccessWrite::Forget(Entry::Token(id))],
            AccessAnswer::Done(Entry::Token(id)),
        ))
    }

    /// The user whose account the subject may do this to.
    fn governed_user(
        &self,
        subject: &Subject<'_>,
        verb: Verb,
        name: &Name,
    ) -> Result<&User, Refusal> {
        let user = self.users.get(name);
        let user = user.ok_or_else(|| Refusal::NotFound(name.into()))?;
        self.authorize(subject, verb, &Resource::Users(user.home.clone()))
            .granted(name)?;
        Ok(user)
    }

    fn free(&self, name: &Name) -> Result<(), Refusal> {
        if self.users.contains_key(name) {
            return Err(Refusal::Exists(name.into()));
        }
        Ok(())
    }

    /// Whether an administrator is left when this user is one, or is not.
    fn keeps_an_administrator(&self, name: &Name, is_one: bool) -> Result<(), Refusal> {
        let mut others = self.users().filter(|user| user.name != *name);
        let was = self.users.get(name).is_some_and(User::is_administrator);
        if was && !is_one && !others.any(User::is_administrator) {
            return Err(Refusal::LastAdministrator(name.clone()));
        }
        Ok(())
    }
}

impl<'a> Subject<'a> {
    /// The user, if it is one.
    pub(super) fn user(&self) -> Result<&'a User, Refusal> {
        match self {
            Self::User { user, .. } => Ok(user),
            Self::Stranger | Self::Invited { .. } => Err(Denied::NoAccount.into()),
        }
    }

    /// The user, if nothing limits the credential: what makes tokens and passwords must be as good as these.
    fn full(&self) -> Result<&'a User, Refusal> {
        match self {
            Self::User { user, scope, .. } if scope.is_full() => Ok(user),
            Self::User { .. } => Err(Denied::Scope.into()),
            Self::Stranger | Self::Invited { .. } => Err(Denied::NoAccount.into()),
        }
    }

    /// Whether this very token came with the request.
    fn is_by(&self, id: TokenId) -> bool {
        matches!(self, Self::User { token: Some(token), .. } if *token == id)
    }
}

impl Token {
    /// Whether it is that user's.
    fn is_of(&self, user: &Name) -> bool {
        matches!(&self.grant, Grant::User { name, .. } if name == user)
    }

    /// The tenant, if it is an invitation.
    fn invites_to(&self) -> Option<&TenantPath> {
        match &self.grant {
            Grant::User { .. } => None,
            Grant::Invitation { tenant, .. } => Some(tenant),
        }
    }
}

impl Minted {
    /// The token of that grant.
    pub(super) fn token(self, grant: Grant, at: Wall, expires_at: Option<Wall>) -> Token {
        Token {
            id: self.id,
            hash: self.hash,
            grant,
            created_at: at,
            expires_at,
        }
    }
}

fn new_user(name: &Name, home: &TenantPath, password: Option<&PasswordHash>, at: Wall) -> User {
    User {
        name: name.clone(),
        home: home.clone(),
        state: UserState::Requested,
        password: password.cloned(),
        roles: BTreeMap::new(),
        created_at: at,
    }
}

fn give(user: &mut User, tenant: &TenantPath, role: Option<Role>) {
    match role {
        Some(role) => user.roles.insert(tenant.clone(), role),
        None => user.roles.remove(tenant),
    };
}

fn written(user: User) -> (Vec<AccessWrite>, AccessAnswer) {
    let answer = AccessAnswer::Done((&user.name).into());
    (vec![AccessWrite::User(user)], answer)
}

fn issued(token: Token) -> Decided {
    if token.is_expired(token.created_at) {
        return Err(Refusal::Past);
    }
    let id = token.id;
    Ok((
        vec![AccessWrite::Token(token)],
        AccessAnswer::Done(Entry::Token(id)),
    ))
}
