//! Who may do what here, and who may join: the owner of users, tokens, tenants and members.
//!
//! # Flow
//! A change is decided on what is committed, stored, and only then seen; changes are made one after another. Everybody
//! else reads the book that was committed last, so a request is let through or refused without waiting for anybody.
//!
//! # Open and locked
//! A store that outlives the process has users: the first start makes the administrator's token and writes it to
//! `admin.token` in the data directory, readable by its owner alone. Whoever can write that file has the machine, so a token
//! that stands there and is not known, since the store was emptied or the file was put there, is an administrator's as well. A
//! store in memory has nowhere to keep users: then everybody on this machine may do everything, and nobody else anything
//! unless plain text was allowed.

mod admission;
mod core;
mod expiry;
mod guard;
mod rates;
mod record;
mod scraper;
mod secrets;
mod uses;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use identity::authority::{Authority, IssueError, Life};
use identity::files::{self, FileError, Readers};
use identity::{Holder, JoinToken, Joining, Request, Secret, UserToken};
use model::access::{
    AccessAnswer, AccessBook, AccessRequest, AccessWrite, Credential, Entry, Grant, Minted, Quota,
    Subject, TenantPath, TenantState, User,
};
use model::id::{ClusterId, JoinTokenId, NodeId, TokenId};
use model::joining::{JoinBook, JoinGrant, JoinRefusal, JoinWrite};
use model::secret::{SecretBook, SecretRefusal};
use model::time::Wall;
use prometheus::Registry;
use protocol::message::uplink::Administrator;
use protocol::stored::RecordError;
use store::{Store, StoreError};
use subtle::ConstantTimeEq as _;
use tokio::sync::{Mutex, broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::audited::Audit;
use crate::clock::{self, NoRandom};
use crate::keys::Keys;
use crate::{Core, Handle, SUPERSEDED, StoreKind, Tier};

pub use admission::{Claim, NotAdmitted};
use rates::Rates;
pub use rates::{Rate, RateError, RateOptions};
use record::Write;
pub use secrets::NotTaken;
use uses::Uses;

/// The administrator's token in the data directory.
pub const ADMIN_TOKEN: &str = "admin.token";
/// How long a certificate of a member lasts.
pub const CERTIFICATE: Duration = Duration::from_hours(24);
/// How long after its end it can still be renewed.
pub const MAX_OFFLINE: Duration = Duration::from_hours(24 * 30);
/// Revocations that a slow listener may be behind; then it looks at all of its connections.
const REVOCATIONS: usize = 256;

/// What is committed.
#[derive(Debug, Clone, Default)]
pub struct Book {
    /// Users, tokens, tenants.
    pub access: AccessBook,
    /// Join tokens and members.
    pub joins: JoinBook,
    /// Secrets.
    pub secrets: SecretBook,
}

impl Book {
    /// Who asks. One that the guard let through a moment ago, and that was revoked since, is a stranger.
    pub(crate) fn subject(&self, credential: &Credential, at: Wall) -> Subject<'_> {
        let subject = self.access.subject(credential, at);
        subject.unwrap_or(Subject::Stranger)
    }
}

/// How the ports and the store were set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which kind of members there are.
    pub tier: Tier,
    /// Whether there is a place to keep users.
    pub store: StoreKind,
    /// Where the administrator's token is written.
    pub admin_token: PathBuf,
    /// Plain text from other machines was allowed: they join without proof, too.
    pub insecure: bool,
    /// Where members dial: `host:port`, the likeliest first.
    pub places: Vec<String>,
    /// How often each may ask.
    pub rates: RateOptions,
}

/// The owner; clones are the same one.
#[derive(Debug, Clone)]
pub struct Access(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    store: Arc<dyn Store>,
    keys: Arc<Keys>,
    audit: Audit,
    rates: Rates,
    uses: Uses,
    core: OnceLock<core::Core>,
    book: RwLock<Arc<Book>>,
    /// One change at a time.
    turn: Mutex<()>,
    revoked: broadcast::Sender<u128>,
    quotas: watch::Sender<Vec<(TenantPath, Quota)>>,
    administrators: watch::Sender<Vec<Administrator>>,
    /// Of a cluster: the administrators of its root, as that told last.
    of_root: RwLock<Vec<Administrator>>,
    /// The hash of the token by which `/metrics` is read, if there is one.
    scraper: OnceLock<[u8; 32]>,
}

