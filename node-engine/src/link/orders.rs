//! Which changes of what this worker runs are its cluster's own.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use identity::Verifier;
use identity::files::{self, Readers};
use protocol::message::signed::{self, Signed};

use crate::engine::EngineError;
use crate::runtime::chain;

/// The certificate of the cluster's authority in the data directory, once this worker joined.
const AUTHORITY: &str = "identity/authority.pem";
/// Between two lines of log about messages that are refused.
const QUIET: Duration = Duration::from_secs(10);

/// Tells the cluster's orders from those of whoever else reaches this worker, a broker in between for one. Clones count
/// together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Orders {
    /// `None`: this worker knows no authority, and takes what it is told.
    verifier: Option<Arc<Verifier>>,
    refused: Arc<Mutex<Refused>>,
}

/// Why an order is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unproven {
    /// The cluster does not know that this worker wants signatures, or somebody else sent it.
    #[error("it is not signed")]
    Unsigned,
    /// Somebody else sent it, or changed it.
    #[error("its signature is not of this worker's cluster")]
    Forged,
}

#[derive(Debug, Default)]
struct Refused {
    count: u64,
    said: Option<Instant>,
}

impl Orders {
    /// By the authority that the data directory names.
    ///
    /// # Errors
    /// When it names one that cannot be read: then nothing may be believed.
    pub(crate) fn load(data_dir: &Path) -> Result<Self, EngineError> {
        let path = data_dir.join(AUTHORITY);
        let fault = |error: &dyn std::error::Error| {
            EngineError::Config(format!("cannot use {}: {}", path.display(), chain(error)))
        };
        let Some(pem) = files::read(&path, Readers::Everybody).map_err(|error| fault(&error))?
        else {
            return Ok(Self::default());
        };
        let verifier = Verifier::of_authority_pem(&pem).map_err(|error| fault(&error))?;
        Ok(Self {
            verifier: Some(Arc::new(verifier)),
            refused: Arc::default(),
        })
    }

    /// Whether orders have to be signed.
    pub(super) const fn are_verified(&self) -> bool {
        self.verifier.is_some()
    }

    /// What an order says, without its signature.
    ///
    /// # Errors
    /// [`Unproven`], where it may be somebody else's; that is counted, and said in the log.
    pub(super) fn read<'m>(&self, topic: &str, message: &'m [u8]) -> Result<&'m [u8], Unproven> {
        let Signed { payload, signature } = signed::open(message);
        let Some(verifier) = &self.verifier else {
            return Ok(payload);
        };
        let proven = match signature {
            None => Err(Unproven::Unsigned),
            Some(text) => text
                .parse()
                .ok()
                .and_then(|signature| verifier.verify(topic, payload, &signature).ok())
                .ok_or(Unproven::Forged),
        };
        proven.inspect_err(|why| self.refuse(*why))?;
        Ok(payload)
    }

    fn refuse(&self, why: Unproven) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.count += 1;
        let now = Instant::now();
        if refused
            .said
            .is_none_or(|said| now.duration_since(said) >= QUIET)
        {
            refused.said = Some(now);
            tracing::warn!(
                reason = %why,
                refused = refused.count,
                "a change of what this worker runs is not its cluster's and was refused; others may follow unnamed"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use identity::authority::Authority;
    use model::time::Wall;

    use super::*;

    const TOPIC: &str = "nodes/node_1/control";

    fn count(orders: &Orders) -> u64 {
        orders.refused.lock().unwrap().count
    }

    #[test]
    fn with_an_authority_nothing_counts_without_its_signature() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("identity")).unwrap();
        let (authority, _) = Authority::make("cluster", Wall(0)).unwrap();
        let (other, _) = Authority::make("cluster", Wall(0)).unwrap();
        fs::write(folder.path().join(AUTHORITY), authority.certificate()).unwrap();
        let orders = Orders::load(folder.path()).unwrap();
        assert!(orders.are_verified());
        let sealed = |authority: &Authority, topic: &str| {
            let signature = authority.sign(topic, b"{}").unwrap();
            signed::seal(b"{}".to_vec(), &signature.to_string())
        };
        let good = sealed(&authority, TOPIC);
        let taken: &[u8] = b"{}";
        assert_eq!(orders.read(TOPIC, &good), Ok(taken));
        assert_eq!(count(&orders), 0);
        let mut changed = good.clone();
        changed[1] = b' ';
        let cases = [
            (b"{}".to_vec(), Unproven::Unsigned),
            (Vec::new(), Unproven::Unsigned),
            (changed, Unproven::Forged),
            (sealed(&other, TOPIC), Unproven::Forged),
            (sealed(&authority, "nodes/node_2/control"), Unproven::Forged),
            (b"{}\nsig1:".to_vec(), Unproven::Forged),
            (b"{}\nsig1:\xff".to_vec(), Unproven::Unsigned),
            ([&good, &b"\n"[..]].concat(), Unproven::Unsigned),
        ];
        for (number, (message, why)) in cases.into_iter().enumerate() {
            assert_eq!(orders.read(TOPIC, &message), Err(why), "{message:?}");
            assert_eq!(count(&orders.clone()), number as u64 + 1);
        }
    }

    #[test]
    fn without_an_authority_what_is_told_is_taken_and_a_damaged_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let orders = Orders::load(folder.path()).unwrap();
        assert!(!orders.are_verified());
        let taken: &[u8] = b"{}";
        for message in ["{}", "{}\nsig1:AAAA"] {
            assert_eq!(orders.read(TOPIC, message.as_bytes()), Ok(taken));
        }
        fs::create_dir(folder.path().join("identity")).unwrap();
        fs::write(folder.path().join(AUTHORITY), "x").unwrap();
        let error = Orders::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("authority.pem"), "{error}");
    }
}
