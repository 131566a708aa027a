//! The command `edgeio`, as users type it.

use std::process::Command;

/// What a command said, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Its exit code.
    pub code: Option<i32>,
    /// Its standard output.
    pub said: String,
    /// Its standard error.
    pub complained: String,
}

/// Runs `edgeio` with these arguments, and nothing of this process's environment that it would look at.
pub fn edgeio(args: &[&str]) -> Done {
    let mut command = Command::new(super::programs().join("edgeio"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("EDGEIO_") {
            command.env_remove(name);
        }
    }
    let output = command.args(args).output().expect("edgeio can be run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Done {
        code: output.status.code(),
        said: text(&output.stdout),
        complained: text(&output.stderr),
    }
}
