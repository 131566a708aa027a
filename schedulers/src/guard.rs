//! What keeps an algorithm that fails from taking its caller along.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{Candidate, Request, Unplaceable};

/// Runs a choice. One that panics, or that is no candidate or one that will not do, is the scheduler's fault.
///
/// A choice sees everything by shared reference and keeps nothing, so a panic leaves nothing half done.
pub(crate) fn guarded<C: Candidate>(
    name: &str,
    request: &Request<'_>,
    candidates: &[C],
    choose: impl FnOnce() -> Result<usize, Unplaceable>,
) -> Result<usize, Unplaceable> {
    let chosen = catch_unwind(AssertUnwindSafe(choose)).map_err(|payload| {
        let what = format!("it panicked: {}", text(payload.as_ref()));
        Unplaceable::fault(name, &what)
    })??;
    let Some(candidate) = candidates.get(chosen) else {
        let what = format!("it chose number {chosen} of {}", candidates.len());
        return Err(Unplaceable::fault(name, &what));
    };
    match candidate.reject(request) {
        None => Ok(chosen),
        Some(code) => {
            let what = format!("it chose {}, which will not do ({code})", candidate.name());
            Err(Unplaceable::fault(name, &what))
        }
    }
}

/// What a panic said.
fn text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("it did not say why")
}