/// Why there is no owner.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The store cannot be used.
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
    /// What it holds cannot be read.
    #[error("the store's content cannot be used")]
    Record(#[from] RecordError),
    /// No secret can be made.
    #[error("cannot make the administrator's token")]
    Random(#[from] NoRandom),
    /// What is counted has no name: a bug.
    #[error("the metrics cannot be made")]
    Metrics(#[from] prometheus::Error),
    /// The file of the administrator's token cannot be used.
    #[error("cannot use the administrator's token")]
    File(#[from] FileError),
    /// What stands in it is none.
    #[error("{} holds no token; remove it, and the next start makes a new one if there is no other user", path.display())]
    Token {
        /// The file.
        path: PathBuf,
    },
    /// The file of `--scrape-token-file` cannot be used.
    #[error("cannot use the token of Prometheus")]
    ScrapeFile(#[source] FileError),
    /// It holds none.
    #[error(
        "{} holds no token for Prometheus: 32 to 200 letters, digits and signs in one line; make one with 'openssl rand -hex 32'",
        path.display()
    )]
    ScrapeToken {
        /// The file.
        path: PathBuf,
    },
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum NotChanged {
    /// It may not be.
    #[error(transparent)]
    Join(#[from] JoinRefusal),
    /// Its certificate cannot be made of that request.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// A secret is not there, or there are too many.
    #[error(transparent)]
    Secret(#[from] SecretRefusal),
    /// Not now.
    #[error("this cannot be stored now; try again")]
    Unavailable,
    /// Others go on with another copy of the store.
    #[error("{SUPERSEDED}")]
    Superseded,
    /// There is nothing where users are kept.
    #[error(
        "this orchestrator keeps its store in memory, and so has no users, tenants and tokens; start it with --store embedded"
    )]
    Open,
}

/// Who joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Who it is from now on.
    pub holder: Holder,
    /// PEM.
    pub certificate: String,
    /// Of who issued it, PEM.
    pub authority: String,
    /// When the certificate ends.
    pub until: Wall,
}

impl Access {
    /// What the store holds, with an administrator if there was nobody.
    ///
    /// # Errors
    /// When the store or the administrator's token cannot be used.
    pub async fn open(
        settings: Settings,
        store: Arc<dyn Store>,
        keys: Arc<Keys>,
        audit: Audit,
    ) -> Result<Self, AccessError> {
        let book = load(Arc::clone(&store)).await?;
        let uses = uses(Arc::clone(&store)).await?;
        let access = Self(Arc::new(Inner {
            rates: Rates::new(settings.rates)?,
            uses: Uses::new(uses),
            core: OnceLock::new(),
            settings,
            store,
            keys,
            audit,
            quotas: watch::Sender::new(quotas(&book)),
            administrators: watch::Sender::new(administrators(&book)),
            of_root: RwLock::default(),
            scraper: OnceLock::new(),
            book: RwLock::new(Arc::new(book)),
            turn: Mutex::new(()),
            revoked: broadcast::channel(REVOCATIONS).0,
        }));
        if access.is_open() {
            tracing::warn!(
                "the store is in memory, so there are no users: everybody on this machine may do everything"
            );
        } else {
            access.administrator().await?;
        }
        if access.0.settings.insecure {
            tracing::warn!(
                "--insecure: other machines are served in plain text, and join without proving who they are"
            );
        }
        Ok(access)
    }

    /// Whether there is nowhere to keep users.
    pub fn is_open(&self) -> bool {
        self.0.settings.store == StoreKind::Memory
    }

    /// Adds to a registry what is counted of who asks too often.
    ///
    /// # Errors
    /// When the registry has it already.
    pub fn count(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        let rates = &self.0.rates;
        registry.register(Box::new(rates.refused.clone()))?;
        registry.register(Box::new(rates.identities.clone()))
    }

    /// What is committed.
    pub fn book(&self) -> Arc<Book> {
        let book = self.0.book.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&book)
    }

    /// Whether who comes from there needs to prove nothing: this machine, and wherever plain text was allowed.
    fn trusts(&self, from: Option<SocketAddr>) -> bool {
        let near = from.is_none_or(|from| from.ip().to_canonical().is_loopback());
        near || self.0.settings.insecure
    }

    /// The bits of the ids whose certificates mean nothing from that moment on.
    pub fn revocations(&self) -> broadcast::Receiver<u128> {
        self.0.revoked.subscribe()
    }

    /// Whose tokens may do everything, as it changes.
    pub fn administrators(&self) -> watch::Receiver<Vec<Administrator>> {
        self.0.administrators.subscribe()
    }

    /// The root said whose tokens may do everything there: they operate this cluster as well.
    pub fn root_said(&self, administrators: Vec<Administrator>) {
        let known = self.0.of_root.write();
        *known.unwrap_or_else(PoisonError::into_inner) = administrators;
    }

    /// What tenants may have now: a core is told before it is asked anything.
    pub fn quotas(&self) -> Vec<(TenantPath, Quota)> {
        self.0.quotas.borrow().clone()
    }

    /// Tells a core what tenants may have, at once and at each change.
    pub async fn tell_quotas<C: Core>(
        self,
        handle: Handle<C>,
        input: fn(Vec<(TenantPath, Quota)>) -> C::Input,
        shutdown: CancellationToken,
    ) {
        let mut quotas = self.0.quotas.subscribe();
        quotas.mark_changed();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = quotas.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
            let all = quotas.borrow_and_update().clone();
            if handle.tell(input(all)).await.is_err() {
                return;
            }
        }
    }

    /// Decides about users, tenants and their tokens.
    ///
    /// # Errors
    /// When it cannot be stored, or there is nowhere to.
    pub async fn ask(
        &self,
        credential: &Credential,
        request: &AccessRequest,
    ) -> Result<AccessAnswer, NotChanged> {
        let charges = self.charges(request).await?;
        let decide = |book: &Book| {
            let now = clock::now().wall;
            let subject = book.subject(credential, now);
            let (writes, answer) = if charges.is_empty() {
                book.access.decide(&subject, now, request)
            } else {
                core::charged(&book.access, &charges).decide(&subject, now, request)
            };
            // What a tenant had goes with it.
            let forgotten = writes.iter().flat_map(|write| match write {
                AccessWrite::Forget(Entry::Tenant(path)) => book.secrets.of_deleted(path),
                _ => Vec::new(),
            });
            let forgotten: Vec<_> = forgotten.map(Write::Secret).collect();
            let writes = writes.into_iter().map(Write::Access);
            Ok((writes.chain(forgotten).collect(), answer))
        };
        self.change(decide).await
    }

    /// A token by which machines join, `uses` times within `life`. The secret is in the answer and nowhere else.
    ///
    /// # Errors
    /// When uses or life are out of bounds, or it cannot be stored.
    pub async fn create_join_token(
        &self,
        by: &str,
        uses: u32,
        life: Duration,
    ) -> Result<(JoinToken, JoinGrant), NotChanged> {
        let secret = Secret::make().map_err(no_random)?;
        let id = JoinTokenId::from_bits(clock::mint().map_err(no_random)?);
        let now = clock::now().wall;
        let grant = JoinGrant {
            id,
            hash: secret.hash(),
            uses,
            by: by.to_owned(),
            created_at: now,
            expires_at: now.plus(life),
        };
        let decide = |book: &Book| {
            let writes = book.joins.create(&grant)?;
            Ok((joins(writes), ()))
        };
        self.change(decide).await?;
        let token = JoinToken {
            joining: self.joining(),
            places: self.0.settings.places.clone(),
            pin: self.0.keys.authority().pin(),
            id,
            secret,
        };
        Ok((token, grant))
    }

    /// A join token is void.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn forget_join_token(&self, id: JoinTokenId) -> Result<(), NotChanged> {
        let decide = |_: &Book| Ok((vec![Write::Join(JoinWrite::Forget(id))], ()));
        self.change(decide).await
    }

    /// Lets in who has the token's secret, with a certificate for the key of its request.
    ///
    /// # Errors
    /// When the token lets it not in, the request is none, or it cannot be stored.
    pub async fn join(
        &self,
        token: JoinTokenId,
        secret: &Secret,
        request: &Request,
    ) -> Result<Joined, NotChanged> {
        let key = Authority::key_of(request)?;
        let fresh = clock::mint().map_err(no_random)?;
        let given = secret.hash();
        let decide = |book: &Book| {
            let known = book.joins.grant(token);
            let right = known.is_some_and(|known| bool::from(known.hash.ct_eq(&given)));
            if !right {
                return Err(JoinRefusal::Token.into());
            }
            let (writes, id) = book.joins.join(token, key, fresh, clock::now().wall)?;
            Ok((joins(writes), id))
        };
        let id = self.change(decide).await?;
        Ok(self.issue(id, request)?)
    }

    /// Another certificate for a member that proved its former one.
    ///
    /// # Errors
    /// When that was revoked, or the request is none.
    pub fn renew(&self, id: u128, request: &Request) -> Result<Joined, NotChanged> {
        self.book().joins.renew(id)?;
        Ok(self.issue(id, request)?)
    }

    /// From now on the certificates of that member mean nothing, and its connections end.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn revoke(&self, id: u128) -> Result<(), NotChanged> {
        let decide = |book: &Book| {
            let writes = book.joins.revoke(id, clock::now().wall);
            Ok((joins(writes), ()))
        };
        self.change(decide).await?;
        // Nobody may be listening.
        let _ = self.0.revoked.send(id);
        Ok(())
    }

    /// Somebody of that id showed a certificate: an emptied store learns its members by that.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub(crate) async fn shown(&self, id: u128) -> Result<(), NotChanged> {
        if self.book().joins.member(id).is_some() {
            return Ok(());
        }
        let decide = |book: &Book| {
            let writes = book.joins.shown(id, clock::now().wall);
            Ok((joins(writes), ()))
        };
        self.change(decide).await
    }

    fn joining(&self) -> Joining {
        match self.0.settings.tier {
            Tier::Root => Joining::Cluster,
            Tier::Cluster => Joining::Worker,
        }
    }

    fn holder(&self, id: u128) -> Holder {
        match self.0.settings.tier {
            Tier::Root => Holder::Cluster(ClusterId::from_bits(id)),
            Tier::Cluster => Holder::Worker(NodeId::from_bits(id)),
        }
    }

    fn issue(&self, id: u128, request: &Request) -> Result<Joined, IssueError> {
        let life = Life {
            from: clock::now().wall,
            lasting: CERTIFICATE,
        };
        let authority = self.0.keys.authority();
        let holder = self.holder(id);
        let issued = authority.issue(request, holder, life)?;
        Ok(Joined {
            holder,
            certificate: issued.certificate,
            authority: authority.certificate(),
            until: issued.until,
        })
    }

    /// Makes sure that the token in the file is an administrator's; the first one is made.
    async fn administrator(&self) -> Result<(), AccessError> {
        let path = &self.0.settings.admin_token;
        let token = match files::read(path, Readers::Owner)? {
            Some(text) => text
                .parse::<UserToken>()
                .map_err(|_| AccessError::Token { path: path.clone() })?,
            None if self.book().access.users().next().is_some() => return Ok(()),
            None => first_token(path)?,
        };
        let minted = minted(&token);
        let known = self.book().access.token(token.id).map(|known| known.hash);
        if known == Some(minted.hash) {
            return Ok(());
        }
        let decide = |book: &Book| {
            let writes = book.access.administrator(minted, clock::now().wall);
            Ok((writes.into_iter().map(Write::Access).collect(), ()))
        };
        match self.change(decide).await {
            Ok(()) => {
                tracing::info!(token = %token, path = %path.display(), "the administrator's token stands in this file");
                Ok(())
            }
            Err(_not_stored) => Err(StoreError::Closed.into()),
        }
    }

    /// Changes what everybody sees, and tells those who act on it.
    fn show(&self, change: impl FnOnce(&mut Arc<Book>)) {
        let mut shown = self.0.book.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut shown);
        let (quotas, administrators) = (quotas(&shown), administrators(&shown));
        drop(shown);
        tell(&self.0.quotas, quotas);
        tell(&self.0.administrators, administrators);
    }

    /// Decides on what is committed, stores it, and shows it.
    async fn change<T>(
        &self,
        decide: impl FnOnce(&Book) -> Result<(Vec<Write>, T), NotChanged>,
    ) -> Result<T, NotChanged> {
        let _turn = self.0.turn.lock().await;
        let (writes, answer) = decide(&self.book())?;
        if writes.is_empty() {
            return Ok(answer);
        }
        if self.is_fenced() {
            return Err(NotChanged::Superseded);
        }
        let ops = record::ops(&writes).map_err(not_stored)?;
        let store = Arc::clone(&self.0.store);
        let committed = tokio::task::spawn_blocking(move || store.commit(&ops)).await;
        if let Ok(Ok(())) = committed {
            self.show(|shown| {
                let book = Arc::make_mut(shown);
                for write in &writes {
                    write.apply(book);
                }
            });
            return Ok(answer);
        }
        tracing::error!(
            ?committed,
            "a change of users, tokens or members was not stored"
        );
        // It may be there all the same.
        match load(Arc::clone(&self.0.store)).await {
            Ok(book) => self.show(|shown| *shown = Arc::new(book)),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(
                    error,
                    "the users cannot be read again; those known before stay"
                );
            }
        }
        Err(NotChanged::Unavailable)
    }
}

