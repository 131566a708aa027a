//! How a worker or a cluster joins, and stays what it became.
//!
//! # Flow
//! 1. [`join`] dials the addresses of a token, sends the secret to whoever proves to have the authority that the token names,
//!    and gets a certificate for a [`Key`](identity::Key) of its own.
//! 2. [`Membership`] keeps that in a folder, so that a later start needs neither the token nor an address.
//! 3. [`Approach`] is the server that options name, or the one that was joined. [`Member`] has what to show and whom to believe at each connection, and asks for a new certificate when two thirds of
//!    the present one's life are over.
//!
//! # Guarantees
//! - The secret of a token goes to nobody but the authority that the token names, and the key to nobody.
//! - A lost answer costs no use of the token: the key is on the disk before it is asked for, and the same key gets the same
//!   id.
//! - What came is looked at before it is kept: it is from the authority that was expected, for clients, for this key.
//! - A renewal that fails takes nothing away. No clock has to be right: a life is measured from when the certificate came.

mod approach;
mod client;
mod http;
mod member;
mod membership;
#[cfg(test)]
mod tests;

pub use approach::{Address, Approach, ApproachError, GivenError, given};
pub use client::{JoinError, Joined, Tried, Why, join, renew};
pub use member::{Credentials, Member};
pub use membership::{EntryError, Membership, MembershipError, Wanted, enter};
