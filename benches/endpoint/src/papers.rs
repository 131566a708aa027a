//! What is shown over TLS: an authority in a folder, and a certificate for each worker.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use identity::authority::{Authority, Life};
use identity::{Credential, Holder, Key, Trust};
use model::time::Wall;
use rustls::ClientConfig;

use crate::packet::node;

/// From now on for a day, as certificates of workers have it.
pub(crate) fn life() -> Life {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Life {
        from: Wall(now.map_or(0, |now| now.as_millis() as i64)),
        lasting: Duration::from_hours(24),
    }
}

/// Makes an authority in a folder.
pub(crate) fn make(folder: &Path) -> anyhow::Result<Authority> {
    let (authority, key) = Authority::make("cluster", life().from)?;
    fs::write(folder.join("authority.pem"), authority.certificate())?;
    fs::write(folder.join("authority.key"), key.to_pem())?;
    Ok(authority)
}

/// The authority in a folder.
pub(crate) fn authority(folder: &Path) -> anyhow::Result<Authority> {
    let read = |name| fs::read_to_string(folder.join(name)).context("there is no authority");
    let key = Key::from_pem(&read("authority.key")?)?;
    Ok(Authority::load(&key, &read("authority.pem")?)?)
}

/// TLS of so many workers.
pub(crate) fn clients(authority: &Authority, count: u32) -> anyhow::Result<Vec<Arc<ClientConfig>>> {
    let trust = Trust::authority(&authority.certificate())?;
    let client = |number| {
        let key = Key::make()?;
        let holder = Holder::Worker(node(number));
        let issued = authority.issue(&key.request()?, holder, life())?;
        let own = Credential::new(&issued.certificate, &key)?;
        Ok(trust.client(Some(&own))?)
    };
    (0..count).map(client).collect()
}
