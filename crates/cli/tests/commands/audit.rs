//! Audit logs, which are read without a server.

use std::fs;
use std::path::Path;
use std::process::Output;

use audit::{Decision, Log, Options, Record, Subject, Tier};

use crate::{code, command, err, out};

/// Lets a program write a log with so many records.
fn written(directory: &Path, records: usize) {
    let log = Log::open(directory, Options::default(), "2026-11-05T08:00:00Z").unwrap();
    for n in 0..records {
        log.try_record(Record {
            time: "2026-11-05T08:00:01Z".to_owned(),
            tier: Tier::Root,
            who: Subject::User("anna".to_owned()),
            from: None,
            verb: "delete".to_owned(),
            resource: format!("job/{n}"),
            decision: Decision::Granted,
            before: None,
            after: None,
            request: None,
        });
    }
}

fn verify(path: &Path, more: &[&str]) -> Output {
    let args = [&["audit", "verify", path.to_str().unwrap()], more].concat();
    command(&args).output().unwrap()
}

#[test]
fn a_sound_audit_log_is_summed_up_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 3);
    let output = verify(dir.path(), &[]);
    let text = out(&output);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let begins = format!(
        "{} is sound: lines 1 to 3 in 1 file, the last with hash ",
        dir.path().display()
    );
    assert!(
        text.starts_with(&begins) && text.lines().count() == 1,
        "{text}"
    );

    let value: serde_json::Value =
        serde_json::from_str(&out(&verify(dir.path(), &["-o", "json"]))).unwrap();
    assert_eq!((&value["last"], &value["whole"]), (&3.into(), &true.into()));
    assert!(text.contains(value["hash"].as_str().unwrap()));

    let file = dir.path().join("audit-00000001.jsonl");
    assert!(out(&verify(&file, &[])).contains("before and after this file was not looked at"));
}

#[test]
fn a_broken_audit_log_is_told_with_file_and_line_and_what() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 3);
    let file = dir.path().join("audit-00000001.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("job/1", "job/7")).unwrap();
    let output = verify(dir.path(), &[]);
    assert_eq!((code(&output), out(&output)), (1, String::new()));
    assert_eq!(
        err(&output),
        format!(
            "error: {}:2: the line was changed: its hash is not that of its bytes\n",
            file.display()
        )
    );
    let cut: String = text.split_inclusive('\n').take(2).collect();
    fs::write(&file, cut).unwrap();
    let output = verify(dir.path(), &["-o", "json"]);
    assert_eq!(code(&output), 1);
    assert!(
        err(&output)
            .contains(":3: the log ends with line number 2, and audit.head knows of line number 3")
    );
}

#[test]
fn where_there_is_no_audit_log_none_is_found_sound() {
    let dir = tempfile::tempdir().unwrap();
    let output = verify(dir.path(), &[]);
    assert_eq!(code(&output), 1);
    assert!(
        err(&output).starts_with("error: there is no audit log in "),
        "{}",
        err(&output)
    );
    let output = verify(&dir.path().join("nothing"), &[]);
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("No such file"), "{}", err(&output));
}
