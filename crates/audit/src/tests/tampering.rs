//! Whatever is done to a log by somebody else is found, at its place.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::Fault;

/// What somebody does to a log.
#[derive(Debug, Clone)]
enum Attack {
    Edit { line: Index, byte: Index, to: u8 },
    Delete(Index),
    Double(Index),
    Swap(Index, Index),
    Insert { line: Index, text: String },
    CutTail { line: Index, byte: Index },
    RemoveFile(Index),
    SwapFiles(Index, Index),
}

fn attack() -> impl Strategy<Value = Attack> {
    use Attack::{CutTail, Delete, Double, Edit, Insert, RemoveFile, Swap, SwapFiles};
    let index = any::<Index>;
    prop_oneof![
        3 => (index(), index(), any::<u8>()).prop_map(|(line, byte, to)| Edit { line, byte, to }),
        2 => index().prop_map(Delete),
        2 => index().prop_map(Double),
        2 => (index(), index()).prop_map(|(a, b)| Swap(a, b)),
        1 => (index(), ".{0,40}").prop_map(|(line, text)| Insert { line, text }),
        2 => (index(), index()).prop_map(|(line, byte)| CutTail { line, byte }),
        1 => index().prop_map(RemoveFile),
        1 => (index(), index()).prop_map(|(a, b)| SwapFiles(a, b)),
    ]
}

type Line = (u64, Vec<u8>);

fn carry_out(attack: &Attack, lines: &mut Vec<Line>) {
    let count = lines.len();
    let file_of = |index: &Index, lines: &[Line]| lines[index.index(count)].0;
    match attack {
        Attack::Edit { line, byte, to } => {
            let bytes = &mut lines[line.index(count)].1;
            let at = byte.index(bytes.len());
            bytes[at] = *to;
        }
        Attack::Delete(line) => drop(lines.remove(line.index(count))),
        Attack::Double(line) => {
            let at = line.index(count);
            lines.insert(at, lines[at].clone());
        }
        Attack::Swap(a, b) => {
            let (a, b) = (a.index(count), b.index(count));
            let first = lines[a].1.clone();
            lines[a].1 = std::mem::replace(&mut lines[b].1, first);
        }
        Attack::Insert { line, text } => {
            let at = line.index(count);
            let text = text.replace('\n', " ") + "\n";
            lines.insert(at, (lines[at].0, text.into_bytes()));
        }
        Attack::CutTail { line, byte } => {
            let at = line.index(count);
            lines.truncate(at + 1);
            let bytes = &mut lines[at].1;
            bytes.truncate(byte.index(bytes.len()));
        }
        Attack::RemoveFile(line) => {
            let file = file_of(line, lines);
            lines.retain(|(index, _)| *index != file);
        }
        Attack::SwapFiles(a, b) => {
            let (a, b) = (file_of(a, lines), file_of(b, lines));
            for (index, _) in lines.iter_mut() {
                if *index == a {
                    *index = b;
                } else if *index == b {
                    *index = a;
                }
            }
            lines.sort_by_key(|(index, _)| *index);
        }
    }
}

/// The lines as bytes.
fn read(directory: &Path) -> Vec<Line> {
    let files = files::list(directory).unwrap().into_iter();
    let lines = files.flat_map(|index| {
        let bytes = fs::read(files::path(directory, index)).unwrap();
        let lines = bytes.split_inclusive(|byte| *byte == b'\n');
        lines.map(|line| (index, line.to_vec())).collect::<Vec<_>>()
    });
    lines.collect()
}

fn write(directory: &Path, lines: &[Line]) {
    for index in files::list(directory).unwrap() {
        fs::remove_file(files::path(directory, index)).unwrap();
    }
    for (index, line) in lines {
        let path = files::path(directory, *index);
        let mut bytes = fs::read(&path).unwrap_or_default();
        bytes.extend(line);
        fs::write(&path, bytes).unwrap();
    }
}

