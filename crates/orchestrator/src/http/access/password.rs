//! Passwords and their hashes: argon2id, which is slow and takes memory on purpose, so only so many at a time.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::{
    Error, PasswordHash as Parsed, PasswordHasher as _, PasswordVerifier as _, SaltString,
};
use model::access::PasswordHash;
use protocol::problem::Problem;
use protocol::rest::Password;
use rest::ApiError;
use tokio::sync::Semaphore;

use crate::clock;

/// How many are hashed at a time: each takes 19 MiB and a processor.
const AT_ONCE: usize = 2;
/// No password has this hash; it is as much work as one that a user has.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Hashes passwords; clones share the turns.
#[derive(Debug, Clone)]
pub(super) struct Passwords(Arc<Semaphore>);

impl Default for Passwords {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Passwords {
    /// The hash of a new password.
    ///
    /// # Errors
    /// 429 where too many are hashed already.
    pub(super) async fn hash(&self, password: Password) -> Result<PasswordHash, ApiError> {
        let hashed = self.work(move || hash(&password)).await?;
        hashed.map_err(|error| failed(&error))
    }

    /// Whether that is the password of this hash. Without a hash it is not, which takes as long.
    ///
    /// # Errors
    /// 429 where too many are hashed already.
    pub(super) async fn verify(
        &self,
        password: Password,
        hash: Option<PasswordHash>,
    ) -> Result<bool, ApiError> {
        let verified = self.work(move || verify(&password, hash.as_ref())).await?;
        verified.map_err(|error| failed(&error))
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let turn = Arc::clone(&self.0).try_acquire_owned().map_err(|_taken| {
            Problem::too_many_requests("too many passwords are checked at this moment; try again")
        })?;
        let worked = tokio::task::spawn_blocking(move || {
            // Held until the work is done, also for a client that went away.
            let _turn = turn;
            work()
        });
        Ok(worked.await.map_err(|_panicked| Problem::internal())?)
    }

    /// Takes a turn and keeps it.
    #[cfg(test)]
    pub(super) fn occupy(&self) -> Option<tokio::sync::OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }
}

fn hash(password: &Password) -> Result<PasswordHash, Error> {
    let salt: [u8; 16] = clock::random().map_err(|_no_random| Error::Crypto)?;
    let salt = SaltString::encode_b64(&salt)?;
    let hash = Argon2::default().hash_password(password.reveal().as_bytes(), &salt)?;
    Ok(PasswordHash(hash.to_string()))
}

fn verify(password: &Password, hash: Option<&PasswordHash>) -> Result<bool, Error> {
    let parsed = Parsed::new(hash.map_or(NOBODYS, |hash| &hash.0))?;
    match Argon2::default().verify_password(password.reveal().as_bytes(), &parsed) {
        Ok(()) => Ok(hash.is_some()),
        Err(Error::Password) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A hash cannot be made or read, which is a fault of ours; the error says nothing of the password.
fn failed(error: &Error) -> ApiError {
    tracing::error!(%error, "cannot hash a password");
    Problem::internal().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_verifies_its_password_and_no_other() {
        let password = Password::new("correct horse battery").unwrap();
        let made = hash(&password).unwrap();
        assert!(!made.0.contains("correct"));
        assert_ne!(hash(&password).unwrap(), made, "each has its salt");
        assert!(verify(&password, Some(&made)).unwrap());
        let other = Password::new("correct horse batterY").unwrap();
        assert!(!verify(&other, Some(&made)).unwrap());
        assert!(!verify(&password, None).unwrap());
        // Nobody's is as much work as everybody's.
        let cost = |hash: &str| hash.rsplitn(3, '$').last().map(str::to_owned);
        assert_eq!(cost(NOBODYS), cost(&made.0));
        assert_eq!(NOBODYS.len(), made.0.len());
    }
}
