//! As whom this worker has joined.

use daemon::clock::wall_millis;
use model::time::Wall;
use protocol::time::format_wall;

use super::Finding;
use crate::config::Config;
use crate::runtime::chain;

/// Whether it is somebody's worker: by a certificate, or by a registration that was answered.
pub(super) fn work(config: &Config) -> Finding {
    let finding = examine(config);
    let is_known = config.membership().is_ok_and(|it| it.is_some())
        || config.data_dir.join(crate::link::saved::FILE).exists();
    if is_known || finding.level == super::Level::Bad {
        return finding;
    }
    let remedy = "give it a token, by --join-token-file or EDGEIO_JOIN_TOKEN, or see in its log why it does not join";
    Finding::bad(
        finding.check,
        "this worker has joined no cluster yet",
        remedy,
    )
}

pub(super) fn examine(config: &Config) -> Finding {
    let check = "identity";
    let membership = match config.membership() {
        Ok(Some(membership)) => membership,
        Ok(None) => {
            let what = "this worker has not joined with a token; it registers with whoever lets it";
            return Finding::ok(check, what);
        }
        Err(error) => {
            let remedy = "put a copy of the folder identity/ back, or join again with a new token: node-engine join TOKEN";
            return Finding::bad(check, chain(&error), remedy);
        }
    };
    let until = membership.validity().until;
    let pin = membership.pin().map(|pin| pin.to_string());
    let what = format!(
        "this worker is {} to the authority {} at {}, by a certificate until {}",
        membership.holder().id(),
        pin.unwrap_or_default(),
        membership.place(),
        format_wall(until)
    );
    if Wall(wall_millis()) <= until {
        return Finding::ok(check, what);
    }
    let remedy = "start the engine, which renews it up to 30 days after its end; later join again with a new token: \
                  node-engine join TOKEN";
    Finding::warn(
        check,
        format!("{what}, which is over by this machine's clock"),
        remedy,
    )
}
