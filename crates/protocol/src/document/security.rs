//! `security`: what a container asks for beyond the least. Whether it gets that is up to each worker's owner.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use model::security::{Capability, Security, User};
use model::workload::RuntimeKind;

use super::fault::{Faults, clip};
use super::fields::{Fields, Known};
use super::read::Spot;
use super::tree::Kind;

/// Numbers of users, as container engines take them; root is named by its word.
const USERS: RangeInclusive<u64> = 1..=2_147_483_647;
/// Processes and threads of one container.
const PIDS: RangeInclusive<u64> = 1..=65_536;

/// Said of a field that containers have elsewhere.
pub(super) const PRIVILEGED: (&str, &str) = (
    "privileged",
    "no container is privileged; ask for what it needs: security: {capabilities: [NET_BIND_SERVICE]}",
);
/// Said of one that stands a level deeper here.
pub(super) const USER: (&str, &str) = ("user", "write it as security: {user: 1000}");

pub(super) const KNOWN_SECURITY: Known<'static> = Known {
    fields: &[&["read_only", "user", "capabilities", "pids"]],
    hints: &[
        PRIVILEGED,
        ("cap_add", "unknown field; did you mean `capabilities`?"),
        (
            "cap_drop",
            "all capabilities are dropped; name those that are needed in `capabilities`",
        ),
        ("run_as_user", "unknown field; did you mean `user`?"),
        ("pids_limit", "unknown field; did you mean `pids`?"),
        (
            "no_new_privileges",
            "it always holds and cannot be changed; remove it",
        ),
    ],
};

/// Reads `security`; what is left out, or is wrong, asks for nothing.
pub(super) fn security(fields: &Fields<'_>, runtime: RuntimeKind, faults: &mut Faults) -> Security {
    let mut security = Security::default();
    let Some(spot) = fields.get("security") else {
        return security;
    };
    if runtime == RuntimeKind::Native {
        fields.fault_at(
            "security",
            "it is for containers; what a native program may do is up to its worker's owner: remove it",
            faults,
        );
        return security;
    }
    let Some(inner) = spot.fields(faults) else {
        return security;
    };
    inner.refuse_unknown(KNOWN_SECURITY, faults);
    if let Some(spot) = inner.get("read_only")
        && let Some(read_only) = spot.truth(faults)
    {
        security.read_only = read_only;
        let files = fields.get("files");
        let files = files.and_then(|spot| spot.fields(&mut Faults::default()));
        if read_only && files.is_some_and(|files| files.each().next().is_some()) {
            spot.fault(
                faults,
                "`files` are put into the root file system, which is not read-only then; remove read_only, or put the files into the image",
            );
        }
    }
    security.user = inner.get("user").and_then(|spot| user(&spot, faults));
    if let Some(spot) = inner.get("capabilities") {
        security.capabilities = capabilities(&spot, faults);
    }
    if let Some(spot) = inner.get("pids") {
        let pids = spot.whole(&PIDS, faults);
        security.pids = pids.map_or(security.pids, |pids| pids as u32);
    }
    security
}

/// `root`, or a number. Names are the image's own, and nobody knows whom they mean before it is there.
fn user(spot: &Spot<'_>, faults: &mut Faults) -> Option<User> {
    match &spot.node.kind {
        Kind::Text(text) if text == "root" => Some(User::Root),
        Kind::Text(text) if text.parse::<u64>().is_err() => {
            let message = format!(
                "\"{}\" is no user; write root, or the number of a user of the image: 1000",
                clip(text)
            );
            spot.fault(faults, message);
            None
        }
        Kind::Number(text) if text == "0" => {
            spot.fault(faults, "write root for the user with the number 0");
            None
        }
        Kind::Null
        | Kind::Bool(_)
        | Kind::Number(_)
        | Kind::Text(_)
        | Kind::List(_)
        | Kind::Map(_)
        | Kind::Refused => {
            let number = spot.whole(&USERS, faults)?;
            NonZeroU32::new(number as u32).map(User::Id)
        }
    }
}

fn capabilities(spot: &Spot<'_>, faults: &mut Faults) -> BTreeSet<Capability> {
    let mut found = BTreeSet::new();
    for spot in spot.items(faults).unwrap_or_default() {
        let Some(word) = spot.text(faults) else {
            continue;
        };
        let Some(one) = Capability::parse(word) else {
            let message = format!(
                "\"{}\" is no capability that is given to containers; write one of {}",
                clip(word),
                Capability::words()
            );
            spot.fault(faults, message);
            continue;
        };
        if !found.insert(one) {
            spot.fault(faults, format!("{one} is named twice; remove one of them"));
        }
    }
    found
}
