//! Prometheus, which reads `/metrics` by a token of its own.
//!
//! A user's token belongs to one orchestrator. Who watches many has one token for all of them instead, which the machine's owner
//! gives to each by `--scrape-token-file`. It reads `/metrics` and means nothing anywhere else, so whoever finds it learns how
//! much there is of what, and changes nothing.

use std::path::Path;

use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use identity::files::{self, Readers};
use model::access::Verb;
use model::name::Name;
use rest::guard::{Need, Realm};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::guard::bearer;
use super::{Access, AccessError};

/// How Prometheus is called where requests are counted.
const SCRAPER: &str = "prometheus";
/// Characters of a token: what nobody guesses, and what a header has room for.
const LENGTH: std::ops::RangeInclusive<usize> = 32..=200;

impl Access {
    /// Whoever shows the token in this file reads `/metrics`.
    ///
    /// # Errors
    /// When there is no such file, others can read it, or it holds no token.
    pub fn scraped_by(&self, file: Option<&Path>) -> Result<(), AccessError> {
        let Some(file) = file else { return Ok(()) };
        let text = files::read(file, Readers::Owner).map_err(AccessError::ScrapeFile)?;
        let token = text.as_deref().map(str::trim).filter(|token| {
            LENGTH.contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic())
        });
        let token = token.ok_or_else(|| AccessError::ScrapeToken {
            path: file.to_owned(),
        })?;
        let hash = Sha256::digest(token.as_bytes()).into();
        // It is read once, at the start.
        let _ = self.0.scraper.set(hash);
        Ok(())
    }

    /// Prometheus, if it is who asks, and asks for nothing but what it may have.
    pub(super) fn scraper(&self, need: Need, request: &Parts) -> Option<Name> {
        let known = self.0.scraper.get()?;
        if need != Need::Right(Verb::Read, Realm::System) || request.uri.path() != "/metrics" {
            return None;
        }
        let token = bearer(request.headers.get(AUTHORIZATION)?.to_str().ok()?)?;
        let given: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let is = bool::from(known.ct_eq(&given));
        Name::new(SCRAPER).ok().filter(|_| is)
    }
}
