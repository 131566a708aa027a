use model::time::Wall;

use super::*;
use crate::shim::output::Output;
use crate::shim::output::read::{Reader, Step};

fn instance(bits: u128) -> InstanceId {
    InstanceId::from_bits(bits)
}

/// Output of so many lines of 100 bytes.
fn output(folder: &Path, lines: usize) -> PathBuf {
    let output = folder.join("output");
    let lines: Vec<String> = (0..lines).map(|line| format!("{line:099}\n")).collect();
    let text = lines.concat();
    Output::open(output.clone()).copy(text.as_bytes());
    output
}

fn read(folder: PathBuf, since: Option<Wall>) -> String {
    let mut reader = Reader::open(folder, None, since);
    let mut text = Vec::new();
    let mut buffer = [0; 4_096];
    while let Step::Bytes(count) = reader.read(&mut buffer).unwrap() {
        text.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8(text).unwrap()
}

fn frames(times: impl IntoIterator<Item = i64>) -> Vec<Frame> {
    let frame = |at| Frame {
        at,
        bytes: format!("{at:09}\n").into_bytes(),
    };
    times.into_iter().map(frame).collect()
}

#[test]
fn short_output_is_kept_whole_and_given_back_for_the_next_run() {
    let data = tempfile::tempdir().unwrap();
    let kept = Kept::new(data.path());
    let output = output(data.path(), 10);
    let one = instance(1);
    assert!(!kept.has(one));
    kept.take(one, &output).unwrap();
    assert!(kept.has(one) && !output.exists());
    assert_eq!(read(kept.folder(one), None).lines().count(), 10);
    let later = crate::runtime::wall().0 + 60_000;
    assert_eq!(read(kept.folder(one), Some(Wall(later))), "");
    kept.give_back(one, &output).unwrap();
    assert!(!kept.has(one));
    let run = Output::open(output.clone());
    assert_eq!(run.start(), 1_000);
    run.copy(&b"again\n"[..]);
    kept.take(one, &output).unwrap();
    assert!(read(kept.folder(one), None).ends_with("9\nagain\n"));
    // What was never there is no fault, and nothing is kept of nothing.
    kept.take(instance(2), &output).unwrap();
    kept.give_back(instance(2), &output).unwrap();
    std::fs::create_dir(&output).unwrap();
    kept.take(instance(2), &output).unwrap();
    assert!(!kept.has(instance(2)));
}

#[test]
fn of_long_output_the_end_is_kept_at_its_place_with_its_times() {
    for lines in [3_000, 11_000, 20_000] {
        let data = tempfile::tempdir().unwrap();
        let kept = Kept::new(data.path());
        let output = output(data.path(), lines);
        let mut follower = Reader::open(output.clone(), Some(1), None);
        let before = crate::runtime::wall();
        kept.take(instance(1), &output).unwrap();
        let text = read(kept.folder(instance(1)), None);
        assert_eq!(text.lines().count(), 2_621, "{lines}");
        let last = format!("{:099}\n", lines - 1);
        assert!(text.ends_with(&last));
        assert!(text.lines().all(|line| line.len() == 99));
        let since = |at| read(kept.folder(instance(1)), Some(Wall(at)));
        assert_eq!(since(0), text);
        assert_eq!(since(before.0 + 60_000), "");
        // Positions are what they were, so who follows goes on.
        follower.move_to(&kept.folder(instance(1)));
        let mut buffer = [0; 200];
        let step = follower.read(&mut buffer).unwrap();
        assert_eq!(step, Step::Bytes(100));
        assert_eq!(buffer[..100], *last.as_bytes());
        assert_eq!(follower.read(&mut buffer).unwrap(), Step::End);
        assert!(size(&kept.folder(instance(1))) < 300 << 10);
    }
}

#[test]
fn frames_of_all_runs_are_kept_in_order_and_none_twice() {
    let data = tempfile::tempdir().unwrap();
    let kept = Kept::new(data.path());
    assert!(kept.frames(instance(1)).is_empty());
    kept.add(instance(1), &[]).unwrap();
    assert!(!kept.has(instance(1)));
    kept.add(instance(1), &frames(0..10)).unwrap();
    kept.add(instance(1), &frames(5..20)).unwrap();
    assert_eq!(Kept::new(data.path()).frames(instance(1)), frames(0..20));
    // Of too many, the last.
    kept.add(instance(1), &frames(20..30_000)).unwrap();
    let last = kept.frames(instance(1));
    assert_eq!(last.len(), (256 << 10) / 10);
    assert_eq!(last.last().unwrap().at, 29_999);
    // Half a file is read as far as it goes.
    let file = kept.folder(instance(1)).join(FRAMES);
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 3]).unwrap();
    assert_eq!(kept.frames(instance(1)).len(), last.len() - 1);
    std::fs::write(&file, [0xff; 40]).unwrap();
    assert!(kept.frames(instance(1)).is_empty());
}

#[test]
fn what_is_old_goes_and_the_oldest_goes_first() {
    let data = tempfile::tempdir().unwrap();
    let limits = Limits {
        total: 40_000,
        ..Limits::default()
    };
    let kept = Kept::with(data.path(), limits);
    let aged = |bits: u128, minutes| {
        kept.add(instance(bits), &frames(0..10)).unwrap();
        let at = SystemTime::now() - Duration::from_mins(minutes);
        File::open(kept.folder(instance(bits)))
            .unwrap()
            .set_modified(at)
            .unwrap();
    };
    aged(1, 61);
    aged(2, 59);
    aged(3, 10);
    kept.sweep();
    assert!(!kept.has(instance(1)));
    assert!(kept.has(instance(2)) && kept.has(instance(3)));
    for bits in 4..7 {
        aged(bits, 5);
    }
    kept.sweep();
    assert!(!kept.has(instance(2)), "40,000 bytes are four folders");
    assert!(kept.has(instance(4)) && kept.has(instance(5)) && kept.has(instance(6)));
}
