//! Documents that the tests send.

/// A native job that sleeps, with more fields at its top level, one a line.
pub(crate) fn sleeper(name: &str, more: &str) -> String {
    format!(
        "api_version: v0.1\njob_name: {name}\nimage_runtime: native\ncommand: [/bin/sleep, \"1000000\"]\n{more}"
    )
}

/// The same as a container.
pub(crate) fn container(name: &str, image: &str) -> String {
    format!(
        "api_version: v0.1\njob_name: {name}\nimage_runtime: docker\nimage: {image}\nstop_grace: 1s\n"
    )
}
