//! A log of who did what, after somebody had it in hands.

use std::cell::RefCell;
use std::fs;

use audit::{Digest, VerifyError, verify};
use tempfile::TempDir;

thread_local! {
    static PLACE: RefCell<TempDir> = RefCell::new(tempfile::tempdir().expect("a folder"));
}

/// Verifies the bytes as `audit.head`, up to the first NUL, and as the first file of a log. With an odd first byte each line gets
/// the hash that it would have, and that of the one before it in place of `@`, so that what stands in it is looked at.
///
/// What is verified has as many lines as it says, and a log with a byte changed is not the same one.
pub fn audited(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else {
        return;
    };
    let end = rest.iter().position(|byte| *byte == 0);
    let (head, rest) = rest.split_at_checked(end.unwrap_or(0)).unwrap_or_default();
    let rest = rest.strip_prefix(b"\0").unwrap_or(rest);
    let log = if mode & 1 == 1 {
        hashed(rest)
    } else {
        rest.to_vec()
    };
    PLACE.with_borrow(|place| {
        fs::write(place.path().join("audit.head"), head).expect("a small file");
        let file = place.path().join("audit-00000001.jsonl");
        let verified = |bytes: &[u8]| {
            fs::write(&file, bytes).expect("a small file");
            (verify(&file), verify(place.path()))
        };
        let (alone, _whole) = verified(&log);
        match alone {
            Ok(summary) => {
                let lines = log.split(|byte| *byte == b'\n').count() as u64 - 1;
                assert_eq!(
                    summary.last.checked_sub(summary.first),
                    lines.checked_sub(1)
                );
                // The last whole line ends with its hash.
                if let Some(end) = log.iter().rposition(|byte| *byte == b'\n') {
                    let mut edited = log.clone();
                    let at = end.saturating_sub(usize::from(*mode) / 2 + 1);
                    if let Some(byte) = edited.get_mut(at) {
                        *byte ^= 1;
                    }
                    if edited != log {
                        assert!(verified(&edited).0.is_err(), "an edit is not found");
                    }
                }
            }
            Err(VerifyError::Broken(broken)) => assert!(broken.line > 0, "{broken}"),
            Err(VerifyError::Nothing { .. }) => {}
            Err(error @ VerifyError::Read { .. }) => panic!("{error:?}"),
        }
    });
}

fn hashed(lines: &[u8]) -> Vec<u8> {
    let mut log = Vec::new();
    let mut before = "0".repeat(64);
    for line in lines.split(|byte| *byte == b'\n') {
        let mut body = Vec::new();
        for (number, part) in line.split(|byte| *byte == b'@').enumerate() {
            if number > 0 {
                body.extend_from_slice(before.as_bytes());
            }
            body.extend_from_slice(part);
        }
        before = Digest::of(&body).to_string();
        log.extend_from_slice(&body);
        log.extend_from_slice(format!(",\"hash\":\"{before}\"}}\n").as_bytes());
    }
    log
}
