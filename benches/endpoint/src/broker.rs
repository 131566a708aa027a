//! The two brokers: each a child process, started and stopped alike, and the way commands and counts go.

use std::cell::Cell;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::rc::Rc;

use anyhow::{Context, bail};
use bytes::BytesMut;
use identity::authority::Authority;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::server::COUNT;
use crate::{packet, papers};

/// How long a broker has to come up and to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// edgeIO's endpoint, in plain text.
    Own,
    /// The same over TLS 1.3, with a certificate of each worker's own.
    Secured,
    /// Mosquitto, as it is installed.
    Mosquitto,
}

/// A running broker. Its process is killed with it.
pub(crate) struct Broker {
    child: Child,
    pub(crate) address: SocketAddr,
    steering: Steering,
    /// Who issues to its workers, where they come by TLS.
    pub(crate) authority: Option<Authority>,
    _config: Option<tempfile::NamedTempFile>,
}

/// How commands get in and counts out.
enum Steering {
    /// Over the port for it.
    Own(TcpStream),
    /// As a client that subscribes to what the workers publish, and publishes the commands.
    Client {
        writer: OwnedWriteHalf,
        arrived: Rc<Cell<u64>>,
        last_id: u16,
    },
}

impl Broker {
    /// Starts it and connects the steering.
    pub(crate) async fn start(kind: Kind) -> anyhow::Result<Self> {
        match kind {
            Kind::Own => Self::own(None).await,
            Kind::Secured => Self::own(Some(tempfile::tempdir()?)).await,
            Kind::Mosquitto => Self::mosquitto().await,
        }
    }

    async fn own(identity: Option<TempDir>) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve");
        let mut authority = None;
        if let Some(folder) = &identity {
            authority = Some(papers::make(folder.path())?);
            command.arg("--identity").arg(folder.path());
        }
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let output = child.stdout.take().context("no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).await?;
        let (port, steering) = line.trim().split_once(' ').context("no ports")?;
        let steering = TcpStream::connect((Ipv4Addr::LOCALHOST, steering.parse()?)).await?;
        steering.set_nodelay(true)?;
        Ok(Self {
            child,
            address: (Ipv4Addr::LOCALHOST, port.parse::<u16>()?).into(),
            steering: Steering::Own(steering),
            authority,
            _config: None,
        })
    }

    async fn mosquitto() -> anyhow::Result<Self> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = free.local_addr()?;
        drop(free);
        let mut config = tempfile::NamedTempFile::new()?;
        writeln!(
            config,
            "listener {} 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\nlog_type none",
            address.port()
        )?;
        let child = Command::new("mosquitto")
            .arg("-c")
            .arg(config.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("Mosquitto is not installed; leave it out by --alone")?;
        let began = Instant::now();
        while let Err(error) = TcpStream::connect(address).await {
            if began.elapsed() > PATIENCE {
                return Err(error).context("Mosquitto does not listen");
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(Self {
            child,
            address,
            steering: steer_by_client(address).await?,
            authority: None,
            _config: Some(config),
        })
    }

    /// The id of its process.
    pub(crate) fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().context("the broker has ended")
    }

    /// Sends a command of eight bytes to a worker.
    pub(crate) async fn command(&mut self, number: u32, stamp: u64) -> anyhow::Result<()> {
        match &mut self.steering {
            Steering::Own(stream) => {
                let mut bytes = number.to_be_bytes().to_vec();
                bytes.extend(stamp.to_be_bytes());
                stream.write_all(&bytes).await?;
            }
            Steering::Client {
                writer, last_id, ..
            } => {
                *last_id = last_id.checked_add(1).unwrap_or(1);
                let topic = format!("nodes/{}/control", packet::node(number));
                let bytes = packet::publish(&topic, *last_id, &stamp.to_be_bytes());
                writer.write_all(&bytes).await?;
            }
        }
        Ok(())
    }

    /// How many messages of workers have arrived.
    pub(crate) async fn arrived(&mut self) -> anyhow::Result<u64> {
        match &mut self.steering {
            Steering::Own(stream) => {
                let mut bytes = COUNT.to_be_bytes().to_vec();
                bytes.extend([0; 8]);
                stream.write_all(&bytes).await?;
                Ok(stream.read_u64().await?)
            }
            Steering::Client { arrived, .. } => Ok(arrived.get()),
        }
    }
}

/// What a cluster-orchestrator is to a foreign broker: here on two connections, one for each direction.
async fn steer_by_client(address: SocketAddr) -> anyhow::Result<Steering> {
    let mut inward = TcpStream::connect(address).await?;
    inward.set_nodelay(true)?;
    inward.write_all(&packet::connect("inward", false)).await?;
    let filter = packet::subscribe("nodes/+/information", 1);
    inward.write_all(&filter).await?;
    let mut granted = [0; 9];
    timeout(PATIENCE, inward.read_exact(&mut granted)).await??;
    if granted != [0x20, 2, 0, 0, 0x90, 3, 0, 1, 1] {
        bail!("Mosquitto refuses: {granted:?}");
    }
    let arrived = Rc::new(Cell::new(0));
    tokio::task::spawn_local(count(inward, Rc::clone(&arrived)));
    let outward = TcpStream::connect(address).await?;
    outward.set_nodelay(true)?;
    let (mut answers, mut writer) = outward.into_split();
    writer.write_all(&packet::connect("outward", false)).await?;
    tokio::task::spawn_local(
        async move { tokio::io::copy(&mut answers, &mut tokio::io::sink()).await },
    );
    Ok(Steering::Client {
        writer,
        arrived,
        last_id: 0,
    })
}

/// Counts what the workers publish, and acknowledges it.
async fn count(mut stream: TcpStream, arrived: Rc<Cell<u64>>) {
    let mut input = BytesMut::new();
    while let Ok(1..) = stream.read_buf(&mut input).await {
        let mut acks = Vec::new();
        while let Some((first, body)) = packet::take(&mut input) {
            if first >> 4 == 3 {
                arrived.set(arrived.get() + 1);
                if let Some((Some(id), _)) = packet::published(first, body) {
                    acks.extend(packet::ack(id));
                }
            }
        }
        if stream.write_all(&acks).await.is_err() {
            return;
        }
    }
}
