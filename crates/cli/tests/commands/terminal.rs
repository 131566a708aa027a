//! What reaches a terminal, and what a pipe is spared.

use std::io::{Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::fake::{Answer, End, Server};
use crate::{command, edgeio, err, job, list, out};

/// Both ends of a pseudo terminal: whoever sits there, and what a program sees.
fn terminal() -> (std::fs::File, std::fs::File) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true);
    let terminal = options.open(name.to_str().unwrap()).unwrap();
    (std::fs::File::from(master), terminal)
}

/// Everything that a terminal gets from a command, and its exit code.
fn on_terminal(server: &Server, args: &[&str], env: &[(&str, &str)]) -> (String, i32) {
    let (mut master, terminal) = terminal();
    let open = || Stdio::from(terminal.try_clone().unwrap());
    let mut process = command(args);
    process
        .env("EDGEIO_URL", &server.url)
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .stdout(open())
        .stderr(open());
    let mut child = process.spawn().unwrap();
    // The command holds copies of the terminal until it is dropped.
    drop((process, terminal));
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    // The last one to close the other side makes reading fail.
    while let Ok(read @ 1..) = master.read(&mut part) {
        bytes.extend_from_slice(&part[..read]);
    }
    let code = child.wait().unwrap().code().unwrap();
    (String::from_utf8(bytes).unwrap(), code)
}

/// The text without the colours and erasures that this program makes, and without the terminal's line ends.
fn without_colours(text: &str) -> String {
    let mut text = text.replace("\r\n", "\n");
    for known in [
        "\u{1b}[0m",
        "\u{1b}[1m",
        "\u{1b}[2m",
        "\u{1b}[31m",
        "\u{1b}[32m",
        "\u{1b}[33m",
        "\u{1b}[1;31m",
    ] {
        text = text.replace(known, "");
    }
    text
}

const EVIL: &str = r"\u001b]0;owned\u0007\u001b[2J\u202ereversed\u200b\u009b31m";

#[test]
fn nothing_of_others_is_obeyed_by_a_terminal() {
    let evil = job("FAILED", &format!("\"it failed{EVIL}\""));
    let log = "web/0 | \u{1b}[31mred\u{1b}[0m \u{1b}]0;owned\u{7}\u{202e}text\tend\r\nlast\u{9b}2J";
    let server = Server::start(vec![
        ("GET /api/v1/jobs", vec![Answer::new(200, &list(&evil))]),
        ("GET /api/v1/jobs/x", vec![Answer::new(200, &evil)]),
        (
            "GET /api/v1/jobs/x/logs?tail=100&follow=false",
            vec![Answer::text(&[log], End::Complete)],
        ),
        (
            "DELETE /api/v1/jobs/x",
            vec![Answer::new(
                409,
                &format!(r#"{{"status":409,"title":"T","code":"c","detail":"no{EVIL}"}}"#),
            )],
        ),
    ]);
    let commands: [(&[&str], i32); 8] = [
        (&["get", "jobs"], 0),
        (&["get", "jobs", "-o", "wide"], 0),
        (&["get", "job", "x"], 0),
        (&["get", "job", "x", "-o", "json"], 0),
        (&["get", "job", "x", "-o", "yaml"], 0),
        (&["logs", "x"], 0),
        (&["wait", "x"], 1),
        (&["delete", "x"], 1),
    ];
    for (args, expected) in commands {
        let (text, code) = on_terminal(&server, args, &[]);
        assert_eq!(code, expected, "{args:?}: {text:?}");
        let text = without_colours(&text);
        let bad = text.chars().find(|c| {
            (c.is_control() && !matches!(c, '\n' | '\t')) || matches!(c, '\u{202e}' | '\u{200b}')
        });
        assert_eq!(bad, None, "{args:?}: {text:?}");
    }
    let (text, _) = on_terminal(&server, &["logs", "x"], &[]);
    assert_eq!(text, "web/0 | red \u{fffd}text\tend\r\nlast\r\n");
    let (text, _) = on_terminal(&server, &["logs", "x", "--raw"], &[]);
    assert!(text.contains("\u{1b}[31mred"), "{text:?}");
}

#[test]
fn colours_are_for_terminals_whose_user_wants_them() {
    let server = Server::start(vec![(
        "GET /api/v1/jobs",
        vec![Answer::new(200, &list(&job("RUNNING", "null")))],
    )]);
    let green = "\u{1b}[32mRUNNING\u{1b}[0m";
    let (text, _) = on_terminal(&server, &["get", "jobs"], &[]);
    assert!(text.contains(green), "{text:?}");
    for env in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let (text, _) = on_terminal(&server, &["get", "jobs"], &[env]);
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
    assert!(!out(&edgeio(&server, &["get", "jobs"])).contains('\u{1b}'));
}

#[test]
fn a_terminal_sees_how_far_waiting_is_and_a_pipe_does_not() {
    let script = || {
        let states = ["REQUESTED", "SCHEDULED_NODE", "RUNNING"];
        let answers = states.map(|state| Answer::new(200, &job(state, "null")));
        vec![("GET /api/v1/jobs/hello", answers.to_vec())]
    };
    let (text, code) = on_terminal(&Server::start(script()), &["wait", "hello"], &[]);
    assert_eq!(code, 0, "{text:?}");
    assert!(
        text.contains("job/hello is SCHEDULED_NODE (0s)"),
        "{text:?}"
    );
    // The line is wiped away before the result.
    assert!(
        text.ends_with("\r\u{1b}[2Kjob/hello \u{1b}[32mRUNNING\u{1b}[0m\r\n"),
        "{text:?}"
    );
    let output = edgeio(&Server::start(script()), &["wait", "hello"]);
    assert_eq!(
        (out(&output).as_str(), err(&output).as_str()),
        ("job/hello RUNNING\n", "")
    );
}

#[test]
fn a_password_that_is_not_entered_after_all_leaves_the_terminal_as_it_was() {
    // What ignores SIGINT, as what a script starts in the background does, ends by itself.
    let (signal, code) = if ignores_interrupts() {
        (None, Some(1))
    } else {
        (Some(2), None)
    };
    // Ctrl-C, Ctrl-\, and a line that is no password.
    for (typed, signal, code) in [
        ("secret\u{3}", signal, code),
        ("secret\u{1c}", signal, code),
        ("short\n", None, Some(1)),
    ] {
        let (mut master, terminal) = terminal();
        let shows = || {
            let modes = tcgetattr(&terminal).unwrap().local_modes;
            modes.contains(LocalModes::ECHO | LocalModes::ISIG)
        };
        assert!(shows());
        // Nobody listens there.
        let mut process = command(&["login", "alice"]);
        process
            .env("EDGEIO_URL", "http://127.0.0.1:9")
            .stdin(terminal.try_clone().unwrap())
            .stdout(Stdio::null())
            .stderr(terminal.try_clone().unwrap());
        let mut child = process.spawn().unwrap();
        let (mut asked, mut part) = (Vec::new(), [0; 256]);
        while !asked.ends_with(b"Password: ") {
            let read = master.read(&mut part).unwrap();
            asked.extend_from_slice(&part[..read]);
        }
        assert!(!shows());
        master.write_all(typed.as_bytes()).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(
            (status.signal(), status.code()),
            (signal, code),
            "{typed:?}"
        );
        assert!(shows(), "{typed:?}");
    }
}

/// Whether this process, and so what it starts, ignores SIGINT.
fn ignores_interrupts() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = u64::from_str_radix(ignored.unwrap().trim(), 16).unwrap();
    // Signal 2 is the second bit.
    ignored & 0b10 != 0
}
