//! The endpoint in a process of its own, steered over a second port.
//!
//! A command comes as 12 bytes: the number of the worker and the payload's eight. The worker's number [`COUNT`] asks for the
//! count of messages, which is answered in eight bytes. The process ends when the steering connection does.

use std::io::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use identity::door::{Door, Plain};
use identity::gate::{self, Showing};
use mqtt::endpoint::{self, Handle, Inbound, Login, NotAdmitted, Options, Published, Verdict};
use protocol::topic::Topic;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::packet::node;
use crate::papers;

/// Stands in the place of a worker's number.
pub(crate) const COUNT: u32 = u32::MAX;

/// Runs until the steering connection ends.
pub(crate) async fn serve(identity: Option<&Path>) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let steering = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let (sender, mut inbound) = mpsc::channel(1024);
    let handle = endpoint::serve(
        (listener, door(identity)?),
        Options::default(),
        Arc::new(authenticate),
        sender,
        CancellationToken::new(),
    )?;
    let ports = (handle.local_addr().port(), steering.local_addr()?.port());
    writeln!(std::io::stdout(), "{} {}", ports.0, ports.1)?;
    let arrived = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&arrived);
    tokio::spawn(async move {
        while let Some(told) = inbound.recv().await {
            if let Inbound::Message { .. } = told {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let (stream, _) = steering.accept().await?;
    stream.set_nodelay(true)?;
    // Its end is the end of this process.
    let _ = steer(stream, handle, &arrived).await;
    Ok(())
}

/// For TLS as well where there is an authority.
fn door(identity: Option<&Path>) -> anyhow::Result<Door> {
    let Some(folder) = identity else {
        return Ok(Door::plain(Plain::ThisMachine));
    };
    let authority = papers::authority(folder)?;
    let server = authority.server(&["127.0.0.1".to_owned()], papers::life())?;
    let tls = gate::server(&authority, Showing::new(&server)?)?;
    Ok(Door::new(tls, Plain::ThisMachine))
}

async fn steer(mut stream: TcpStream, handle: Handle, arrived: &AtomicU64) -> std::io::Result<()> {
    loop {
        let number = stream.read_u32().await?;
        let stamp = stream.read_u64().await?;
        if number == COUNT {
            stream.write_u64(arrived.load(Ordering::Relaxed)).await?;
            continue;
        }
        let payload = Bytes::copy_from_slice(&stamp.to_be_bytes());
        // A command that does not get out is missed by the worker, and so shows in the figures.
        let (Published::Published | Published::Full | Published::NoSession | Published::TooLarge) =
            handle.publish(&Topic::Control(node(number)), payload);
    }
}

/// Who comes with a user name is a worker.
fn authenticate(login: &Login) -> Verdict {
    match &login.username {
        None => Verdict::Reader,
        Some(user) => user
            .parse()
            .map_or(Verdict::Refused(NotAdmitted::Password), Verdict::Worker),
    }
}
