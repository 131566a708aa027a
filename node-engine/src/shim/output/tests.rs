use std::fs;
use std::path::PathBuf;

use model::time::Wall;
use proptest::prelude::*;

use super::read::{Reader, Step};
use super::*;

fn sizes(folder: &Path) -> Vec<(u64, u64)> {
    let segments = segment::list(folder).unwrap();
    let sizes = segments.iter();
    sizes
        .map(|segment| (segment.base, segment.length()))
        .collect()
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("output");
    (folder, path)
}

fn line() -> Vec<u8> {
    [b"x".repeat(1023), b"\n".to_vec()].concat()
}

/// Everything that there is to read now.
fn rest(reader: &mut Reader) -> (String, u64) {
    let (mut text, mut lost) = (Vec::new(), 0);
    let mut buffer = [0; 1000];
    loop {
        match reader.read(&mut buffer).unwrap() {
            Step::Bytes(count) => text.extend_from_slice(&buffer[..count]),
            Step::Skipped(bytes) => lost += bytes,
            Step::End => return (String::from_utf8(text).unwrap(), lost),
        }
    }
}

/// Sets the times of a file as if they had been noted then.
fn noted(folder: &Path, base: u64, entries: &[(i64, u64)]) {
    let segment = Segment::new(folder, base);
    let _ = fs::remove_file(segment.times());
    let mut times = Times::open(segment.times());
    for (at, offset) in entries {
        times.note(Wall(*at), *offset);
    }
}

#[test]
fn output_is_rotated_and_its_end_can_be_read_across_files() {
    let (_folder, path) = folder();
    let mut log = Rotating::open(path.clone());
    for _ in 0..1024 {
        log.write(&line());
    }
    log.write(b"last\n");
    assert_eq!(sizes(&path), [(0, FILE_BYTES), (FILE_BYTES, 5)]);
    let lines = tail(&path, 0, 3, 8192);
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[2], "last");
    assert_eq!(lines[0].len(), 1023);
    for _ in 0..2048 {
        log.write(&line());
    }
    let bases: Vec<u64> = sizes(&path).iter().map(|(base, _)| *base).collect();
    assert_eq!(bases.len(), FILES);
    assert!(bases[0] > FILE_BYTES, "{bases:?}");
    // Every file has its times, and no file is left of those that went.
    assert_eq!(fs::read_dir(&path).unwrap().count(), 2 * FILES);
}

#[test]
fn a_flood_is_counted_and_dropped_but_for_its_end() {
    let (_folder, path) = folder();
    let mut log = Rotating::open(path.clone());
    let now = Instant::now();
    let chunk = vec![b'x'; CHUNK];
    for _ in 0..1600 {
        log.take(&chunk, now);
    }
    log.take(b"\npanic: the end\n", now);
    log.tell_dropped();
    for (_, size) in sizes(&path) {
        assert!(size <= FILE_BYTES, "{size}");
    }
    let lines = tail(&path, 0, 20, 8192);
    assert_eq!(lines.last().unwrap(), "panic: the end");
    assert!(
        lines
            .iter()
            .any(|line| line.contains("bytes of output dropped")),
        "{lines:?}"
    );
}

#[test]
fn the_tail_is_bounded_and_never_breaks_a_character() {
    assert_eq!(last_lines("a\nb\r\nc\n".as_bytes(), 2, 100), ["b", "c"]);
    assert_eq!(last_lines("ää".as_bytes(), 2, 3).concat(), "\u{fffd}ä");
    assert!(last_lines(b"", 2, 100).is_empty());
    assert_eq!(last_lines(b"a\n\n", 5, 100), ["a", ""]);
}

#[test]
fn a_restart_goes_on_in_the_same_files_and_its_own_part_is_known() {
    let (_folder, path) = folder();
    let mut first = Rotating::open(path.clone());
    first.write(b"first run\nno end");
    drop(first);
    let second = Output::open(path.clone());
    assert_eq!(second.start(), 17);
    second.copy(&b"second run\n"[..]);
    assert_eq!(sizes(&path), [(0, 28)]);
    let (text, lost) = rest(&mut Reader::open(path.clone(), None, None));
    assert_eq!(text, "first run\nno end\nsecond run\n");
    assert_eq!(lost, 0);
    assert_eq!(tail(&path, 17, 20, 4096), ["second run"]);
    // A run that said nothing has no last words.
    assert_eq!(Output::open(path.clone()).start(), 28);
    assert!(tail(&path, 28, 20, 4096).is_empty());
}

#[test]
fn the_last_lines_are_counted_as_people_count_them() {
    let (_folder, path) = folder();
    let mut log = Rotating::open(path.clone());
    let last = |lines| rest(&mut Reader::open(path.clone(), Some(lines), None)).0;
    assert_eq!(last(5), "");
    log.write(b"one\ntwo\nthree\n");
    assert_eq!(last(0), "");
    assert_eq!(last(1), "three\n");
    assert_eq!(last(2), "two\nthree\n");
    assert_eq!(last(99), "one\ntwo\nthree\n");
    log.write(b"half");
    assert_eq!(last(1), "half");
    assert_eq!(last(2), "three\nhalf");
    // Across files, and over blocks.
    for _ in 0..1024 {
        log.write(&line());
    }
    assert_eq!(sizes(&path).len(), 2);
    assert_eq!(last(1), String::from_utf8(line()).unwrap());
    assert_eq!(last(1023).len(), 1023 * 1024);
    assert!(last(1025).starts_with("three\nhalfx"));
}

