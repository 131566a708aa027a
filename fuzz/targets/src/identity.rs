//! What joins and proves: tokens, requests, certificates.

use std::sync::OnceLock;
use std::time::Duration;

use ::identity::authority::{Authority, IssueError, Life};
use ::identity::{Credential, Holder, JoinToken, Key, Pin, Request, Trust};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::id::NodeId;
use model::time::Wall;

const LIFE: Life = Life {
    from: Wall(0),
    lasting: Duration::from_hours(1),
};

/// The authority that is asked, and a key of somebody's.
fn ours() -> &'static (Authority, Key) {
    static OURS: OnceLock<(Authority, Key)> = OnceLock::new();
    OURS.get_or_init(|| Authority::make("cluster", Wall(0)).expect("it can be made"))
}

/// As a text, and as what stands in PEM: a token is read again as the same, and nothing is issued but for a request
/// that was signed by its key.
pub fn identity(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(token) = text.parse::<JoinToken>() {
        assert_eq!(token.reveal().parse(), Ok(token));
    }
    for label in ["CERTIFICATE REQUEST", "CERTIFICATE"] {
        let wrapped = format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            STANDARD.encode(bytes)
        );
        read(&wrapped);
    }
    read(&text);
}

fn read(pem: &str) {
    let (authority, key) = ours();
    let holder = Holder::Worker(NodeId::from_bits(7));
    if let Ok(request) = Request::from_pem(pem) {
        match authority.issue(&request, holder, LIFE) {
            Ok(issued) => {
                let pin =
                    Pin::of_pem(&issued.certificate).expect("what is issued is a certificate");
                assert_ne!(
                    pin,
                    authority.pin(),
                    "the authority's own key is nobody else's"
                );
            }
            Err(IssueError::Request) => {}
            Err(other) => panic!("a stranger's request is a fault of ours: {other}"),
        }
    }
    assert!(
        Pin::of_pem(pem) != Some(authority.pin()) || pem.contains(&authority.certificate()),
        "a stranger's certificate has the pin of ours"
    );
    let _ = authority.vouch(pem, LIFE);
    let _ = Authority::load(key, pem);
    if let Ok(own) = Credential::new(pem, key) {
        let trust = Trust::authority(&authority.certificate()).expect("ours can be read");
        let _ = trust.client(Some(&own));
    }
    let _ = Trust::authority(pem);
    let _ = Key::from_pem(pem);
}
