//! One connection of one cluster.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use daemon::crashpoint;
use futures_util::stream::{FuturesUnordered, StreamExt};
use model::id::ClusterId;
use model::location::Location;
use orchestrator::access::Claim;
use orchestrator::tunnels::{Tunnels, UNDER_WAY};
use orchestrator::{SUPERSEDED, Unavailable, clock, with_sources};
use protocol::message::adopt::Adoption;
use protocol::message::instances::Reported;
use protocol::message::parts::Assembler;
use protocol::message::register::Refused;
use protocol::message::uplink::relay::Frame as Relayed;
use protocol::message::uplink::{
    self, ADMINISTRATORS, ASK, ASSIGN, CONFIRMED, OVERTAKEN, RELAY, REQUEST, Request, Standing,
    Welcome,
};
use protocol::message::{MessageError, SlotEntry};
use rest::guard::from;
use root_core::{Answer, Beat, Input, Registration, Report, State};
use secrets::PublicKey;
use serde_json::Value;
use socketioxide::extract::{AckSender, SocketRef};
use socketioxide::{SendError, SocketError};
use sync::Term;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::links::Outbound;
use super::{CONNECT, Desk, Down};
use crate::http::straight::kept;

/// How long a cluster may take nothing before it is disconnected.
const STUCK: Duration = Duration::from_secs(10);
/// Between two lines about messages that cannot be read.
const QUIET: Duration = Duration::from_secs(10);
/// Between two attempts to send to a connection that is full.
const RETRY: Duration = Duration::from_millis(5);

/// What a cluster sends.
pub(super) enum Frame {
    /// Who it is.
    Register(Value, AckSender),
    /// Anything else.
    News(Kind, Value),
}

/// Which event.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Sync,
    Report,
    Aggregate,
    Adopt,
    Events,
}

/// A cluster that was let in.
struct Member {
    cluster: ClusterId,
    session: u64,
    /// For what keys to secrets are encrypted that it gets.
    sealing: Option<PublicKey>,
    reports: Assembler<Reported<SlotEntry>>,
    adoptions: Assembler<Adoption>,
}

pub(super) struct Session {
    pub(super) socket: SocketRef,
    pub(super) desk: Desk,
    pub(super) gone: CancellationToken,
    /// Whether it ended since nothing was heard.
    pub(super) silent: Arc<AtomicBool>,
    /// Told who this is.
    pub(super) member: Arc<OnceLock<ClusterId>>,
    /// Of workers that are relayed.
    pub(super) tunnels: Tunnels,
}

impl Session {
    /// Serves the connection until it ends, then sees that it is closed. `relayed` is what the tunnels have to say.
    pub(super) async fn run(
        self,
        mut inbound: mpsc::Receiver<Frame>,
        relayed: mpsc::Receiver<Relayed>,
    ) {
        if let Some((mut member, outbound)) = self.enter(&mut inbound).await {
            let (id, sealing) = ((member.cluster, member.session), member.sealing);
            tracing::info!(cluster.id = %id.0, session = id.1, "a cluster connected");
            tokio::select! {
                // Cancel-safe where it matters: the connection is over when any of these ends.
                () = self.read(&mut inbound, &mut member) => {}
                () = self.write(outbound, relayed, sealing) => {}
            }
            self.desk.links.remove(id.0, id.1);
            self.desk.streams.gone(id.0);
            tracing::info!(cluster.id = %id.0, session = id.1, "a cluster disconnected");
            let closed = Input::Closed {
                cluster: id.0,
                session: id.1,
                silent: self.silent.load(Ordering::Relaxed),
            };
            // Without a controller nobody wants to know.
            let _ = self.desk.handle.tell(closed).await;
        }
        self.gone.cancel();
        self.disconnect().await;
    }

