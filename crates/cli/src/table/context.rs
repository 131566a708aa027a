//! Contexts, without their tokens.

use crate::command::context::token;
use crate::context::{Context, Contexts};

use super::Seen::Always;
use super::{Column, render};

/// One row a context.
pub(crate) fn contexts(contexts: &Contexts) -> Vec<String> {
    let rows: Vec<(&String, &Context)> = contexts.contexts.iter().collect();
    let columns: [Column<'_, (&String, &Context)>; 5] = [
        Column(Always, "CURRENT", &|(name, _)| {
            let current = contexts.current.as_ref() == Some(*name);
            (if current { "*" } else { " " }).to_owned()
        }),
        Column(Always, "NAME", &|(name, _)| (*name).clone()),
        Column(Always, "URL", &|(_, context)| context.url.clone()),
        Column(Always, "TOKEN", &|(_, context)| {
            token(context).unwrap_or_default()
        }),
        Column(Always, "INSECURE", &|(_, context)| {
            (if context.insecure { "yes" } else { "no" }).to_owned()
        }),
    ];
    render(&columns, &rows, false)
}
