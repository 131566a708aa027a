//! A root whose store another one has: it stands by, and passes on to that one what comes to its port, until the store is its
//! own. So clusters and users reach whoever decides by any of the roots, and a balancer before them need not know which.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use daemon::notify::Notifier;
use identity::door::Door;
use orchestrator::{Opened, StoreAt, Tier, Wait, Waiting, keys, open_store};
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
    let is_shared = matches!(config.store, StoreAt::Mongodb(_));
    let keys = is_shared
        .then(|| crate::keys(config, place.address))
        .transpose()?;
    let places = keys::places(place.address, config.advertise.as_deref());
    let pin = keys.as_ref().map(|keys| keys.authority().pin().to_string());
    let waiting = Waiting {
        wait: Wait::StandBy,
        place: places.into_iter().next().unwrap_or_default(),
        mark: pin.unwrap_or_default(),
        held: &held,
        shutdown,
    };
    let opening = open_store(&config.store, &config.data_dir, Tier::Root, waiting);
    let Some(keys) = keys else {
        return opening.await;
    };
    let until = shutdown.child_token();
    let _ending = until.clone().drop_guard();
    let listener = (again(place)?, keys.users_door(config.insecure));
    let keys = Arc::new(keys);
    tokio::spawn(serve(
        listener,
        Standby { holder, keys },
        config.notifier.clone(),
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
    listener: (TcpListener, Door),
    standby: Standby,
    notifier: Notifier,
    until: CancellationToken,
) {
    let mut holder = standby.holder.clone();
    let seen = tokio::select! {
        () = until.cancelled() => return,
        seen = holder.wait_for(Option::is_some) => seen.is_ok(),
    };
    if !seen {
        return;
    }
    notifier.ready();
    tokio::select! {
        // It never fails.
        _ = rest::serve(listener, router(standby), until) => {}
        () = alive(&notifier) => {}
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