    /// Waits for the registration; `None`: the connection is over, or nobody was let in.
    async fn enter(&self, inbound: &mut mpsc::Receiver<Frame>) -> Option<(Member, Outbound)> {
        let registered = async {
            loop {
                match inbound.recv().await? {
                    Frame::Register(request, ack) => break Some((request, ack)),
                    Frame::News(..) => self.desk.metrics.dropped.inc(),
                }
            }
        };
        let (request, ack) = tokio::select! {
            request = registered => request?,
            () = self.gone.cancelled() => return None,
            () = tokio::time::sleep(CONNECT) => return None,
        };
        let admitted = self.admit(&request).await;
        crashpoint!("root.register.admitted");
        let answer = admitted.as_ref().map_err(Clone::clone);
        let answer = answer.map(|(cluster, _)| Welcome {
            cluster: *cluster,
            report_interval: self.desk.report_interval,
            relay: self.desk.relay.clone(),
        });
        let entered = match admitted {
            Ok((cluster, sealing)) => Some(self.join(cluster, sealing).await.ok()?),
            Err(refused) => {
                tracing::warn!(
                    code = refused.code,
                    message = refused.message,
                    "a cluster was not let in"
                );
                None
            }
        };
        // A cluster that is gone registers again.
        let _ = ack.send(&uplink::answer(&answer));
        crashpoint!("root.register.answered");
        if entered.is_none() {
            // It hangs up when it has read why; if it does not, it is disconnected.
            let _ = tokio::time::timeout(CONNECT, self.gone.cancelled()).await;
        }
        entered
    }

    async fn admit(&self, request: &Value) -> Result<(ClusterId, Option<PublicKey>), Refused> {
        let request = Request::decode(request)
            .map_err(|error| refused("bad_message", with_sources(&error)))?;
        let location = Location::parse(&request.location)
            .map_err(|error| refused("bad_location", error.to_string()))?;
        let sealing = request.sealing_key.as_deref();
        let sealing = sealing.map(str::parse::<PublicKey>).transpose();
        let sealing = sealing.map_err(|error| refused("bad_message", error.to_string()))?;
        self.identify(&request).await?;
        let fresh = clock::mint().map_err(no_random)?;
        let registration = Box::new(Registration {
            name: request.name,
            location,
            http: kept(request.http, from(self.socket.req_parts())),
            saved: request.cluster_id,
            fresh: ClusterId::from_bits(fresh),
            boot: request.boot,
            start: request.start,
            store: request.incarnation.zip(request.term.map(Term::from)),
        });
        let ask = |request| Input::Register {
            request,
            registration,
        };
        match self.desk.handle.ask(ask).await {
            Ok(Answer::Registered(cluster)) => Ok((cluster, sealing)),
            Ok(Answer::ClusterNameInUse(name)) => Err(refused(
                "name_in_use",
                format!("another cluster named {name} is connected; give this one another --name"),
            )),
            Ok(Answer::ClusterOvertaken(name)) => Err(refused(
                OVERTAKEN,
                format!(
                    "another copy of the store of cluster {name} has been here since this one was made; {SUPERSEDED}"
                ),
            )),
            Ok(Answer::Job(_)) => Err(refused("superseded", format!("of this root: {SUPERSEDED}"))),
            Ok(
                Answer::Patched(_)
                | Answer::Scheduled
                | Answer::Released(_)
                | Answer::Forgotten(_)
                | Answer::ClusterIsThere(..)
                | Answer::NoSuchCluster(_),
            )
            | Err(Unavailable::Now | Unavailable::Fault) => {
                Err(refused("unavailable", Unavailable::Now.to_string()))
            }
        }
    }

    /// Who shows no certificate must not be somebody who has one, by id or by name.
    async fn identify(&self, request: &Request) -> Result<(), Refused> {
        let opened_by = self.socket.req_parts();
        let access = &self.desk.access;
        let admitted = async |id: Option<ClusterId>| {
            let claim = Claim::of(opened_by, id.map(ClusterId::bits));
            access.admit_member(claim).await
        };
        let mut outcome = admitted(request.cluster_id).await;
        if outcome.is_ok() && request.cluster_id.is_none() {
            let name = request.name.to_string();
            let find = move |core: &State, _now| core.cluster(&name).map(|cluster| cluster.id);
            let holder = self.desk.handle.read(find).await;
            let holder = holder.map_err(|error| refused("unavailable", error.to_string()))?;
            outcome = admitted(holder).await;
        }
        outcome.map_err(|error| refused(error.code(), error.to_string()))
    }

