use std::sync::Arc;

use bytes::Bytes;
use identity::Key;
use identity::authority::{Authority, Life};
use model::id::ClusterId;

use super::*;

const NODE: NodeId = NodeId::from_bits(1);
const OTHER: NodeId = NodeId::from_bits(2);
const HERE: &str = "127.0.0.1:40000";
const THERE: &str = "192.0.2.7:40000";
/// When the certificates of these tests are looked at; they last an hour from 0.
const NOW: Wall = Wall(60_000);

fn certificate(holder: Holder) -> Peer {
    let (authority, _) = Authority::make("cluster", Wall(0)).unwrap();
    let life = Life {
        from: Wall(0),
        lasting: Duration::from_hours(1),
    };
    let request = Key::make().unwrap().request().unwrap();
    let issued = authority.issue(&request, holder, life).unwrap();
    Peer {
        holder,
        serial: issued.serial,
        until: issued.until,
    }
}

/// A worker's login as its engine makes it.
fn login(way: Way, peer: &str, certificate: Option<Peer>) -> Login {
    Login {
        client_id: NODE.to_string(),
        username: Some(format!("{NODE}:boot")),
        password: Some(Bytes::from_static(b"password")),
        peer: peer.parse().unwrap(),
        way,
        certificate,
        clean_session: true,
    }
}

fn logins(insecure: bool) -> Logins {
    let credentials = Credentials::default();
    credentials.set(NODE, Credentials::hash(b"password"));
    Logins {
        credentials,
        insecure,
        revoked: Arc::new(|_| false),
    }
}

fn own() -> Peer {
    certificate(Holder::Worker(NODE))
}

const WORKER: Result<Verdict, NotAdmitted> = Ok(Verdict::Worker(NODE));

#[test]
fn a_certificate_makes_its_holder_and_nobody_else() {
    let logins = logins(false);
    let tls = |certificate| login(Way::Tls, THERE, certificate);
    assert_eq!(logins.judge(&tls(Some(own())), NOW), WORKER);
    let cases = [
        (
            "another client id",
            Login {
                client_id: OTHER.to_string(),
                ..tls(Some(own()))
            },
            NotAdmitted::Name,
        ),
        (
            "another certificate",
            tls(Some(certificate(Holder::Worker(OTHER)))),
            NotAdmitted::Name,
        ),
        (
            "a cluster's certificate",
            tls(Some(certificate(Holder::Cluster(ClusterId::from_bits(1))))),
            NotAdmitted::NoWorker,
        ),
        (
            "another password",
            Login {
                password: Some(Bytes::from_static(b"guess")),
                ..tls(Some(own()))
            },
            NotAdmitted::Password,
        ),
        (
            "no password",
            Login {
                password: None,
                ..tls(Some(own()))
            },
            NotAdmitted::Password,
        ),
        (
            "as a reader",
            Login {
                client_id: "reader".to_owned(),
                username: None,
                password: None,
                ..tls(Some(own()))
            },
            NotAdmitted::Name,
        ),
    ];
    for (what, login, reason) in cases {
        assert_eq!(logins.judge(&login, NOW), Err(reason), "{what}");
        // Not on this machine either, where no certificate would do.
        let here = Login {
            peer: HERE.parse().unwrap(),
            ..login
        };
        assert_eq!(logins.judge(&here, NOW), Err(reason), "{what}");
    }
}

#[test]
fn a_certificate_counts_until_its_end_and_until_its_holder_is_revoked() {
    let login = login(Way::Tls, THERE, Some(own()));
    let hour = Wall(3_600_000);
    for insecure in [false, true] {
        let mut logins = logins(insecure);
        assert_eq!(logins.judge(&login, hour), WORKER);
        let late = logins.judge(&login, Wall(hour.0 + 1));
        assert_eq!(late, Err(NotAdmitted::Expired));
        logins.revoked = Arc::new(|node| node == OTHER);
        assert_eq!(logins.judge(&login, NOW), WORKER);
        logins.revoked = Arc::new(|node| node == NODE);
        assert_eq!(logins.judge(&login, NOW), Err(NotAdmitted::Revoked));
    }
}

/// In plain text, by way of the root.
const RELAYED: Way = Way::Attached { tls: false };

#[test]
fn who_shows_no_certificate_is_judged_by_the_way() {
    let cases = [
        (Way::Plain, HERE, false, true),
        (Way::Tls, HERE, false, true),
        // The door lets this in with --insecure only.
        (Way::Plain, THERE, true, true),
        (Way::Tls, THERE, false, false),
        (Way::Tls, THERE, true, true),
        (Way::Tls, "[::ffff:127.0.0.1]:1", false, true),
        (RELAYED, HERE, false, true),
        (RELAYED, THERE, false, false),
        (RELAYED, THERE, true, true),
        (Way::Attached { tls: true }, HERE, false, true),
        (Way::Attached { tls: true }, THERE, false, false),
    ];
    for (way, peer, insecure, welcome) in cases {
        let mut logins = logins(insecure);
        let worker = login(way, peer, None);
        let expected = if welcome {
            WORKER
        } else {
            Err(NotAdmitted::NoCertificate)
        };
        let what = format!("{way:?} {peer} {insecure}");
        assert_eq!(logins.judge(&worker, NOW), expected, "{what}");
        let guess = Login {
            password: Some(Bytes::from_static(b"guess")),
            ..worker.clone()
        };
        assert_ne!(logins.judge(&guess, NOW), WORKER, "{what}");
        logins.revoked = Arc::new(|_| true);
        assert_ne!(logins.judge(&worker, NOW), WORKER, "{what}");
    }
}

#[test]
fn readers_are_on_this_machine_or_everywhere_with_insecure() {
    for (way, peer, insecure, welcome) in [
        (Way::Plain, HERE, false, true),
        (Way::Tls, HERE, false, true),
        (Way::Tls, THERE, false, false),
        (Way::Tls, THERE, true, true),
        // Where these are is what the root says.
        (RELAYED, HERE, false, false),
        (RELAYED, THERE, false, false),
        (Way::Attached { tls: true }, HERE, false, false),
        (RELAYED, THERE, true, true),
    ] {
        let reader = Login {
            client_id: "reader".to_owned(),
            username: None,
            password: None,
            ..login(way, peer, None)
        };
        let verdict = logins(insecure).judge(&reader, NOW);
        let expected = if welcome {
            Ok(Verdict::Reader)
        } else {
            Err(NotAdmitted::NoCertificate)
        };
        assert_eq!(verdict, expected, "{way:?} {peer} {insecure}");
    }
}

#[test]
fn a_client_gets_a_line_in_ten_seconds_and_the_rest_is_counted() {
    let mut lines = Lines::default();
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let one = Client::Holder(Holder::Worker(NODE));
    let two = Client::Address([192, 0, 2, 7].into());
    assert_eq!(lines.take(one, at(0)), Some(0));
    assert_eq!(lines.take(one, at(1)), None);
    assert_eq!(lines.take(two, at(1)), Some(0), "another client");
    assert_eq!(lines.take(one, at(9)), None);
    assert_eq!(lines.take(one, at(10)), Some(2));
    assert_eq!(lines.take(one, at(19)), None);
    // Thousands of addresses take no more room than they may, and give it back.
    for last in 0..5_000_u32 {
        lines.take(Client::Address(IpAddr::from(last.to_be_bytes())), at(20));
    }
    assert!(lines.0.len() <= CLIENTS, "{}", lines.0.len());
    assert_eq!(lines.take(two, at(30)), Some(0));
}
