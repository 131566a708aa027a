//! The program `edgeio-scheduler`: [`edgeio_scheduler::run`], with what is around it.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Nothing below reads the environment: it gets values.
    let variable = |name: &str| std::env::var(name).ok();
    orchestrator::program(std::env::args_os(), &variable, &[], edgeio_scheduler::run)
}