    async fn join(
        &self,
        cluster: ClusterId,
        sealing: Option<PublicKey>,
    ) -> Result<(Member, Outbound), Unavailable> {
        let (socket, gone) = (self.socket.clone(), self.gone.clone());
        let tunnels = self.tunnels.clone();
        let (session, outbound) = self.desk.links.insert(cluster, socket, tunnels, gone);
        // Of a former connection, nothing comes on this one.
        self.desk.streams.gone(cluster);
        // Its chunks are known as its own from now on.
        let _ = self.member.set(cluster);
        let connected = Input::Connected { cluster, session };
        let told = self.desk.handle.tell(connected).await;
        told.inspect_err(|_| self.desk.links.remove(cluster, session))?;
        let member = Member {
            cluster,
            session,
            sealing,
            reports: Assembler::default(),
            adoptions: Assembler::default(),
        };
        Ok((member, outbound))
    }

    /// Puts what the cluster says into the controller's queue, until the connection or the controller ends.
    async fn read(&self, inbound: &mut mpsc::Receiver<Frame>, member: &mut Member) {
        let mut complained: Option<Instant> = None;
        loop {
            let frame = tokio::select! {
                biased;
                () = self.gone.cancelled() => return,
                // Cancel-safe: nothing is taken unless it is returned.
                frame = inbound.recv() => frame,
            };
            let inputs = match frame {
                Some(Frame::News(kind, value)) => member.inputs(kind, &value),
                Some(Frame::Register(_, ack)) => {
                    let again = refused("already_registered", "this connection is registered");
                    // It knows.
                    let _ = ack.send(&uplink::answer(&Err(again)));
                    continue;
                }
                None => return,
            };
            let inputs = inputs.unwrap_or_else(|error| {
                self.desk.metrics.dropped.inc();
                // All are counted; not every one is worth a line.
                let now = Instant::now();
                if complained.is_none_or(|last| now.duration_since(last) >= QUIET) {
                    complained = Some(now);
                    tracing::warn!(
                        cluster.id = %member.cluster,
                        error = &error as &dyn std::error::Error,
                        "a cluster's message cannot be read and was dropped; others may follow unnamed"
                    );
                }
                Vec::new()
            });
            for input in inputs {
                crashpoint!("root.news.unheard");
                if self.desk.handle.tell(input).await.is_err() {
                    return;
                }
                crashpoint!("root.news.heard");
            }
        }
    }

    /// Sends what the controller decided, until the connection ends; what is relayed when there is nothing else, and no
    /// more of it at a time than leaves room for the rest.
    async fn write(
        &self,
        mut outbound: Outbound,
        mut relayed: mpsc::Receiver<Relayed>,
        sealing: Option<PublicKey>,
    ) {
        let mut under_way = FuturesUnordered::new();
        let mut administrators = self.desk.access.administrators();
        administrators.mark_changed();
        loop {
            // Cancel-safe: queues, and frames that are under way in any case.
            let message = tokio::select! {
                biased;
                message = outbound.decided.recv() => message,
                Some(stream) = outbound.asked.recv() => {
                    if !self.emit(REQUEST, &uplink::stream(&stream)).await {
                        return;
                    }
                    continue;
                }
                Ok(()) = administrators.changed() => {
                    let all = uplink::administrators(&administrators.borrow_and_update());
                    if !self.emit(ADMINISTRATORS, &all).await {
                        return;
                    }
                    continue;
                }
                Some(()) = under_way.next() => continue,
                Some(frame) = relayed.recv(), if under_way.len() < UNDER_WAY => {
                    let Some(arrived) = self.emit_relayed(&frame.encode()).await else {
                        return;
                    };
                    under_way.push(arrived);
                    continue;
                }
            };
            let Some(message) = message else { return };
            let sent = match message {
                Down::Assign(changes) => {
                    let mut sent = true;
                    crashpoint!("root.assign.unsent");
                    for change in &changes {
                        let desired = change.put.iter().map(|entry| &entry.value);
                        let keys = self.desk.access.secret_keys(sealing.as_ref(), desired);
                        sent = sent && self.emit(ASSIGN, &uplink::assign(change, &keys)).await;
                    }
                    crashpoint!("root.assign.sent");
                    sent
                }
                Down::Confirm(stamp) => {
                    crashpoint!("root.confirm.unsent");
                    self.emit(CONFIRMED, &uplink::confirmed(stamp)).await
                }
                Down::Ask(ask) => self.emit(ASK, &uplink::ask(ask)).await,
            };
            if !sent {
                return;
            }
        }
    }

