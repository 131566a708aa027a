//! One connection: two readers that judge, two writers that are late.

use std::collections::BTreeSet;
use std::io;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::packets::{self, Taped};
use super::schedule::Schedule;
use super::{Direction, Present, Shared, Speaks};
use crate::simulation::Rng;

/// The packet ids of what the proxy makes; they come from the end that nobody reaches who counts from 1.
const OWN_IDS: std::ops::RangeInclusive<u16> = 0xe000..=0xffff;

/// What the tasks of a connection and the test share.
#[derive(Debug)]
pub(super) struct Connection {
    /// The client id of its CONNECT.
    client: OnceLock<String>,
    up: Schedule,
    down: Schedule,
    ids: Mutex<Ids>,
}

/// Ids of packets that the proxy made, until they are acknowledged.
#[derive(Debug, Default)]
struct Ids {
    next: u16,
    open: BTreeSet<(Direction, NonZeroU16)>,
}

impl Connection {
    fn new() -> Self {
        Self {
            client: OnceLock::new(),
            up: Schedule::default(),
            down: Schedule::default(),
            ids: Mutex::default(),
        }
    }

    /// Who connected, once that is known.
    pub(super) fn client(&self) -> Option<&str> {
        self.client.get().map(String::as_str)
    }

    pub(super) fn is(&self, client: String) {
        // A second CONNECT is the server's business.
        let _known = self.client.set(client);
    }

    pub(super) const fn schedule(&self, direction: Direction) -> &Schedule {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    /// An id for a packet that the proxy makes.
    pub(super) fn fresh_id(&self, direction: Direction) -> NonZeroU16 {
        let mut ids = self.ids.lock().unwrap();
        let span = OWN_IDS.end() - OWN_IDS.start();
        let id = NonZeroU16::new(OWN_IDS.end() - ids.next % span).unwrap();
        ids.next = ids.next.wrapping_add(1);
        ids.open.insert((direction, id));
        id
    }

    /// Whether a packet of this direction and id was made here; the acknowledgement is for the proxy then.
    pub(super) fn acknowledged(&self, direction: Direction, id: NonZeroU16) -> bool {
        self.ids.lock().unwrap().open.remove(&(direction, id))
    }

    pub(super) fn inject(&self, taped: &Taped) {
        let direction = taped.direction;
        let bytes = packets::again(self, direction, &taped.publish);
        self.schedule(direction).in_order(Duration::ZERO, bytes);
    }
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// One side closed it.
    Closed,
    /// It breaks for both.
    Reset,
}

/// Carries one connection to its end.
pub(super) async fn run(client: TcpStream, number: u64, shared: Arc<Shared>) {
    shared.counts.lock().unwrap().connections += 1;
    let server = TcpStream::connect(shared.options.server).await;
    let Ok(server) = server else {
        reset(&shared, &[&client]);
        return;
    };
    for stream in [&client, &server] {
        // What fails here only makes it slower.
        let _ = stream.set_nodelay(true);
    }
    let connection = Arc::new(Connection::new());
    {
        let mut connections = shared.connections.lock().unwrap();
        connections.insert(number, Arc::clone(&connection));
    }
    let pump = |direction| Pump {
        shared: &shared,
        connection: &connection,
        direction,
        number,
        present: shared.present.subscribe(),
    };
    let mut present = shared.present.subscribe();
    let end = tokio::select! {
        end = pump(Direction::Up).read(&client) => end,
        end = pump(Direction::Down).read(&server) => end,
        end = pump(Direction::Up).write(&server) => end,
        end = pump(Direction::Down).write(&client) => end,
        _ = present.wait_for(|present| present.reset >= number) => Ok(End::Reset),
    };
    shared.connections.lock().unwrap().remove(&number);
    if !matches!(end, Ok(End::Closed)) {
        reset(&shared, &[&client, &server]);
    }
}

fn reset(shared: &Shared, streams: &[&TcpStream]) {
    shared.counts.lock().unwrap().resets += 1;
    for stream in streams {
        // One that is closed already needs none.
        let _ = stream.set_zero_linger();
    }
}

/// One direction of one connection.
struct Pump<'a> {
    shared: &'a Shared,
    connection: &'a Connection,
    direction: Direction,
    number: u64,
    present: watch::Receiver<Present>,
}

impl Pump<'_> {
    /// Reads, judges, and schedules; returns only when the source breaks.
    async fn read(mut self, source: &TcpStream) -> io::Result<End> {
        let way = u64::from(self.direction == Direction::Down);
        let mut rng = Rng::new(self.shared.options.seed ^ (self.number << 1 | way));
        let mut input = BytesMut::new();
        loop {
            self.passable().await;
            self.connection.schedule(self.direction).room().await;
            source.readable().await?;
            // It may have been stalled while there was nothing to read.
            self.passable().await;
            match source.try_read_buf(&mut input) {
                Ok(0) => {
                    self.connection.schedule(self.direction).end();
                    return std::future::pending().await;
                }
                Ok(_) => self.judge(&mut input, &mut rng),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes what is whole of what was read.
    fn judge(&self, input: &mut BytesMut, rng: &mut Rng) {
        let way = self.present.borrow().rules.way(self.direction).clone();
        match self.shared.options.speaks {
            Speaks::Bytes => {
                let schedule = self.connection.schedule(self.direction);
                schedule.in_order(packets::delay(&way, rng), input.split().freeze());
            }
            Speaks::Mqtt => {
                while let Some(packet) = packets::take(input) {
                    let judge = packets::Judge {
                        shared: self.shared,
                        connection: self.connection,
                        direction: self.direction,
                        way: &way,
                    };
                    judge.carry(packet, rng);
                }
            }
        }
    }

    /// Writes what is due until the other side has ended, or the connection has had its bytes.
    async fn write(mut self, sink: &TcpStream) -> io::Result<End> {
        let mut written: u64 = 0;
        while let Some(bytes) = self.connection.schedule(self.direction).next().await {
            self.passable().await;
            let cap = self.present.borrow().rules.way(self.direction).cap;
            let left = cap.map_or(u64::MAX, |cap| cap.saturating_sub(written));
            let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            write_all(sink, bytes.get(..count).unwrap_or_default()).await?;
            written += count as u64;
            self.shared
                .count(self.direction, |tally| tally.bytes += count as u64);
            if count < bytes.len() {
                return Ok(End::Reset);
            }
        }
        Ok(End::Closed)
    }

    /// Waits until this direction of this connection is open.
    async fn passable(&mut self) {
        let (number, direction) = (self.number, self.direction);
        let open =
            |present: &Present| present.frozen < number && !present.rules.way(direction).stalled;
        // The sender lives as long as the proxy, and its end is ours.
        let _present = self.present.wait_for(open).await;
    }
}

async fn write_all(sink: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        sink.writable().await?;
        match sink.try_write(bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
