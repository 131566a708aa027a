//! The worker of an edgeIO system.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(first) if first == "shim" => node_engine::shim::main(args),
        Some(_) | None => {
            tracing::error!("the engine itself is still to come");
            ExitCode::from(64)
        }
    }
}
