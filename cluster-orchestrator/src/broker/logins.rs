//! Who may log in to MQTT, and what is said of those who may not.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use identity::Holder;
use identity::gate::{Peer, Standing};
use model::id::NodeId;
use model::time::Wall;
use mqtt::endpoint::{Attempt, Authenticate, Denied, Login, NotAdmitted, Verdict, Way, Witness};

use orchestrator::access::Access;
use tokio::sync::mpsc;

use crate::outlets::Credentials;

/// Whom nobody lets in any more, whatever it shows. It must not block.
pub(crate) type Revoked = Arc<dyn Fn(NodeId) -> bool + Send + Sync>;

/// Why a topic is refused.
const NOT_ITS_OWN: &str = "it is none of its own topics";
/// Between two lines of log about one client.
const QUIET: Duration = Duration::from_secs(10);
/// Clients that are told apart.
const CLIENTS: usize = 1_024;

/// By what logins are judged.
pub(crate) struct Logins {
    pub(crate) credentials: Credentials,
    /// Plain text, and nobody's certificate, are good enough from everywhere.
    pub(crate) insecure: bool,
    pub(crate) revoked: Revoked,
}

/// Who may log in: a worker by the certificate that it shows, and by the password of its last registration; without a
/// certificate by that password alone, as far as it comes from this machine, from the root's through the root, or with
/// `--insecure`; and readers from this machine, or from anywhere with `--insecure`.
pub(crate) fn authenticate(logins: Logins) -> Authenticate {
    Arc::new(
        move |login: &Login| match logins.judge(login, orchestrator::clock::now().wall) {
            Ok(verdict) => verdict,
            Err(reason) => Verdict::Refused(reason),
        },
    )
}

impl Logins {
    fn judge(&self, login: &Login, now: Wall) -> Result<Verdict, NotAdmitted> {
        let node = if let Some(shown) = &login.certificate {
            let node = certified(shown, now)?;
            // The endpoint compares the user name with the client id.
            if login.client_id != node.to_string() {
                return Err(NotAdmitted::Name);
            }
            node
        } else {
            self.may_come_as_nobody(login)?;
            if login.username.is_none() && login.password.is_none() {
                return self.reader(login);
            }
            let named = login.client_id.parse::<NodeId>();
            named.map_err(|_| NotAdmitted::Password)?
        };
        if (self.revoked)(node) {
            return Err(NotAdmitted::Revoked);
        }
        match &login.password {
            Some(password) if self.credentials.fit(node, password) => Ok(Verdict::Worker(node)),
            Some(_) | None => Err(NotAdmitted::Password),
        }
    }

    /// Who shows nothing comes from this machine, unless everybody may. Of one that is relayed the root says where it is, and
    /// has no password to go with that.
    fn may_come_as_nobody(&self, login: &Login) -> Result<(), NotAdmitted> {
        if self.insecure || is_near(login) {
            return Ok(());
        }
        Err(NotAdmitted::NoCertificate)
    }

    fn reader(&self, login: &Login) -> Result<Verdict, NotAdmitted> {
        let is_here = is_near(login) && !matches!(login.way, Way::Attached { .. });
        if self.insecure || is_here {
            return Ok(Verdict::Reader);
        }
        Err(NotAdmitted::NoCertificate)
    }
}

fn is_near(login: &Login) -> bool {
    login.peer.ip().to_canonical().is_loopback()
}

fn certified(shown: &Peer, now: Wall) -> Result<NodeId, NotAdmitted> {
    let Holder::Worker(node) = shown.holder else {
        return Err(NotAdmitted::NoWorker);
    };
    match shown.standing(now) {
        Standing::Valid => Ok(node),
        Standing::Expired(_) => Err(NotAdmitted::Expired),
    }
}

/// Writes what is refused to the audit log, and to the log a line in ten seconds for each client; who is refused since
/// another machine answers under its id is told to `clones`, as far as there is room.
pub(crate) fn witness(access: Access, clones: mpsc::Sender<NodeId>) -> Witness {
    let lines = Mutex::new(Lines::default());
    Witness::new(move |denied| {
        record(&access, denied);
        if denied.attempt == Attempt::Connect(NotAdmitted::Cloned)
            && let Ok(node) = denied.who.client_id.parse()
        {
            let _ = clones.try_send(node);
        }
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        let unsaid = lines.take(Client::of(denied), Instant::now());
        drop(lines);
        if let Some(unsaid) = unsaid {
            tracing::warn!(
                peer = %denied.peer,
                holder = denied.who.holder.map(tracing::field::display),
                client = ?denied.who.client_id,
                attempt = ?denied.attempt,
                unsaid,
                "a client of MQTT tried what it may not; others of it may follow unnamed"
            );
        }
    })
}

fn record(access: &Access, denied: &Denied) {
    let id = &denied.who.client_id;
    let (verb, resource, why) = match &denied.attempt {
        Attempt::Connect(reason) => ("connect", format!("mqtt as {id}"), reason.to_string()),
        Attempt::Subscribe(filter) => ("subscribe", filter.clone(), NOT_ITS_OWN.to_owned()),
        Attempt::Publish(topic) => ("publish", topic.clone(), NOT_ITS_OWN.to_owned()),
        Attempt::Will(topic) => ("will", topic.clone(), NOT_ITS_OWN.to_owned()),
        Attempt::Retained(topic) => ("retain", topic.clone(), "nothing is retained".to_owned()),
    };
    access.refused(denied.who.holder, Some(denied.peer), (verb, resource), why);
}

/// By what the lines about one client are counted: what it says of itself may be another thing each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Client {
    /// Proven by a certificate.
    Holder(Holder),
    /// Known by its address alone.
    Address(IpAddr),
}

impl Client {
    fn of(denied: &Denied) -> Self {
        let address = || Self::Address(denied.peer.ip().to_canonical());
        denied.who.holder.map_or_else(address, Self::Holder)
    }
}

/// Which clients were written about lately.
#[derive(Default)]
struct Lines(HashMap<Client, Line>);

struct Line {
    said: Instant,
    unsaid: u64,
}

impl Lines {
    /// How many times this client was not written about since the last line of it; `None`: it is not written about now.
    fn take(&mut self, client: Client, now: Instant) -> Option<u64> {
        let is_due = |line: &Line| now.duration_since(line.said) >= QUIET;
        if let Some(line) = self.0.get_mut(&client) {
            if is_due(line) {
                line.said = now;
                return Some(std::mem::take(&mut line.unsaid));
            }
            line.unsaid += 1;
            return None;
        }
        if self.0.len() >= CLIENTS {
            self.0.retain(|_, line| !is_due(line));
        }
        if self.0.len() >= CLIENTS {
            return None;
        }
        self.0.insert(
            client,
            Line {
                said: now,
                unsaid: 0,
            },
        );
        Some(0)
    }
}

#[cfg(test)]
mod tests;
