//! Bodies that are too much, or not what they say; the numbers are rows of the list in the reliability notes.

use std::io::Write;
use std::time::Duration;

use edgeio_tests::harness::TOKEN;

use super::documents::container;
use super::exchange::{connect, read, request};
use super::refusal::{Refusal, bare, fault, fine, problem, row};
use super::rig::{Rig, Tier};
use super::row::{Row, Verdict};

const MIB: usize = 1024 * 1024;
const JOBS: &str = "POST /api/v1/jobs";
/// Sent without an end, until the server has enough.
const ENDLESS: usize = 1024 * MIB;
/// What the server may take of it.
const TAKEN: usize = 16 * MIB;

#[expect(clippy::too_many_lines, reason = "a table")]
pub(crate) fn rows() -> Vec<Row> {
    let mut rows = vec![
        // 1, 2
        sent("empty", b"", fault("empty").at(1, 1)),
        sent("blanks", b" \n \n", fault("empty")),
        sent(
            "a document of 256 KiB and 1",
            &vec![b'x'; 256 * 1024 + 1],
            fault("262144"),
        ),
        sent(
            "1 MiB of brackets",
            &vec![b'['; MIB],
            fault("1048576 bytes"),
        ),
        sent(
            "1 MiB and 1",
            &vec![b' '; MIB + 1],
            problem(413, "too_large").says("1048576"),
        ),
        // 5, 6
        sent(
            "a billion laughs",
            laughs().as_bytes(),
            fault("aliases").at(2, 8),
        ),
        sent(
            "10,000 lists in each other",
            "[".repeat(10_000).as_bytes(),
            fault("limit"),
        ),
        sent(
            "10,000 mappings in each other",
            "{a: ".repeat(10_000).as_bytes(),
            fault("limit"),
        ),
        sent(
            "10,000 dashes",
            "- ".repeat(10_000).as_bytes(),
            fault("limit"),
        ),
        // 11
        sent(
            "no UTF-8",
            b"api_version: v0.1\njob_name: \xff\n",
            fault("UTF-8").at(2, 11),
        ),
        sent(
            "a byte-order mark",
            "\u{feff}api_version: v0.1\n".as_bytes(),
            fault("byte-order"),
        ),
        sent("UTF-16", &utf16("api_version: v0.1\n"), fault("UTF-16")),
        sent(
            "NUL",
            b"api_version: v0.1\njob_name: \"a\0\"\n",
            fault("NUL"),
        ),
        sent("random bytes", &random(4_096), fault("")),
        // 12, 18, 19
        sent(
            "a name of 254",
            named(&"x".repeat(254)).as_bytes(),
            fault("1 to 63").of("job_name"),
        ),
        sent(
            "an image of 5 KiB",
            imaged(&"x".repeat(5_000)).as_bytes(),
            fault("255").of("image"),
        ),
        sent("10,000 variables", variables().as_bytes(), fault("10000")),
        sent(
            "4,000 unknown fields",
            fields().as_bytes(),
            fault("3000 more"),
        ),
        sent("101 documents", documents(101).as_bytes(), fault("100")),
        sent(
            "101 services",
            services(101).as_bytes(),
            fault("100").of("services"),
        ),
        sent("65 files", files(65).as_bytes(), fault("64").of("files")),
        sent(
            "a file of 64 KiB and 1",
            file(65_537).as_bytes(),
            fault("65536").of("files./a"),
        ),
        sent("PUT of two documents", b"", fault("empty")),
        row(
            "PUT of two",
            Tier::Root,
            request("PUT /api/v1/jobs/bad", "", documents(2).as_bytes()),
            problem(400, "bad_request").says("one document"),
        ),
        row(
            "PUT of another name",
            Tier::Root,
            request("PUT /api/v1/jobs/other", "", container("").as_bytes()),
            problem(422, "name_mismatch").says("bad"),
        ),
        // 3
        Row::new("1 GiB in chunks", endless).within(Duration::from_secs(5)),
        chunked(
            "a chunk whose length is a lie",
            b"ZZ\r\nabc\r\n",
            bare(&[400]),
        ),
        chunked("a chunk of 2^64", b"10000000000000000\r\n", bare(&[400])),
        chunked("a length of -1", b"-1\r\n", bare(&[400])),
        chunked(
            "a good document in chunks of a byte, with a bad field",
            &split(),
            fault("unknown field"),
        ),
    ];
    for (tier, path) in [
        (Tier::Root, "/api/v1/jobs/kept/scale"),
        (Tier::Cluster, "/api/v1/jobs/kept/scale"),
    ] {
        for (name, body, words) in SCALES {
            let bytes = request(&format!("POST {path}"), "", body.as_bytes());
            rows.push(row(
                format!("{tier:?}: scale {name}"),
                tier,
                bytes,
                fault(words),
            ));
        }
    }
    for (name, body, words) in PATCHES {
        let path = "PATCH /api/v1/nodes/worker-1";
        let bytes = request(path, "", body.as_bytes());
        rows.push(row(
            format!("a node: {name}"),
            Tier::Cluster,
            bytes,
            fault(words),
        ));
        let path = "PATCH /api/v1/clusters/cluster-1/nodes/worker-1";
        let bytes = request(path, "", body.as_bytes());
        rows.push(row(
            format!("through the root: {name}"),
            Tier::Root,
            bytes,
            fault(words),
        ));
    }
    // 1 MiB of what says nothing is read, and refused as a document.
    rows.push(row(
        "1 MiB of blanks before a page",
        Tier::Root,
        request("POST /api/v1/jobs?dry_run=true", "", &vec![b' '; MIB]),
        fault(""),
    ));
    rows.push(row(
        "a good plan",
        Tier::Root,
        request(
            "POST /api/v1/jobs?dry_run=true",
            "",
            container("").as_bytes(),
        ),
        fine(200),
    ));
    rows
}

