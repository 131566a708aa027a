//! Programs that die where a test wants it: `crashpoint!("turn.after_commit")`.
//!
//! Without the feature `crash-points`, as in every program that is shipped, [`crashpoint!`](crate::crashpoint) and
//! [`crashpoints!`](crate::crashpoints) are nothing and [`begin`] does nothing. With it, a program says all its points
//! to who starts it with `--crash-points`, and dies at the one that the environment variable [`VARIABLE`] names.

use std::ffi::OsString;
use std::process::ExitCode;

#[cfg(feature = "crash-points")]
mod armed;

#[cfg(feature = "crash-points")]
pub use armed::reached;

/// Where to die: `NAME` or `NAME:N` (the n-th time), or `@FILE`, a file that holds such a text: it is read at each
/// point, so a running program is armed by writing it, and spared by removing it.
pub const VARIABLE: &str = "EDGEIO_CRASH";

/// The program dies here, as by a power cut of its own, if it was told to: nothing is flushed, nobody is told.
#[cfg(feature = "crash-points")]
#[macro_export]
macro_rules! crashpoint {
    ($name:literal) => {
        $crate::crash::reached($name)
    };
    ($name:literal, if $when:expr) => {
        if $when {
            $crate::crash::reached($name)
        }
    };
}

/// Nothing: this build has no crash points.
#[cfg(not(feature = "crash-points"))]
#[macro_export]
macro_rules! crashpoint {
    ($name:literal) => {};
    ($name:literal, if $when:expr) => {
        let _ = $when;
    };
}

/// The names of the points of one crate, for [`begin`]. A test holds them against the sources.
#[cfg(feature = "crash-points")]
#[macro_export]
macro_rules! crashpoints {
    ($($name:literal),* $(,)?) => {
        &[$($name),*]
    };
}

/// No names: this build has no crash points.
#[cfg(not(feature = "crash-points"))]
#[macro_export]
macro_rules! crashpoints {
    ($($name:literal),* $(,)?) => {
        &[]
    };
}

/// Called first in a `main`, with the names of all its points: says them, or arms one. `Some`: the program ends now.
pub fn begin(
    arguments: &[OsString],
    variable: &dyn Fn(&str) -> Option<String>,
    points: &[&[&'static str]],
) -> Option<ExitCode> {
    #[cfg(feature = "crash-points")]
    return armed::begin(arguments, variable, points);
    #[cfg(not(feature = "crash-points"))]
    {
        let _ = (arguments, variable, points);
        None
    }
}
