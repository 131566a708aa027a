//! Stopping on SIGTERM and SIGINT.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit;

/// A token that the first SIGTERM or SIGINT cancels; a second one ends the process at once, with exit code 1.
///
/// The signals are caught from this call on. Call it once, inside the runtime.
///
/// # Errors
///
/// The system refuses the signal handlers.
pub fn on_signals() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let stopping = token.clone();
    tokio::spawn(async move {
        let name = either(&mut terminate, &mut interrupt).await;
        tracing::info!(
            signal = name,
            "stopping; a second signal ends the program at once"
        );
        stopping.cancel();
        let name = either(&mut terminate, &mut interrupt).await;
        tracing::error!(signal = name, "second signal, ending without cleaning up");
        #[expect(
            clippy::exit,
            reason = "whoever signals twice does not want to wait for main"
        )]
        std::process::exit(i32::from(exit::FAILURE));
    });
    Ok(token)
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Child, Command, Stdio};

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    /// The program that the other tests signal; `cargo test` runs it only when they ask for it.
    #[tokio::test]
    #[ignore = "run as a child process by the other tests"]
    async fn child() {
        let token = on_signals().unwrap();
        say("waiting");
        token.cancelled().await;
        say("stopping");
        if std::env::var_os("EDGEIO_TEST_HANG").is_some() {
            std::future::pending::<()>().await;
        }
    }

    #[expect(
        clippy::print_stdout,
        reason = "this is how the child talks to the test"
    )]
    fn say(word: &str) {
        println!("\n{word}");
        std::io::stdout().flush().unwrap();
    }

    fn start(hang: bool) -> (Child, impl FnMut(&str)) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([
                "--exact",
                "shutdown::tests::child",
                "--ignored",
                "--nocapture",
            ])
            .stdout(Stdio::piped());
        if hang {
            command.env("EDGEIO_TEST_HANG", "1");
        }
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let wait_for = move |word: &str| {
            let found = lines.by_ref().any(|line| line.unwrap() == word);
            assert!(found, "the child ended before it said {word}");
        };
        (child, wait_for)
    }

    fn send(child: &Child, signal: Signal) {
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    #[test]
    fn either_signal_cancels_the_token() {
        for signal in [Signal::TERM, Signal::INT] {
            let (mut child, mut wait_for) = start(false);
            wait_for("waiting");
            send(&child, signal);
            wait_for("stopping");
            assert!(child.wait().unwrap().success(), "{signal:?}");
        }
    }

    #[test]
    fn a_second_signal_ends_the_process_at_once() {
        let (mut child, mut wait_for) = start(true);
        wait_for("waiting");
        send(&child, Signal::TERM);
        wait_for("stopping");
        send(&child, Signal::INT);
        assert_eq!(child.wait().unwrap().code(), Some(1));
    }
}
