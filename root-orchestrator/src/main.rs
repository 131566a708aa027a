//! The root-orchestrator's program: [`root_orchestrator::run`], with what is around it.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Nothing below reads the environment: it gets values.
    let variable = |name: &str| std::env::var(name).ok();
    orchestrator::program(
        std::env::args_os(),
        &variable,
        root_orchestrator::CRASH_POINTS,
        root_orchestrator::run,
    )
}