#[test]
fn what_was_written_since_a_time_begins_with_a_whole_line() {
    let (_folder, path) = folder();
    let mut log = Rotating::open(path.clone());
    log.write(b"old\nhalf a ");
    log.write(b"line\nnew\n");
    let since = |at| rest(&mut Reader::open(path.clone(), None, Some(Wall(at)))).0;
    noted(&path, 0, &[(10_000, 0), (20_000, 11), (90_000, 16)]);
    assert_eq!(since(0), "old\nhalf a line\nnew\n");
    assert_eq!(since(10_900), "old\nhalf a line\nnew\n");
    assert_eq!(since(11_000), "half a line\nnew\n");
    assert_eq!(since(20_999), "half a line\nnew\n");
    assert_eq!(since(21_000), "new\n");
    assert_eq!(since(91_000), "");
    let last = Reader::open(path.clone(), Some(1), Some(Wall(0)));
    assert_eq!(rest(&mut { last }).0, "new\n");
    // Without times nothing is believed to be old.
    fs::remove_file(Segment::new(&path, 0).times()).unwrap();
    assert_eq!(since(91_000), "old\nhalf a line\nnew\n");
}

#[test]
fn what_was_written_now_is_found_by_its_time() {
    let (_folder, path) = folder();
    let mut log = Rotating::open(path.clone());
    let before = crate::shim::now();
    log.write(b"now\n");
    let since = |at| rest(&mut Reader::open(path.clone(), None, Some(Wall(at)))).0;
    assert_eq!(since(before.0), "now\n");
    assert_eq!(since(before.0 + 3_600_000), "");
}

#[test]
fn times_stay_few_and_never_hide_what_is_newer() {
    let (_folder, path) = folder();
    fs::create_dir(&path).unwrap();
    let times = path.join("times");
    let mut writer = Times::open(times.clone());
    for second in 0..40_000_i64 {
        writer.note(Wall(second * 1_000), second as u64 * 10);
    }
    assert!(fs::metadata(&times).unwrap().len() <= (16_384 + 1) * 16);
    for second in [0, 1, 17, 4_000, 39_999] {
        let offset = times::first(&times, Wall(second * 1_000)).unwrap();
        assert!(offset <= second as u64 * 10, "{second}: {offset}");
        assert!(offset + 80 >= second as u64 * 10, "{second}: {offset}");
    }
    // The next process goes on with it, and a clock that goes back adds nothing.
    let mut writer = Times::open(times.clone());
    writer.note(Wall(5_000), 400_010);
    assert_eq!(times::first(&times, Wall(60_000_000)), None);
    writer.note(Wall(60_000_000), 400_020);
    assert_eq!(times::first(&times, Wall(60_000_000)), Some(400_020));
}

#[test]
fn a_reader_follows_over_the_change_of_files_and_says_what_it_missed() {
    let (_folder, path) = folder();
    let mut reader = Reader::open(path.clone(), None, None);
    assert_eq!(rest(&mut reader), (String::new(), 0));
    let mut log = Rotating::open(path.clone());
    log.write(b"hello\n");
    assert_eq!(rest(&mut reader), ("hello\n".to_owned(), 0));
    // The file that is open is read to its end, also after its removal.
    for _ in 0..5000 {
        log.write(&line());
    }
    let (text, lost) = rest(&mut reader);
    assert_eq!(text.len() as u64 + lost, 5000 * 1024);
    assert!(lost > 0);
    assert!(text.starts_with('x') && text.ends_with('\n'));
    log.write(b"after\n");
    assert_eq!(rest(&mut reader), ("after\n".to_owned(), 0));
}

#[test]
fn who_does_not_follow_reads_what_was_there_at_the_beginning() {
    let (_folder, path) = folder();
    let mut log = Rotating::open(path.clone());
    log.write(b"one\n");
    let mut reader = Reader::open(path, None, None).present();
    log.write(b"two\n");
    for _ in 0..1024 {
        log.write(&line());
    }
    assert_eq!(rest(&mut reader), ("one\n".to_owned(), 0));
}

#[test]
fn a_reader_goes_on_when_the_files_move() {
    let (folder, path) = folder();
    let mut log = Rotating::open(path.clone());
    log.write(b"one\n");
    let mut reader = Reader::open(path.clone(), None, None);
    assert_eq!(rest(&mut reader).0, "one\n");
    log.write(b"two\n");
    let elsewhere = folder.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    assert_eq!(rest(&mut reader).0, "two\n");
    reader.move_to(&elsewhere);
    let mut log = Rotating::open(elsewhere);
    for _ in 0..1024 {
        log.write(&line());
    }
    assert_eq!(
        rest(&mut reader),
        (String::from_utf8(line()).unwrap().repeat(1024), 0)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn a_reader_that_keeps_up_reads_all(writes in prop::collection::vec((1..60_000_usize, any::<bool>()), 1..80)) {
        let (_folder, path) = folder();
        let mut log = Rotating::open(path.clone());
        let mut reader = Reader::open(path, None, None);
        let (mut read, mut written) = (0, 0);
        for (size, reads) in writes {
            let mut bytes = vec![b'x'; size];
            bytes[size - 1] = b'\n';
            log.write(&bytes);
            written += size as u64;
            // At most one file behind.
            if reads || written - read > FILE_BYTES / 2 {
                let (text, lost) = rest(&mut reader);
                prop_assert_eq!(lost, 0);
                read += text.len() as u64;
                prop_assert_eq!(read, written);
            }
        }
    }
}
