//! Who did what to what, and whether it was let: a log that nobody edits unseen.
//!
//! A program opens one [`Log`] and hands it a [`Record`] of each decision; [`verify`] reads what was written, with no
//! program running or beside one.
//!
//! # Format
//!
//! A log is a directory of `audit-00000001.jsonl`, `audit-00000002.jsonl`, …, and of `audit.head`. Each line of a file is
//! one JSON object in ASCII (all other characters are escaped), with its members in this order:
//!
//! | member | what |
//! |---|---|
//! | `v` | 1, the version of this table |
//! | `number` | 1 for the log's first line, and one more for each, through all files |
//! | `time` | RFC 3339, by the clock of who recorded it; shown, and never compared |
//! | `log` | only in lines of the log's own, which have no other member above `previous` (below) |
//! | `tier` | `root`, `cluster` or `worker` |
//! | `who` | `{"kind":"user","id":"…"}`; `cluster` and `worker` alike, `{"kind":"anonymous"}` without an id |
//! | `from` | the peer's address and port; missing if it came from the program itself |
//! | `verb`, `resource` | what was to be done, and to what |
//! | `decision` | `granted`, `denied`, `hidden` or `refused` ([`Decision`]); all but the first with a `reason` |
//! | `before`, `after` | digests of what was changed, where known |
//! | `request` | the id of the request or trace, where known |
//! | `previous` | the `hash` of the line before it; 64 zeros in line 1 |
//! | `hash` | the SHA-256 of the line's bytes before `,"hash"`, in 64 small hexadecimal digits |
//!
//! A text is clipped to [`TEXT_BYTES`] and then ends in `…`. So anybody can hold a line against its hash:
//!
//! ```text
//! sed -n 7p audit-00000001.jsonl | sed 's/,"hash":"[0-9a-f]*"}$//' | tr -d '\n' | sha256sum
//! sed -n 7p audit-00000001.jsonl | jq -r .hash
//! ```
//!
//! The log's own lines: `{"cut":{"bytes":n}}`, the end of the last file was cut off when the log was opened, since a crash
//! had left it half written, and nobody was told that it is there; `{"lost":{"records":n}}`, so many records of
//! [`Log::try_record`] found no place; `{"removed":{"before":n,"previous":h}}`, the files with the lines before line n, the
//! last of which has the hash h, were old and are removed now; `"headless"`, there was no usable `audit.head`;
//! `{"astray":{"found":n}}`, the log ended at line n or was another one, and `audit.head` knew of more.
//!
//! `audit.head` has the number and hash of the last line, rewritten after each batch.
//!
//! # Guarantees
//!
//! - A record that was acknowledged is on the disk, whole, and behind all that were acknowledged before it.
//! - A line that is edited, removed, inserted, doubled, moved or cut is found by [`verify`], with the first place of it;
//!   so is an end that was cut off (`audit.head` knows of more), and a beginning (no line says that the log removed it).
//! - Opening repairs what a crash or a power cut leaves, and nothing else: if acknowledged lines are missing or changed, it
//!   leaves all files as they are and goes on in a new one, with the number and hash that `audit.head` knows. The break
//!   stays visible for as long as the files do.
//! - Files, queue and memory are bounded; the log takes no more than [`Options::total_bytes`], or one file, and one batch.
//!
//! # What cannot be found
//!
//! There is no secret in it. Who can write all files of the directory, `audit.head` among them, can make another log that is
//! sound in itself, or put back an older copy of it. `audit.head` is not synced, so after a power cut lines of the last half
//! minute may be missing from it, and somebody may cut them off before the program starts again. Against all of these, keep
//! the number and hash that `edgeio audit verify` prints somewhere else: as long as that line is in the log with that hash,
//! nothing before it was touched.

mod digest;
mod disk;
mod files;
mod journal;
mod line;
mod log;
mod record;
mod verify;

pub use digest::Digest;
pub use journal::{LogError, Options};
pub use line::Fault;
pub use log::Log;
pub use record::{Decision, Record, Subject, TEXT_BYTES, Tier};
pub use verify::{Broken, Summary, VerifyError, verify};

#[cfg(test)]
mod tests;
