//! What joins and proves: tokens, requests, certificates.

use std::sync::OnceLock;
use std::time::Duration;

use ::identity::authority::{Authority, IssueError, Life};
use ::identity::{
    Credential, Holder, JoinToken, Key, Pin, Request, Signature, Trust, UserToken, Validity,
    Verifier,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::id::NodeId;
use model::time::Wall;
use protocol::rest::JoinedBody;
use tokio::io::AsyncWriteExt as _;
use tokio::runtime::Runtime;

#[path = "../../../crates/joining/src/http.rs"]
mod http;

thread_local! {
    static RUNTIME: Runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
}

const LIFE: Life = Life {
    from: Wall(0),
    lasting: Duration::from_hours(1),
};

/// The authority that is asked, and a key of somebody's.
fn ours() -> &'static (Authority, Key) {
    static OURS: OnceLock<(Authority, Key)> = OnceLock::new();
    OURS.get_or_init(|| Authority::make("cluster", Wall(0)).expect("it can be made"))
}

/// As a text, as what stands in PEM, and as what somebody answers to a joining machine: a token, an id and a signature are read
/// again as the same, and nothing is issued but for a request that was signed by its key.
pub fn identity(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(token) = text.parse::<JoinToken>() {
        assert_eq!(token.reveal().parse(), Ok(token));
    }
    if let Ok(token) = text.parse::<UserToken>() {
        assert_eq!(token.reveal().parse(), Ok(token));
    }
    if let Ok(holder) = text.parse::<Holder>() {
        assert_eq!(holder.to_string().parse(), Ok(holder));
    }
    if let Ok(signature) = text.parse::<Signature>() {
        assert_eq!(signature.to_string().parse(), Ok(signature));
    }
    answered(bytes);
    for label in ["CERTIFICATE REQUEST", "CERTIFICATE"] {
        let wrapped = format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            STANDARD.encode(bytes)
        );
        read(&wrapped);
    }
    read(&text);
}

/// What stands in the stream comes back as an answer, or is none.
fn answered(bytes: &[u8]) {
    let (ours, mut theirs) = tokio::io::duplex(1 << 20);
    let answer = RUNTIME.with(|runtime| {
        runtime.block_on(async {
            theirs.write_all(bytes).await.expect("it has room");
            theirs.shutdown().await.expect("an end");
            http::post(ours, ("192.0.2.7:10001", "/api/v1/join"), b"{}").await
        })
    });
    if let Ok(answer) = answer {
        assert!(answer.body.len() < bytes.len());
        assert!(bytes.starts_with(b"HTTP/1."), "{}", answer.status);
        let _ = serde_json::from_slice::<JoinedBody>(&answer.body);
    }
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
    let _ = Verifier::of_authority_pem(pem);
    let _ = Validity::read(pem, &authority.certificate());
    let _ = Validity::read(&authority.certificate(), pem);
    let _ = Key::from_pem(pem);
}
