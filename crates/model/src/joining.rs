//! Who may join an orchestrator, and who has: the tokens that let machines in, and the members that they let in.
//!
//! Pure bookkeeping, the same for a root, whose members are clusters, and for a cluster, whose members are workers. The
//! shell compares secrets and issues certificates. One use of a token belongs to one key: who asks again with the same key,
//! since the answer was lost, gets the same id and takes no other use. Decided one after another, no number of machines at
//! the same moment takes more uses than there are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::id::JoinTokenId;
use crate::time::Wall;

/// A token by which machines join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinGrant {
    /// Public.
    pub id: JoinTokenId,
    /// SHA-256 of its secret. The shell compares it, in constant time.
    pub hash: [u8; 32],
    /// How many members it lets in.
    pub uses: u32,
    /// Who made it, in words.
    pub by: String,
    /// When it was made.
    pub created_at: Wall,
    /// From then on it lets nobody in.
    pub expires_at: Wall,
}

/// Somebody who has an identity here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The bits of its node's or cluster's id.
    pub id: u128,
    /// SHA-256 of the key that its first certificate was issued for; `None`: it was known by its certificate only, since
    /// the store had been emptied.
    pub key: Option<[u8; 32]>,
    /// What let it in, as far as it is not forgotten; each of them was used once for it.
    pub tokens: BTreeSet<JoinTokenId>,
    /// When it came first.
    pub joined_at: Wall,
    /// Since when its certificates mean nothing.
    pub revoked_at: Option<Wall>,
}

/// A change of the book, to be stored before it is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinWrite {
    /// A token, which never changes.
    Grant(JoinGrant),
    /// A token is void, and forgotten.
    Forget(JoinTokenId),
    /// A member, as it now is.
    Member(Member),
}

/// Why nobody is let in, or no token made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JoinRefusal {
    /// Unknown, revoked, expired or used up: all the same to who asks.
    #[error(
        "this join token is not known here, has expired, or was used as often as it may be; make another one with 'edgeio token create'"
    )]
    Token,
    /// The member's certificates mean nothing any more.
    #[error("this identity was revoked; join again with a new token")]
    Revoked,
    /// Too many uses, or none.
    #[error("a join token has 1 to {} uses", JoinBook::USES)]
    Uses,
    /// It would live too long, or not at all.
    #[error("a join token lives for 1 second to {} days", JoinBook::LONGEST.as_secs() / 86_400)]
    Life,
    /// Too many tokens.
    #[error(
        "there are {} join tokens already; revoke some first",
        JoinBook::GRANTS
    )]
    TooMany,
}

/// Tokens and members of one orchestrator.
#[derive(Debug, Clone, Default)]
pub struct JoinBook {
    grants: BTreeMap<JoinTokenId, JoinGrant>,
    members: BTreeMap<u128, Member>,
    by_key: BTreeMap<[u8; 32], u128>,
    /// Who came with which token.
    uses: BTreeMap<JoinTokenId, BTreeSet<u128>>,
}

impl JoinBook {
    /// How many members a token lets in at most.
    pub const USES: u32 = 10_000;
    /// How long a token lives at most.
    pub const LONGEST: Duration = Duration::from_hours(24 * 30);
    /// How many tokens there may be; those that have expired are forgotten first.
    pub const GRANTS: usize = 1_000;

    /// A new token.
    ///
    /// # Errors
    /// When it would have no use, too many, or too long a life, or there are too many tokens.
    pub fn create(&self, grant: &JoinGrant) -> Result<Vec<JoinWrite>, JoinRefusal> {
        let life = grant.expires_at.0.saturating_sub(grant.created_at.0);
        if !(1..=Self::USES).contains(&grant.uses) {
            return Err(JoinRefusal::Uses);
        }
        if life < 1_000 || life > Self::LONGEST.as_millis() as i64 {
            return Err(JoinRefusal::Life);
        }
        let now = grant.created_at;
        let past = self.grants.values().filter(|grant| grant.expires_at <= now);
        let mut writes: Vec<_> = past.map(|grant| JoinWrite::Forget(grant.id)).collect();
        if self.grants.len() - writes.len() >= Self::GRANTS {
            return Err(JoinRefusal::TooMany);
        }
        writes.push(JoinWrite::Grant(grant.clone()));
        Ok(writes)
    }

