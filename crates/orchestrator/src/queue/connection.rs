//! A connection to Redis.

use std::path::Path;
use std::sync::Arc;

use daemon::dial::Remote as Place;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, IntoConnectionInfo as _, RedisConnectionInfo, RedisError};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt as _, join, split};

use super::url::{REDIS, RedisUrl};
use crate::exchange::{dial, reach};

const PORT: u16 = 6379;

/// By what Redis is reached.
#[derive(Debug, Clone)]
pub struct Redis {
    url: RedisUrl,
    place: Place,
    login: RedisConnectionInfo,
    tls: Option<Arc<ClientConfig>>,
}

impl Redis {
    pub(super) fn new(url: &RedisUrl, ca: Option<&Path>, insecure: bool) -> Result<Self, String> {
        let (place, tls) = reach(&REDIS, url.shown(), ("--redis-ca", ca), insecure)?;
        // TLS is ours, so the driver is told of the rest alone.
        let plain = url.whole().replacen("rediss://", "redis://", 1);
        let read = plain.as_str().into_connection_info();
        let read = read.map_err(|error| format!("--redis {url}: {error}"))?;
        Ok(Self {
            login: read.redis_settings().clone().set_skip_set_lib_name(),
            place,
            tls,
            url: url.clone(),
        })
    }

    /// Where it is, without what is secret.
    pub fn url(&self) -> &RedisUrl {
        &self.url
    }

    /// A connection of which no more than so many bytes are read. It waits for answers as long as they take, and ends with what
    /// is returned.
    pub(super) async fn connect(&self, limit: u64) -> Result<MultiplexedConnection, RedisError> {
        let stream = dial(&self.place, PORT, self.tls.clone()).await?;
        let (read, write) = split(stream);
        let stream = join(read.take(limit), write);
        let patient = AsyncConnectionConfig::new().set_response_timeout(None);
        let connected = MultiplexedConnection::new_with_config(&self.login, stream, patient);
        let (connection, driver) = connected.await?;
        // It ends with the last clone of the connection.
        tokio::spawn(driver);
        Ok(connection)
    }
}
