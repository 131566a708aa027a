//! What a worker decides: deployments, crashes, restarts of its engine, and its link.

#![expect(
    clippy::needless_raw_string_hashes,
    reason = "this is how expect-test writes its expectations"
)]

#[cfg(test)]
mod crashes;
#[cfg(test)]
mod deploy;
mod forbidden;
#[cfg(test)]
mod health;
#[cfg(test)]
mod link;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod restarts;
mod silence;
#[cfg(test)]
mod support;
#[cfg(test)]
mod telling;