    /// Lets somebody in who has the token's secret and that key: with `fresh` as its id, or the one that this key has already.
    /// Another token forgives a member that was revoked; the one that let it in before does not.
    ///
    /// # Errors
    /// When the token lets nobody in, or the member was revoked since it used it.
    pub fn join(
        &self,
        token: JoinTokenId,
        key: [u8; 32],
        fresh: u128,
        at: Wall,
    ) -> Result<(Vec<JoinWrite>, u128), JoinRefusal> {
        let grant = self.grants.get(&token).filter(|it| at < it.expires_at);
        let grant = grant.ok_or(JoinRefusal::Token)?;
        let known = self.by_key.get(&key).and_then(|id| self.members.get(id));
        if let Some(known) = known.filter(|known| known.tokens.contains(&token)) {
            self.renew(known.id)?;
            return Ok((Vec::new(), known.id));
        }
        if self.used(token) >= grant.uses {
            return Err(JoinRefusal::Token);
        }
        let mut member = known.cloned().unwrap_or_else(|| Member {
            key: Some(key),
            ..unknown(fresh, at)
        });
        member.revoked_at = None;
        member
            .tokens
            .retain(|token| self.grants.contains_key(token));
        member.tokens.insert(token);
        let id = member.id;
        Ok((vec![JoinWrite::Member(member)], id))
    }

    /// Whether a member may have another certificate, and whether the one that it has means anything.
    ///
    /// # Errors
    /// When it was revoked.
    pub fn renew(&self, id: u128) -> Result<(), JoinRefusal> {
        let member = self.members.get(&id);
        if member.is_some_and(|member| member.revoked_at.is_some()) {
            return Err(JoinRefusal::Revoked);
        }
        Ok(())
    }

    /// Somebody has shown a certificate of ours: a store that was emptied learns its members like that.
    pub fn shown(&self, id: u128, at: Wall) -> Vec<JoinWrite> {
        if self.members.contains_key(&id) {
            return Vec::new();
        }
        vec![JoinWrite::Member(unknown(id, at))]
    }

    /// From now on the certificates of that id mean nothing, whether or not it is known here.
    pub fn revoke(&self, id: u128, at: Wall) -> Vec<JoinWrite> {
        let known = self.members.get(&id).cloned();
        let member = known.unwrap_or_else(|| unknown(id, at));
        if member.revoked_at.is_some() {
            return Vec::new();
        }
        vec![JoinWrite::Member(Member {
            revoked_at: Some(at),
            ..member
        })]
    }

    /// Takes a change that was decided. The order of those of one store does not matter.
    pub fn apply(&mut self, write: &JoinWrite) {
        match write {
            JoinWrite::Grant(grant) => {
                self.grants.insert(grant.id, grant.clone());
            }
            JoinWrite::Forget(id) => {
                self.grants.remove(id);
                self.uses.remove(id);
            }
            JoinWrite::Member(member) => {
                if let Some(key) = member.key {
                    self.by_key.insert(key, member.id);
                }
                for token in &member.tokens {
                    self.uses.entry(*token).or_default().insert(member.id);
                }
                self.members.insert(member.id, member.clone());
            }
        }
    }

    /// The token of that id, whose hash the shell compares before it believes in it.
    pub fn grant(&self, id: JoinTokenId) -> Option<&JoinGrant> {
        self.grants.get(&id)
    }

    /// All tokens by id.
    pub fn grants(&self) -> impl Iterator<Item = &JoinGrant> {
        self.grants.values()
    }

    /// How many uses of a token are taken.
    pub fn used(&self, id: JoinTokenId) -> u32 {
        self.uses.get(&id).map_or(0, BTreeSet::len) as u32
    }

    /// Those whose certificates mean nothing any more.
    pub fn revoked(&self) -> impl Iterator<Item = u128> {
        let revoked = |member: &&Member| member.revoked_at.is_some();
        self.members
            .values()
            .filter(revoked)
            .map(|member| member.id)
    }

    /// The member of that id.
    pub fn member(&self, id: u128) -> Option<&Member> {
        self.members.get(&id)
    }
}