fn joins(writes: Vec<JoinWrite>) -> Vec<Write> {
    writes.into_iter().map(Write::Join).collect()
}

async fn load(store: Arc<dyn Store>) -> Result<Book, AccessError> {
    let loaded = tokio::task::spawn_blocking(move || record::load(store.as_ref())).await;
    loaded.map_err(|_panicked| StoreError::Closed)?
}

async fn uses(store: Arc<dyn Store>) -> Result<BTreeMap<TokenId, Wall>, AccessError> {
    let loaded = tokio::task::spawn_blocking(move || record::uses(store.as_ref())).await;
    loaded.map_err(|_panicked| StoreError::Closed)?
}

/// Tells those who listen, if it is news.
fn tell<T: PartialEq>(to: &watch::Sender<T>, news: T) {
    to.send_if_modified(|known| {
        let changed = *known != news;
        *known = news;
        changed
    });
}

/// Tokens that may do everything.
fn administrators(book: &Book) -> Vec<Administrator> {
    let users = |name| book.access.user(name);
    let tokens = book.access.tokens().filter(|token| match &token.grant {
        Grant::User { name, scope } => {
            scope.is_full() && users(name).is_some_and(User::is_administrator)
        }
        Grant::Invitation { .. } => false,
    });
    let told = tokens.map(|token| Administrator {
        token: token.id,
        hash: token.hash,
        expires_at: token.expires_at,
    });
    told.collect()
}