/// Bodies of `scale`, and what must be said.
const SCALES: &[(&str, &str, &str)] = &[
    ("to nothing said", "", "empty"),
    ("to 100,001", "replicas: 100001", "0 to 100000"),
    ("to -1", "replicas: -1", "0 to 100000"),
    ("to 2^64", "replicas: 18446744073709551616", "0 to 100000"),
    ("to 1.5", "replicas: 1.5", "0 to 100000"),
    ("to a text", "replicas: \"2\"", "without quotes"),
    ("to null", "replicas: null", ""),
    (
        "a field too many",
        "{replicas: 1, force: true}",
        "unknown field",
    ),
    ("without a number", "service: kept", "required"),
    (
        "a service with a slash",
        "{replicas: 1, service: a/b}",
        "1 to 63",
    ),
    ("twice", "{replicas: 1}\n---\n{replicas: 2}\n", ""),
    ("a list", "[1]", "mapping"),
];

/// Bodies of `PATCH` of a node, and what must be said.
const PATCHES: &[(&str, &str, &str)] = &[
    ("an unknown field", "scheduling: CORDONED", "unknown field"),
    ("an interval of nothing", "report_interval: 0s", "100ms"),
    ("an interval of a day", "report_interval: 24h", "1h"),
    ("a label that is a number", "labels: {a: 1}", "\"1\""),
    ("a label with a space", "labels: {'a b': c}", "label's key"),
    ("labels in a list", "labels: [a]", "mapping"),
];

fn sent(name: &str, body: &[u8], expected: Refusal) -> Row {
    row(name, Tier::Root, request(JOBS, "", body), expected)
}

fn chunked(name: &str, chunks: &[u8], expected: Refusal) -> Row {
    let head = format!(
        "{JOBS} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    );
    row(
        name,
        Tier::Root,
        [head.as_bytes(), chunks].concat(),
        expected,
    )
}

/// Sends a body without a length until the server refuses it.
fn endless(rig: &Rig) -> Verdict {
    let stream = connect(rig.http(Tier::Root))?;
    let mut writing = stream.try_clone().map_err(|error| error.to_string())?;
    let head = format!(
        "{JOBS} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {TOKEN}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let chunk = [b"10000\r\n".as_slice(), &vec![b'#'; 0x10000], b"\r\n"].concat();
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let mut sent = 0;
            let begun = writing.write_all(head.as_bytes());
            while begun.is_ok() && sent < ENDLESS && writing.write_all(&chunk).is_ok() {
                sent += chunk.len();
            }
            sent
        });
        let answer = read(&stream);
        let _ = stream.shutdown(std::net::Shutdown::Both);
        let sent = writer.join().unwrap();
        problem(413, "too_large").judge(&answer?)?;
        (sent < TAKEN)
            .then_some(())
            .ok_or_else(|| format!("it took {sent} bytes"))
    })
}

fn laughs() -> String {
    let first = "a: &a [lol, lol, lol, lol]\n".to_owned();
    ('b'..='i').zip('a'..).fold(first, |text, (to, from)| {
        let nine = vec![format!("*{from}"); 9].join(", ");
        text + &format!("{to}: &{to} [{nine}]\n")
    })
}

fn utf16(text: &str) -> Vec<u8> {
    let units = text.encode_utf16().flat_map(u16::to_le_bytes);
    [0xff, 0xfe].into_iter().chain(units).collect()
}

/// Bytes that are the same each time.
pub(crate) fn random(count: usize) -> Vec<u8> {
    let step = |state: &mut u64| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        Some((*state >> 32) as u8)
    };
    std::iter::repeat_n((), count)
        .scan(0x9e37_79b9_7f4a_7c15, |state, ()| step(state))
        .collect()
}

fn named(name: &str) -> String {
    format!("api_version: v0.1\njob_name: {name}\nimage: nginx\n")
}

fn imaged(image: &str) -> String {
    format!("api_version: v0.1\njob_name: bad\nimage: {image}\n")
}

fn variables() -> String {
    let lines: Vec<String> = (0..10_000)
        .map(|number| format!("  V{number}: v\n"))
        .collect();
    container(&format!("environment:\n{}", lines.concat()))
}

fn fields() -> String {
    let lines: Vec<String> = (0..4_000).map(|number| format!("f{number}: 1\n")).collect();
    container(&lines.concat())
}

fn documents(count: usize) -> String {
    let one = |number| format!("---\n{}", named(&format!("bad-{number}")));
    (0..count).map(one).collect::<Vec<_>>().concat()
}

fn services(count: usize) -> String {
    let one = |number| format!("- {{name: s{number}, image: nginx}}\n");
    let all: Vec<String> = (0..count).map(one).collect();
    format!(
        "api_version: v1\njob_name: bad\nservices:\n{}",
        all.concat()
    )
}

fn files(count: usize) -> String {
    let lines: Vec<String> = (0..count)
        .map(|number| format!("  /f{number}: x\n"))
        .collect();
    container(&format!("files:\n{}", lines.concat()))
}

fn file(length: usize) -> String {
    container(&format!("files: {{/a: {}}}", "x".repeat(length)))
}

/// A document with an unknown field, a byte in each chunk.
fn split() -> Vec<u8> {
    let bytes = container("nonsense: 1");
    let chunks = bytes
        .bytes()
        .flat_map(|byte| [b'1', b'\r', b'\n', byte, b'\r', b'\n']);
    chunks.chain(*b"0\r\n\r\n").collect()
}