/// Which of all lines the place is; one after the last of a file is the next file's first, as far as there is one.
fn position(directory: &Path, found: &Broken) -> usize {
    let before = read(directory).into_iter();
    let before = before.filter(|(index, _)| files::path(directory, *index) < found.file);
    before.count() + found.line as usize - 1
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_is_done_to_a_log_is_found_at_its_first_place(
        batches in prop::collection::vec(1_usize..4, 1..8),
        file_bytes in 200_u64..3_000,
        total_bytes in prop_oneof![Just(u64::MAX), 3_000_u64..9_000],
        attack in attack(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        append(&mut open(dir.path(), Options { file_bytes, total_bytes }), &batches);
        let written = read(dir.path());
        let summary = verify(dir.path()).unwrap();
        prop_assert_eq!(summary.last + 1 - summary.first, written.len() as u64);
        let mut lines = written.clone();
        carry_out(&attack, &mut lines);
        write(dir.path(), &lines);
        let now = read(dir.path());
        let same = |(_, a): &&Line, (_, b): &&Line| a == b;
        let first = written.iter().zip(&now).take_while(|(a, b)| same(a, b)).count();
        if first == written.len() && first == now.len() {
            verify(dir.path()).unwrap();
        } else {
            let found = broken(dir.path());
            let at = position(dir.path(), &found);
            // Without the line that says why the log begins where it does, it is the beginning that is wrong.
            let front = at == 0 && matches!(found.what, Fault::Front { .. });
            prop_assert!(at == first || front, "{} instead of {}: {}", at, first, found);
        }
    }
}

#[test]
fn each_byte_counts() {
    let dir = tempfile::tempdir().unwrap();
    append(&mut open(dir.path(), Options::default()), &[1, 1]);
    let head = fs::read(files::head_path(dir.path())).unwrap();
    let head_text = head.iter().position(|byte| *byte == b' ').unwrap();
    let log = fs::read(files::path(dir.path(), 1)).unwrap();
    let length = log.len();
    for (path, bytes, length) in [
        (files::path(dir.path(), 1), log, length),
        (files::head_path(dir.path()), head, head_text),
    ] {
        for at in 0..length {
            for other in [bytes[at] ^ 1, bytes[at] ^ 0x20, b'\n'] {
                let mut changed = bytes.clone();
                changed[at] = other;
                fs::write(&path, &changed).unwrap();
                assert_eq!(verify(dir.path()).is_ok(), changed == bytes, "byte {at}");
            }
        }
        fs::write(&path, &bytes).unwrap();
    }
}

#[test]
fn a_tail_that_is_cut_off_between_lines_is_found_by_the_head() {
    let dir = tempfile::tempdir().unwrap();
    append(&mut open(dir.path(), Options::default()), &[3]);
    let path = files::path(dir.path(), 1);
    let lines = text(dir.path(), 1);
    let shorter: String = lines.split_inclusive('\n').take(2).collect();
    fs::write(&path, shorter).unwrap();
    let what = Fault::End { last: 2, head: 3 };
    assert_eq!(
        broken(dir.path()).to_string(),
        format!("{}:3: {what}", path.display())
    );
    // One file alone cannot tell, except in the middle of a line.
    assert!(!verify(&path).unwrap().whole);
    fs::write(&path, lines.trim_end()).unwrap();
    for place in [dir.path(), &path] {
        let found = broken(place);
        assert_eq!((found.line, found.what), (3, Fault::CutOff));
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(broken(dir.path()).what, Fault::End { last: 0, head: 3 });
    fs::remove_file(files::head_path(dir.path())).unwrap();
    assert!(matches!(
        verify(dir.path()),
        Err(VerifyError::Nothing { .. })
    ));
}

#[test]
fn a_log_without_its_head_is_broken_until_it_is_opened_and_tells_of_it_then() {
    let dir = tempfile::tempdir().unwrap();
    append(&mut open(dir.path(), Options::default()), &[3]);
    for head in [None, Some("{}")] {
        fs::remove_file(files::head_path(dir.path())).unwrap();
        if let Some(head) = head {
            fs::write(files::head_path(dir.path()), head).unwrap();
        }
        let found = broken(dir.path());
        assert_eq!(
            (found.file, found.what),
            (files::head_path(dir.path()), Fault::Headless)
        );
        drop(open(dir.path(), Options::default()));
    }
    let summary = verify(dir.path()).unwrap();
    assert_eq!((summary.headless, summary.last), (2, 5));
}

/// That a break is still there, at the same place, after the log was opened and written again.
fn stays_broken(directory: &Path, options: Options) {
    let before = broken(directory);
    let were = lines(directory);
    append(&mut open(directory, options), &[2]);
    append(&mut open(directory, options), &[1]);
    let after = broken(directory);
    // What was missing has a wrong line in its place now, in the next file.
    let appended = !were.iter().any(|(index, line, _)| {
        (files::path(directory, *index), *line) == (before.file.clone(), before.line)
    });
    assert!(appended || before == after, "{before:?} {after:?}");
    assert_eq!(
        lines(directory)[..were.len()],
        were,
        "nothing was taken away"
    );
}

#[test]
fn opening_a_log_that_was_tampered_with_hides_nothing() {
    let changed = |from: &str, to: &str| {
        let dir = tempfile::tempdir().unwrap();
        append(&mut open(dir.path(), Options::default()), &[3]);
        let before = text(dir.path(), 1);
        let after = before.replacen(from, to, 1);
        assert_ne!(before, after);
        fs::write(files::path(dir.path(), 1), after).unwrap();
        stays_broken(dir.path(), Options::default());
    };
    changed(r#""resource":"0""#, r#""resource":"9""#);
    changed(r#""resource":"2""#, r#""resource":"9""#);
    let dir = tempfile::tempdir().unwrap();
    append(&mut open(dir.path(), Options::default()), &[3]);
    let path = files::path(dir.path(), 1);
    let before = text(dir.path(), 1);
    for lines in [2, 0] {
        let shorter: String = before.split_inclusive('\n').take(lines).collect();
        fs::write(&path, shorter).unwrap();
        stays_broken(dir.path(), Options::default());
    }
}

#[test]
fn another_log_that_is_sound_in_itself_is_found_by_the_head_also_after_opening() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    append(&mut open(dir.path(), Options::default()), &[3]);
    append(&mut open(other.path(), Options::default()), &[1, 1]);
    let mut journal = open(other.path(), Options::default());
    journal.append(&[entry(record("forged"))], NOW).unwrap();
    append(&mut journal, &[1]);
    drop(journal);
    fs::copy(files::path(other.path(), 1), files::path(dir.path(), 1)).unwrap();
    let found = broken(dir.path());
    assert_eq!((found.line, found.what), (3, Fault::Head(3)));
    append(&mut open(dir.path(), Options::default()), &[1]);
    let found = broken(dir.path());
    assert_eq!(
        (found.file, found.what),
        (files::path(dir.path(), 2), Fault::Chain)
    );
}

#[test]
fn a_beginning_that_the_log_did_not_remove_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        file_bytes: 500,
        total_bytes: 2_500,
    };
    append(&mut open(dir.path(), options), &[2; 9]);
    let summary = verify(dir.path()).unwrap();
    assert!(summary.first > 1 && summary.whole, "{summary:?}");
    let all: u64 = files::list(dir.path())
        .unwrap()
        .into_iter()
        .map(|index| fs::metadata(files::path(dir.path(), index)).unwrap().len())
        .sum();
    assert!(all <= options.total_bytes + 2_000, "{all}");
    let oldest = files::list(dir.path()).unwrap()[0];
    fs::remove_file(files::path(dir.path(), oldest)).unwrap();
    let found = broken(dir.path());
    assert!(matches!(found.what, Fault::Front { .. }), "{found}");
    assert_eq!(found.file, files::path(dir.path(), oldest + 1));
}
