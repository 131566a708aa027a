//! The bytes of a line. What stands here an older version wrote: it stays readable.

use std::process::Command;

use expect_test::expect_file;

use super::*;
use crate::TEXT_BYTES;
use crate::line::Note;

/// One of each kind.
fn one_of_each(directory: &Path) {
    let mut journal = open(directory, Options::default());
    let all = Record {
        tier: Tier::Root,
        who: Subject::User("anna".to_owned()),
        from: Some("[2001:db8::1]:1".parse().unwrap()),
        decision: Decision::Refused("a quota".to_owned()),
        before: Some(Digest::of(b"before")),
        request: Some("req_1".to_owned()),
        ..record("job/hello")
    };
    let least = Record {
        tier: Tier::Worker,
        who: Subject::Anonymous,
        from: None,
        decision: Decision::Granted,
        after: None,
        ..record("job/hello")
    };
    let hidden = Record {
        who: Subject::Cluster("cl_1".to_owned()),
        decision: Decision::Hidden("\u{1b}[2J\"\u{9b}\u{202e}ü\u{1f600}\n\u{7f}".to_owned()),
        ..record("\\")
    };
    let notes = [
        Note::Cut { bytes: 17 },
        Note::Lost { records: 3 },
        Note::removed(crate::line::Link::START),
        Note::Headless,
        Note::Astray { found: 4 },
    ];
    let records = [all, least, hidden].map(entry);
    let entries: Vec<_> = records.into_iter().chain(notes.map(Entry::Note)).collect();
    journal.append(&entries, NOW).unwrap();
}

#[test]
fn lines_are_written_and_read_as_ever() {
    let dir = tempfile::tempdir().unwrap();
    one_of_each(dir.path());
    expect_file!["golden/audit-00000001.jsonl"].assert_eq(&text(dir.path(), 1));
    let head = fs::read_to_string(files::head_path(dir.path())).unwrap();
    assert_eq!(head.len(), 128);
    expect_file!["golden/audit.head"].assert_eq(&head);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/golden");
    let summary = verify(&golden).unwrap();
    assert_eq!((summary.first, summary.last, summary.whole), (1, 8, true));
}

#[test]
fn each_line_is_json_and_its_hash_is_what_sha256sum_says() {
    let dir = tempfile::tempdir().unwrap();
    one_of_each(dir.path());
    for (number, line) in text(dir.path(), 1).lines().enumerate() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        // The command of the module comment.
        let script = format!(
            r#"sed -n {}p audit-00000001.jsonl | sed 's/,"hash":"[0-9a-f]*"}}$//' | tr -d '\n' | sha256sum"#,
            number + 1
        );
        let output = Command::new("sh")
            .args(["-c", &script])
            .current_dir(dir.path())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said.get(..64), value["hash"].as_str(), "{line}");
    }
}

#[test]
fn what_others_say_is_clipped_and_moves_no_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let long = |sign: &str| sign.repeat(2_000);
    let mut all = Record {
        time: long("\0"),
        who: Subject::User(long("\u{1b}")),
        verb: long("ü"),
        decision: Decision::Refused(long("\u{7f}")),
        request: Some(long("\"")),
        ..record(&long("\u{1}"))
    };
    all.clip();
    assert!(all.verb.len() <= TEXT_BYTES && all.verb.ends_with("ü…"));
    open(dir.path(), Options::default())
        .append(&[entry(all)], NOW)
        .unwrap();
    let text = text(dir.path(), 1);
    assert!(
        text.trim_end()
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~'))
    );
    assert_eq!(verify(dir.path()).unwrap().last, 1);
}

#[test]
fn a_line_of_a_later_version_is_told_and_nothing_is_appended_to_it() {
    let dir = tempfile::tempdir().unwrap();
    append(&mut open(dir.path(), Options::default()), &[1]);
    let later = r#"{"v":2,"seal":"of another kind"}"#;
    let before = text(dir.path(), 1) + later + "\n";
    fs::write(files::path(dir.path(), 1), &before).unwrap();
    let found = broken(dir.path());
    assert_eq!((found.line, found.what), (2, crate::Fault::Newer(2)));
    let error = Journal::open(dir.path(), Options::default(), Box::new(Machine), NOW);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("newer version"), "{error}");
    assert_eq!(text(dir.path(), 1), before);
}
