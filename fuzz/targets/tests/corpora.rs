//! Replays the corpora: what the fuzzer found once is never met again unprepared.

use std::fs;
use std::path::Path;

use edgeio_fuzz_targets::TARGETS;

#[test]
fn every_corpus_is_replayed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    let (mut files, mut bytes) = (0, 0);
    for (name, target) in TARGETS {
        let entries = fs::read_dir(folder.join(name)).unwrap();
        let before = files;
        for entry in entries {
            let data = fs::read(entry.unwrap().path()).unwrap();
            target(&data);
            files += 1;
            bytes += data.len();
        }
        assert!(files > before, "{name} has no corpus");
    }
    assert!(files < 300, "{files} files");
    assert!(bytes < 200 * 1024, "{bytes} bytes");
}

#[test]
fn every_folder_of_the_corpora_has_a_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(TARGETS.iter().any(|(target, _)| *target == name), "{name}");
    }
}

#[test]
fn targets_take_nothing_and_noise() {
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    for (_, target) in TARGETS {
        target(b"");
        for length in [1, 2, 7, 100, 5000] {
            let mut bytes = Vec::new();
            for _ in 0..length {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                bytes.push(noise as u8);
            }
            target(&bytes);
        }
    }
}
