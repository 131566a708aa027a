//! Documents, payloads, uplink events and Socket.IO frames.

use std::sync::OnceLock;
use std::time::Duration;

use ::identity::authority::Authority;
use ::identity::{Forged, Signature, Verifier};
use model::time::Wall;
use protocol::document::{self as documents, Format};
use protocol::message::{
    adopt, connection, control, events, information, instances, question, register, reply, signed,
    sync, uplink as link,
};
use protocol::rest;

#[path = "../../../crates/socketio/src/packet.rs"]
#[expect(
    dead_code,
    reason = "the frames are for the session, which is left out here"
)]
mod packet;

/// Reads the bytes as documents and as every small body of the REST API, in both formats.
///
/// A refusal has at least one fault, and every fault lies in the body.
pub fn document(data: &[u8]) {
    for format in [Format::Yaml, Format::Json] {
        for allow in [false, true] {
            let options = documents::Options {
                allow_noop: allow,
                allow_local_registries: allow,
            };
            match documents::parse(data, format, options) {
                Ok(jobs) => assert!(!jobs.is_empty() && jobs.len() <= 100),
                Err(faults) => lie_in(data, &faults),
            }
        }
        let bodies = [
            rest::MigrateRequest::parse(data, format).err(),
            rest::NodePatch::parse(data, format).err(),
            rest::RestartRequest::parse(data, format).err(),
            rest::ScaleRequest::parse(data, format).err(),
            rest::JoinRequest::parse(data, format).err(),
            rest::RenewRequest::parse(data, format).err(),
            rest::JoinTokenRequest::parse(data, format).err(),
            rest::ApproveRequest::parse(data, format).err(),
            rest::InvitationRequest::parse(data, format).err(),
            rest::LoginRequest::parse(data, format).err(),
            rest::PasswordRequest::parse(data, format).err(),
            rest::RoleRequest::parse(data, format).err(),
            rest::TenantPatch::parse(data, format).err(),
            rest::TenantRequest::parse(data, format).err(),
            rest::TokenRequest::parse(data, format).err(),
            rest::UserRequest::parse(data, format).err(),
        ];
        for faults in bodies.into_iter().flatten() {
            lie_in(data, &faults);
        }
    }
}

fn lie_in(data: &[u8], faults: &[documents::Fault]) {
    assert!(!faults.is_empty(), "refused without a reason");
    // A carriage return ends a line as well, and the place after the last one may be named.
    let lines = data
        .iter()
        .filter(|byte| matches!(byte, b'\n' | b'\r'))
        .count() as u64
        + 1;
    for fault in faults {
        assert!(
            (1..=lines + 1).contains(&fault.line),
            "{fault:?} of {lines} lines"
        );
        assert!(
            (1..=data.len() as u64 + 2).contains(&fault.column),
            "{fault:?}"
        );
        assert!(!fault.message.is_empty());
    }
}

/// Reads the bytes as each payload of the MQTT topics, with a signature behind it or without.
///
/// What was taken apart is put together as the same, and nobody's signature is the authority's.
pub fn messages(data: &[u8]) {
    let opened = signed::open(data);
    match opened.signature {
        Some(text) => {
            assert_eq!(signed::seal(opened.payload.to_vec(), text), data);
            if let Ok(signature) = text.parse::<Signature>() {
                let verified = verifier().verify("nodes/x/control", opened.payload, &signature);
                assert_eq!(verified, Err(Forged));
            }
        }
        None => assert_eq!(opened.payload, data),
    }
    let data = opened.payload;
    let _ = adopt::decode(data).map_err(said);
    let _ = connection::decode(data).map_err(said);
    let _ = control::decode(data).map_err(said);
    let _ = events::decode(data).map_err(said);
    let _ = information::decode(data).map_err(said);
    let _ = instances::decode(data).map_err(said);
    let _ = question::decode(data).map_err(said);
    let _ = reply::decode(data).map_err(said);
    let _ = sync::decode(data).map_err(said);
}

/// Knows an authority that signs nothing here.
fn verifier() -> &'static Verifier {
    static VERIFIER: OnceLock<Verifier> = OnceLock::new();
    VERIFIER.get_or_init(|| {
        let (authority, _) = Authority::make("cluster", Wall(0)).expect("it can be made");
        Verifier::of_authority_pem(&authority.certificate()).expect("ours can be read")
    })
}

/// Reads the bytes as each event of the uplink, and as a registration with its answer.
pub fn uplink(data: &[u8]) {
    let Ok(value) = serde_json::from_slice(data) else {
        return;
    };
    let _ = register::Request::decode(&value).map_err(said);
    let _ = register::read_answer(&value).map_err(said);
    let _ = link::Request::decode(&value).map_err(said);
    let _ = link::read_answer(&value).map_err(said);
    let _ = link::read_sync(&value).map_err(said);
    let _ = link::read_report(&value).map_err(said);
    let _ = link::read_adoption(&value).map_err(said);
    let _ = link::read_events(&value).map_err(said);
    let _ = link::read_administrators(&value).map_err(said);
    let _ = link::read_confirmed(&value).map_err(said);
    let _ = link::read_assign(&value).map_err(said);
    let _ = link::read_ask(&value).map_err(said);
    let _ = link::read_stream(&value).map_err(said);
    let _ = link::read_chunk(&value).map_err(said);
    let _ = link::read_reply(&value).map_err(said);
    let _ = link::Question::decode(&value).map_err(said);
    let _ = link::Standing::decode(&value).map_err(said);
    let _ = link::relay::Frame::decode(&value).map_err(said);
}

/// An error can be told, in a few words whatever the message was.
fn said(error: impl std::error::Error) {
    let text = error.to_string();
    assert!(
        !text.is_empty() && text.len() < 4096,
        "{} bytes",
        text.len()
    );
}

/// Reads the bytes as one frame of the uplink's Socket.IO.
pub fn socketio(data: &[u8]) {
    let Ok(frame) = std::str::from_utf8(data) else {
        return;
    };
    match packet::parse(frame) {
        Ok(packet::Packet::Open(open)) => {
            let _ = Duration::from_millis(open.ping_interval)
                .checked_add(Duration::from_millis(open.ping_timeout));
        }
        Ok(packet::Packet::Message { namespace, .. }) => {
            assert!(namespace.starts_with('/'), "{namespace:?}");
        }
        Ok(packet::Packet::Close | packet::Packet::Ping | packet::Packet::Idle) | Err(_) => {}
    }
}
