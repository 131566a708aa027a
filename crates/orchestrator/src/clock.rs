//! Time and randomness of this machine: what the core must not make itself.

use model::time::{Instant, Now, Wall};

/// The system gives no random numbers; nothing can be started without.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers: {0}")]
pub struct NoRandom(#[from] getrandom::Error);

/// The present.
pub fn now() -> Now {
    Now {
        steady: Instant(daemon::clock::steady_millis()),
        wall: Wall(daemon::clock::wall_millis()),
    }
}

/// Random bytes.
///
/// # Errors
/// When the system has none.
pub fn random<const N: usize>() -> Result<[u8; N], NoRandom> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(NoRandom)?;
    Ok(bytes)
}

/// A random number that is not 0, which would mean "none".
///
/// # Errors
/// As [`random`].
pub fn nonce() -> Result<u64, NoRandom> {
    Ok(u64::from_be_bytes(random()?).max(1))
}

/// The 128 bits of a new id: 48 bits of wall-clock milliseconds, then 80 random ones.
///
/// # Errors
/// As [`random`].
pub fn mint() -> Result<u128, NoRandom> {
    let time = (daemon::clock::wall_millis() as u128 & 0xffff_ffff_ffff) << 80;
    Ok(time | (u128::from_be_bytes(random()?) >> 48))
}
