//! The models as tests: no rule is broken within the bounds, and each rule that is broken on purpose is seen.
//!
//! `EDGEIO_DEPTH=n` searches to n steps instead.
#![expect(clippy::panic, clippy::print_stdout, reason = "tests")]

mod cluster;
mod hop;

use std::time::Instant;

use edgeio_models::check::{Scene, search};

/// The bound that was asked for, or this one.
fn depth(usual: u16) -> u16 {
    let Ok(asked) = std::env::var("EDGEIO_DEPTH") else {
        return usual;
    };
    asked
        .parse()
        .unwrap_or_else(|_| panic!("EDGEIO_DEPTH={asked}: give a number of steps"))
}

/// No rule is broken, and what the scene is about comes about.
fn holds(scene: impl Scene, usual: u16) {
    let begun = Instant::now();
    let found = search(scene, depth(usual), None);
    println!("{found} ({:.1} s)", begun.elapsed().as_secs_f64());
    assert!(
        found.broken.is_empty() && found.unreached.is_empty(),
        "{found}"
    );
}

/// A model that cannot fail proves nothing: within so many steps it tells how this rule is broken.
fn is_caught(scene: impl Scene, rule: &'static str, within: u16) {
    let found = search(scene, within, Some(rule));
    let story = found.broken.iter().find(|(broken, _)| *broken == rule);
    let Some((_, story)) = story else {
        panic!("it was not seen that this is broken: {rule}\n{found}");
    };
    println!("broken, as it must be: {rule}\n{story}");
}
