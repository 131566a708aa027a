//! The cluster-orchestrator's program: [`cluster_orchestrator::run`], with what is around it.

use std::process::ExitCode;

use cluster_orchestrator::mosquitto;

fn main() -> ExitCode {
    // Nothing below reads the environment: it gets values.
    let variable = |name: &str| std::env::var(name).ok();
    let mut arguments: Vec<_> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|word| word == mosquitto::WORD) {
        arguments.remove(1);
        return mosquitto::main(arguments, &variable);
    }
    orchestrator::program(
        arguments,
        &variable,
        cluster_orchestrator::CRASH_POINTS,
        cluster_orchestrator::run,
    )
}
