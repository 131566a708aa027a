//! A root whose store another one has: it stands by, and passes on to that one what comes to its port, until the store is its
//! own. So clusters and users reach whoever decides by any of the roots, and a balancer before them need not know which.

use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use daemon::notify::Notifier;
use orchestrator::{HeldBy, Opened, StoreAt, Tier, Wait, Waiting, keys, open_store};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::http::standby::{Standby, router};
use crate::{Config, Place, RootError};

/// The store, when it is this root's; `None` if the token is cancelled before that.
pub(crate) async fn store(
    config: &Config,
    place: &Place,
    shutdown: &CancellationToken,
) -> Result<Option<Opened>, RootError> {
    let (held, holder) = watch::channel(None);
    let places = keys::places(place.address, config.advertise.as_deref());
    let waiting = Waiting {
        wait: Wait::StandBy,
        place: places.into_iter().next().unwrap_or_default(),
        held: &held,
        shutdown,
    };
    let opening = open_store(&config.store, &config.data_dir, Tier::Root, waiting);
    if !matches!(config.store, StoreAt::Mongodb(_)) {
        return opening.await;
    }
    let until = shutdown.child_token();
    let _ending = until.clone().drop_guard();
    let listener = again(place)?;
    tokio::spawn(serve(
        config.clone(),
        listener,
        place.address,
        holder,
        until,
    ));
    opening.await
}

/// The same port once more.
fn again(place: &Place) -> Result<TcpListener, RootError> {
    let failed = |source| RootError::Io {
        operation: "serve while standing by",
        source,
    };
    let same = place
        .listener
        .as_fd()
        .try_clone_to_owned()
        .map_err(failed)?;
    TcpListener::from_std(same.into()).map_err(failed)
}

/// Serves the port of a root that only waits, from the moment on that another one is seen to have the store.
async fn serve(
    config: Config,
    listener: TcpListener,
    address: SocketAddr,
    mut holder: watch::Receiver<Option<HeldBy>>,
    until: CancellationToken,
) {
    let seen = tokio::select! {
        () = until.cancelled() => return,
        seen = holder.wait_for(Option::is_some) => seen.is_ok(),
    };
    if !seen {
        return;
    }
    let keys = match crate::keys(&config, address) {
        Ok(keys) => Arc::new(keys),
        Err(error) => {
            // It is told again, as the reason, when this root is to decide.
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "nothing is passed on while standing by");
            return;
        }
    };
    config.notifier.ready();
    let door = keys.users_door(config.insecure);
    let router = router(Standby { holder, keys });
    tokio::select! {
        // It never fails.
        _ = rest::serve((listener, door), router, until) => {}
        () = alive(&config.notifier) => {}
    }
}

/// Tells a service manager that this goes on.
async fn alive(notifier: &Notifier) {
    loop {
        notifier.alive();
        let within = notifier.alive_within();
        tokio::time::sleep(within.unwrap_or(Duration::from_mins(1))).await;
    }
}