    /// Whether the connection took the message; it holds 128 of them.
    async fn emit(&self, event: &str, value: &Value) -> bool {
        let emitted = self.until_taken(event, || self.socket.emit(event, value));
        emitted.await.is_some()
    }

    /// Sends a frame, and gives when the cluster said that it arrived; one that never says so is a matter of the pings.
    async fn emit_relayed(&self, value: &Value) -> Option<impl Future<Output = ()> + use<>> {
        let emit = || {
            let operators = self.socket.timeout(STUCK);
            operators.emit_with_ack::<_, Value>(RELAY, value)
        };
        let answer = self.until_taken(RELAY, emit).await?;
        Some(async move {
            let _ = answer.await;
        })
    }

    /// Tries until the connection has room.
    async fn until_taken<T>(
        &self,
        event: &str,
        emit: impl Fn() -> Result<T, SendError>,
    ) -> Option<T> {
        let sending = async {
            loop {
                match emit() {
                    Ok(sent) => return Some(sent),
                    Err(error) if is_full(&error) => tokio::time::sleep(RETRY).await,
                    Err(error) => {
                        tracing::debug!(%error, event, "a message was not sent");
                        return None;
                    }
                }
            }
        };
        tokio::time::timeout(STUCK, sending)
            .await
            .unwrap_or_else(|_stuck| {
                tracing::warn!(event, "a cluster takes nothing; it is disconnected");
                None
            })
    }

    /// A full connection refuses even to be closed, so it is tried until the ping timeout closes it for sure.
    async fn disconnect(self) {
        let closing = async {
            while let Err(SocketError::InternalChannelFull) = self.socket.clone().disconnect() {
                tokio::time::sleep(RETRY).await;
            }
        };
        // Past that nobody is there any more.
        let _ = tokio::time::timeout(STUCK, closing).await;
    }
}

impl Member {
    /// What a message tells the core; nothing while its other parts are under way.
    fn inputs(&mut self, kind: Kind, value: &Value) -> Result<Vec<Input>, MessageError> {
        let cluster = self.cluster;
        Ok(match kind {
            Kind::Sync => {
                let (held, numbers) = uplink::read_sync(value)?;
                vec![Input::Held {
                    cluster,
                    held,
                    beat: beat(numbers),
                }]
            }
            Kind::Report => {
                let whole = self.reports.take(uplink::read_report(value)?);
                whole
                    .map(|Reported { report, held }| Input::Reported {
                        cluster,
                        report,
                        held,
                    })
                    .into_iter()
                    .collect()
            }
            Kind::Aggregate => {
                let standing = Standing::decode(value)?;
                let (held, beat) = (standing.held, beat(standing.beat));
                let report = Box::new(Report {
                    aggregate: standing.aggregate,
                    scheduler: standing.scheduler,
                    boot: beat.boot,
                    incarnation: held.incarnation,
                    revision: held.revision,
                });
                let held = Input::Held {
                    cluster,
                    held,
                    beat,
                };
                vec![held, Input::Aggregate { cluster, report }]
            }
            Kind::Events => vec![Input::Told {
                cluster,
                telling: uplink::read_events(value)?,
            }],
            Kind::Adopt => {
                let whole = self.adoptions.take(uplink::read_adoption(value)?);
                whole
                    .map(|Adoption { held, desired }| Input::Adopt {
                        cluster,
                        held,
                        desired,
                    })
                    .into_iter()
                    .collect()
            }
        })
    }
}

const fn beat(beat: protocol::message::Beat) -> Beat {
    Beat {
        boot: beat.boot,
        sequence: beat.sequence,
        observed_digest: beat.observed_digest,
        settled: beat.settled,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "an argument of map_err")]
fn no_random(error: clock::NoRandom) -> Refused {
    tracing::error!(%error, "cannot make an id");
    refused("unavailable", "the root cannot make an id now; try again")
}

fn refused(code: &str, message: impl Into<String>) -> Refused {
    Refused {
        code: code.to_owned(),
        message: message.into(),
    }
}

fn is_full(error: &SendError) -> bool {
    matches!(error, SendError::Socket(SocketError::InternalChannelFull))
}