fn quotas(book: &Book) -> Vec<(TenantPath, Quota)> {
    let active = book
        .access
        .tenants()
        .filter(|tenant| !matches!(tenant.state, TenantState::Requested { .. }));
    active
        .map(|tenant| (tenant.path.clone(), tenant.quota))
        .collect()
}

/// A token that is not known yet.
pub(crate) fn mint() -> Result<UserToken, NoRandom> {
    Ok(UserToken {
        id: TokenId::from_bits(clock::mint()?),
        secret: Secret::make()?,
    })
}

/// What its owner is to know of a token.
pub(crate) fn minted(token: &UserToken) -> Minted {
    Minted {
        id: token.id,
        hash: token.secret.hash(),
    }
}

/// A token in a file that was not there.
fn first_token(path: &Path) -> Result<UserToken, AccessError> {
    let token = mint()?;
    files::write(path, &format!("{}\n", token.reveal()), Readers::Owner)?;
    Ok(token)
}

fn no_random(error: impl std::fmt::Display) -> NotChanged {
    tracing::error!(%error, "cannot make a secret");
    NotChanged::Unavailable
}

#[expect(clippy::needless_pass_by_value, reason = "an argument of map_err")]
fn not_stored(error: RecordError) -> NotChanged {
    let error = &error as &dyn std::error::Error;
    tracing::error!(error, "a change of users, tokens or members has no record");
    NotChanged::Unavailable
}

#[cfg(test)]
mod tests;