/// Who is known by its id alone.
const fn unknown(id: u128, at: Wall) -> Member {
    Member {
        id,
        key: None,
        tokens: BTreeSet::new(),
        joined_at: at,
        revoked_at: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Wall = Wall(1_000_000);
    const TOKEN: JoinTokenId = JoinTokenId::from_bits(1);

    fn book(uses: u32) -> JoinBook {
        let mut book = JoinBook::default();
        let made = book.create(&grant(uses, 60_000)).unwrap();
        take(&mut book, &made);
        book
    }

    fn grant(uses: u32, life: i64) -> JoinGrant {
        JoinGrant {
            id: TOKEN,
            hash: [1; 32],
            uses,
            by: "admin".to_owned(),
            created_at: NOW,
            expires_at: Wall(NOW.0 + life),
        }
    }

    fn take(book: &mut JoinBook, writes: &[JoinWrite]) {
        for write in writes {
            book.apply(write);
        }
    }

    fn join(book: &mut JoinBook, key: u8, fresh: u128) -> Result<u128, JoinRefusal> {
        let (writes, id) = book.join(TOKEN, [key; 32], fresh, NOW)?;
        take(book, &writes);
        Ok(id)
    }

    #[test]
    fn a_token_lets_in_as_many_as_it_says_and_no_more() {
        let mut book = book(100);
        for machine in 0..100 {
            assert_eq!(join(&mut book, machine, machine.into()), Ok(machine.into()));
        }
        assert_eq!(join(&mut book, 100, 100), Err(JoinRefusal::Token));
        assert_eq!(book.used(TOKEN), 100);
    }

    #[test]
    fn who_asks_again_with_the_same_key_takes_no_other_use() {
        let mut book = book(1);
        assert_eq!(join(&mut book, 7, 70), Ok(70));
        assert_eq!(join(&mut book, 7, 71), Ok(70));
        assert_eq!(join(&mut book, 8, 80), Err(JoinRefusal::Token));
    }

    #[test]
    fn an_expired_an_unknown_and_a_forgotten_token_let_nobody_in() {
        let mut book = book(5);
        let late = Wall(NOW.0 + 60_000);
        assert_eq!(book.join(TOKEN, [1; 32], 1, late), Err(JoinRefusal::Token));
        let other = JoinTokenId::from_bits(2);
        assert_eq!(book.join(other, [1; 32], 1, NOW), Err(JoinRefusal::Token));
        book.apply(&JoinWrite::Forget(TOKEN));
        assert_eq!(join(&mut book, 1, 1), Err(JoinRefusal::Token));
    }

    #[test]
    fn who_was_revoked_gets_nothing_by_its_certificate_nor_by_its_token() {
        let mut book = book(2);
        assert_eq!(join(&mut book, 7, 70), Ok(70));
        let writes = book.revoke(70, NOW);
        take(&mut book, &writes);
        assert_eq!(book.renew(70), Err(JoinRefusal::Revoked));
        assert_eq!(join(&mut book, 7, 71), Err(JoinRefusal::Revoked));
        assert_eq!(book.revoke(70, NOW), []);
        // Another token is another decision: it is who it was.
        let other = JoinTokenId::from_bits(5);
        let grant = JoinGrant {
            id: other,
            ..grant(1, 60_000)
        };
        book.apply(&JoinWrite::Grant(grant));
        let (writes, id) = book.join(other, [7; 32], 72, NOW).unwrap();
        take(&mut book, &writes);
        assert_eq!((id, book.renew(70)), (70, Ok(())));
        assert_eq!((book.used(TOKEN), book.used(other)), (1, 1));
        assert_eq!(book.join(other, [8; 32], 73, NOW), Err(JoinRefusal::Token));
        // Also one that the store forgot.
        let writes = book.revoke(99, NOW);
        take(&mut book, &writes);
        assert_eq!(book.renew(99), Err(JoinRefusal::Revoked));
    }

    #[test]
    fn an_emptied_store_learns_its_members_again() {
        let mut book = JoinBook::default();
        assert_eq!(book.renew(5), Ok(()));
        let writes = book.shown(5, NOW);
        take(&mut book, &writes);
        assert!(book.member(5).is_some());
        assert_eq!(book.shown(5, NOW), []);
    }

    #[test]
    fn a_token_has_uses_and_an_end_and_those_past_make_room() {
        let book = book(1);
        for (bad, why) in [
            (grant(0, 60_000), JoinRefusal::Uses),
            (grant(JoinBook::USES + 1, 60_000), JoinRefusal::Uses),
            (grant(1, 0), JoinRefusal::Life),
            (grant(1, i64::MAX / 2), JoinRefusal::Life),
        ] {
            assert_eq!(book.create(&bad), Err(why));
        }
        let later = JoinGrant {
            id: JoinTokenId::from_bits(3),
            created_at: Wall(NOW.0 + 60_000),
            expires_at: Wall(NOW.0 + 120_000),
            ..grant(1, 0)
        };
        let expected = [JoinWrite::Forget(TOKEN), JoinWrite::Grant(later.clone())];
        assert_eq!(book.create(&later).unwrap(), expected);
    }
}
