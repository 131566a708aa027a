//! What the machine's owner lets run, and how much of it the machine can hold to.

use super::Finding;
use crate::config::Config;
use crate::policy::Policy;
use crate::shim::confine;

pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let policy = match Policy::load(config) {
        Ok(policy) => policy,
        Err(error) => {
            let remedy = "correct the file; the engine does not start with it";
            return vec![Finding::bad("policy", error.to_string(), remedy)];
        }
    };
    let file = match policy.file() {
        Some(file) => format!("{} says what may run here", file.display()),
        None => "no policy of this machine's own: containers get no path of it, and what Docker gives if they ask for it".to_owned(),
    };
    let mut findings = vec![Finding::ok("policy", file)];
    if policy.has_native() {
        findings.extend([account(&policy), writing()]);
    }
    findings
}

/// As whom native programs run.
fn account(policy: &Policy) -> Finding {
    let check = "native_user";
    let own = rustix::process::geteuid().as_raw();
    match policy.confinement().account {
        Some(account) => Finding::ok(
            check,
            format!("native programs run as the user {}", account.uid),
        ),
        None if own == 0 => Finding::warn(
            check,
            "native programs run as root, as the engine does",
            "make a user for them (useradd --system edgeio) and name it in the policy: [native] user = \"edgeio\"",
        ),
        None => Finding::ok(
            check,
            format!("native programs run as the engine does, as the user {own}"),
        ),
    }
}

/// Whether they write only where they may.
fn writing() -> Finding {
    let check = "landlock";
    if confine::is_enforced() {
        Finding::ok(
            check,
            "native programs write only in their own folders, in /tmp and where the policy says",
        )
    } else {
        Finding::warn(
            check,
            "this kernel has no Landlock: native programs write wherever their user may",
            "use Linux 5.13 or newer with landlock among its security modules, or a user of their own",
        )
    }
}
