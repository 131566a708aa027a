//! The cluster-orchestrator's program: [`cluster_orchestrator::run`], with what is around it.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Nothing below reads the environment: it gets values.
    let variable = |name: &str| std::env::var(name).ok();
    orchestrator::program(
        std::env::args_os(),
        &variable,
        cluster_orchestrator::CRASH_POINTS,
        cluster_orchestrator::run,
    )
}
