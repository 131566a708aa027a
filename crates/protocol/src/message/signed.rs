//! A payload with the signature of the cluster behind it.
//!
//! The payload stands first and as it is, so whoever reads JSON sees JSON; then a line feed, [`MARK`], and the signature as
//! text. What is signed, and how, is not known here (`identity::Verifier`). JSON that is written here holds no line feed.

/// Stands before a signature: its first version.
pub const MARK: &str = "sig1:";

/// A message, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed<'m> {
    /// What is said.
    pub payload: &'m [u8],
    /// The text of the signature; `None`: there is none.
    pub signature: Option<&'m str>,
}

/// Puts a signature behind its payload.
pub fn seal(mut payload: Vec<u8>, signature: &str) -> Vec<u8> {
    payload.reserve_exact(1 + MARK.len() + signature.len());
    payload.push(b'\n');
    payload.extend_from_slice(MARK.as_bytes());
    payload.extend_from_slice(signature.as_bytes());
    payload
}

/// Takes a message apart. What is no signature at its end is a part of the payload.
pub fn open(message: &[u8]) -> Signed<'_> {
    let whole = Signed {
        payload: message,
        signature: None,
    };
    let Some(at) = message.iter().rposition(|byte| *byte == b'\n') else {
        return whole;
    };
    let Some((payload, [_, last @ ..])) = message.split_at_checked(at) else {
        return whole;
    };
    let signature = std::str::from_utf8(last)
        .ok()
        .and_then(|last| last.strip_prefix(MARK));
    match signature {
        Some(signature) => Signed {
            payload,
            signature: Some(signature),
        },
        None => whole,
    }
}
