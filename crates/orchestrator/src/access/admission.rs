//! Whether somebody who registers is who it claims to be.

use std::net::SocketAddr;

use audit::{Decision, Subject as Who};
use axum::http::request::Parts;
use identity::Holder;
use identity::gate::{Peer, Standing};
use rest::Shown;

use super::{Access, NotChanged};
use crate::audited::Decided;
use crate::clock;

/// Who registers, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// By what it proved who it is.
    pub shown: Option<&'a Peer>,
    /// Where it comes from.
    pub from: Option<SocketAddr>,
    /// The bits of the id that it says it has.
    pub id: Option<u128>,
}

impl<'a> Claim<'a> {
    /// What the request that opened a connection proves of somebody who says that it has that id.
    pub fn of(opened_by: &'a Parts, id: Option<u128>) -> Self {
        let shown = opened_by.extensions.get::<Shown>();
        Self {
            shown: shown.and_then(|shown| shown.as_deref()),
            from: rest::guard::from(opened_by),
            id,
        }
    }
}

/// Why it is not let in. The words of [`NotAdmitted::code`] go over the wire.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// It proves nothing, and has to.
    #[error(
        "who registers from another machine has to prove who it is; make a join token with 'edgeio token create' and join with it"
    )]
    NoIdentity,
    /// It says that it is somebody who proves that by a certificate, and shows none.
    #[error(
        "this id belongs to somebody who has joined by a token; register with its certificate, or under another name and with an empty data directory"
    )]
    Claimed,
    /// The certificate is somebody else's.
    #[error(
        "the certificate is {certificate}'s, and the registration says that it is somebody else"
    )]
    Mismatch {
        /// Whose it is.
        certificate: Holder,
    },
    /// It has ended.
    #[error("the certificate has expired; renew it, or join again with a new token")]
    Expired,
    /// Its holder is not wanted any more.
    #[error("this identity was revoked; join again with a new token")]
    Revoked,
    /// What it proves cannot be stored now.
    #[error("this cannot be stored now; try again")]
    Unavailable,
}

impl NotAdmitted {
    /// A stable word.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoIdentity => "no_identity",
            Self::Claimed | Self::Mismatch { .. } => "wrong_identity",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Unavailable => "unavailable",
        }
    }
}

impl Access {
    /// Lets somebody register, or says why not; each refusal is recorded.
    ///
    /// # Errors
    /// When it is not who it says, or has to prove it.
    pub async fn admit_member(&self, claim: Claim<'_>) -> Result<(), NotAdmitted> {
        let admitted = self.admitted(claim).await;
        if let Err(refused) = &admitted {
            let claimed = claim.id.map(|id| self.holder(id).id());
            self.refused(
                claim.shown.map(|peer| peer.holder),
                claim.from,
                (
                    "register",
                    claimed.unwrap_or_else(|| "as a new member".to_owned()),
                ),
                refused.to_string(),
            );
        }
        admitted
    }

    async fn admitted(&self, claim: Claim<'_>) -> Result<(), NotAdmitted> {
        let Some(peer) = claim.shown else {
            if !self.trusts(claim.from) {
                return Err(NotAdmitted::NoIdentity);
            }
            return match claim.id {
                Some(id) if self.is_member(id) => Err(NotAdmitted::Claimed),
                Some(_) | None => Ok(()),
            };
        };
        let id = self.member_of(peer)?;
        if claim.id != Some(id) {
            let certificate = peer.holder;
            return Err(NotAdmitted::Mismatch { certificate });
        }
        self.shown(id).await.map_err(|error| match error {
            NotChanged::Join(_) => NotAdmitted::Revoked,
            NotChanged::Issue(_)
            | NotChanged::Secret(_)
            | NotChanged::Unavailable
            | NotChanged::Superseded
            | NotChanged::Open => NotAdmitted::Unavailable,
        })
    }

    /// Whose a certificate is, if it means anything now.
    ///
    /// # Errors
    /// When it is of the wrong kind, has ended, or was revoked.
    pub fn member_of(&self, peer: &Peer) -> Result<u128, NotAdmitted> {
        let id = Self::bits_of(peer.holder);
        if self.holder(id) != peer.holder {
            let certificate = peer.holder;
            return Err(NotAdmitted::Mismatch { certificate });
        }
        if self.is_revoked(id) {
            return Err(NotAdmitted::Revoked);
        }
        match peer.standing(clock::now().wall) {
            Standing::Valid => Ok(id),
            Standing::Expired(_) => Err(NotAdmitted::Expired),
        }
    }

    /// The bits of a holder's id.
    pub const fn bits_of(holder: Holder) -> u128 {
        match holder {
            Holder::Worker(node) => node.bits(),
            Holder::Cluster(cluster) => cluster.bits(),
            // No member's id.
            Holder::Root => 0,
        }
    }

    /// Whether certificates of that id mean nothing any more.
    pub fn is_revoked(&self, id: u128) -> bool {
        self.book().joins.renew(id).is_err()
    }

    /// Whether that id is proven by a certificate.
    pub fn is_member(&self, id: u128) -> bool {
        self.book().joins.member(id).is_some()
    }

    /// Records what somebody asked through the root, who had the right to it there, and the status of the answer.
    pub fn asked_at_the_root(&self, by: &str, (verb, resource): (&str, &str), status: u16) {
        self.0.audit.record(Decided {
            who: Who::User(format!("{by} at the root")),
            from: None,
            verb: verb.to_owned(),
            resource: resource.to_owned(),
            decision: match status {
                400.. => Decision::Refused(format!("status {status}")),
                _ => Decision::Granted,
            },
        });
    }

    /// Records that a member, or somebody who would be one, was refused something.
    pub fn refused(
        &self,
        holder: Option<Holder>,
        from: Option<SocketAddr>,
        (verb, resource): (&str, String),
        why: String,
    ) {
        let who = match holder {
            Some(Holder::Worker(node)) => Who::Worker(node.to_string()),
            Some(Holder::Cluster(cluster)) => Who::Cluster(cluster.to_string()),
            Some(Holder::Root) | None => Who::Anonymous,
        };
        self.0.audit.record(Decided {
            who,
            from,
            verb: verb.to_owned(),
            resource,
            decision: Decision::Denied(why),
        });
    }
}
