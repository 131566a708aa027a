//! Tests that measure time must not share the machine with others.
//!
//! The lock is a file, so it holds among the threads of `cargo test` and among the processes of other runners.

use std::fs::File;

/// The right to run; ends when it is dropped.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "the lock ends with the file")] File);

fn file() -> File {
    let path = super::programs::profile_directory().join(".edgeio-turn");
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    options.open(path).unwrap()
}

/// Waits until no other test of this kind or the other runs.
pub fn alone() -> Turn {
    let file = file();
    file.lock().unwrap();
    Turn(file)
}

/// Waits until no test runs that must be alone.
pub fn together() -> Turn {
    let file = file();
    file.lock_shared().unwrap();
    Turn(file)
}
