//! The documents of a file, each of which is applied on its own.

use std::collections::BTreeMap;

use protocol::document::{Fault, Format, Options, parse};

use crate::client::Body;
use crate::failure::Failure;

/// One document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Document {
    /// The job it is about.
    pub(crate) job: String,
    /// Its text.
    text: String,
    format: Format,
    /// The file, as it was named.
    origin: String,
    /// Lines of the file before it.
    before: u64,
}

impl Document {
    /// The document as it is sent.
    pub(crate) fn body(&self) -> Body<'_> {
        Body {
            media_type: match self.format {
                Format::Yaml => "application/yaml",
                Format::Json => "application/json",
            },
            bytes: self.text.as_bytes(),
        }
    }

    /// A refusal with faults becomes one with places of the file.
    pub(crate) fn locate(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Refused(refusal) if !refusal.problem.errors.is_empty() => {
                located(&self.origin, self.before, refusal.problem.errors)
            }
            other => other,
        }
    }
}

/// Several documents as one body.
#[derive(Debug)]
pub(crate) struct Joined<'a> {
    text: String,
    /// Each document, with the number of lines of the body before it.
    parts: Vec<(u64, &'a Document)>,
}

impl<'a> Joined<'a> {
    /// All of them, in their order.
    pub(crate) fn new(documents: &'a [Document]) -> Self {
        let mut text = String::new();
        let mut parts = Vec::new();
        for document in documents {
            if !text.is_empty() {
                if !text.ends_with('\n') {
                    text.push('\n');
                }
                text.push_str(separator(&document.text));
            }
            parts.push((text.matches('\n').count() as u64, document));
            text.push_str(&document.text);
        }
        Self { text, parts }
    }

    /// The body as it is sent.
    pub(crate) fn body(&self) -> Body<'_> {
        match self.parts.as_slice() {
            [(_, one)] => one.body(),
            _ => Body {
                media_type: "application/yaml",
                bytes: self.text.as_bytes(),
            },
        }
    }

    /// A refusal with faults becomes one with places of the files.
    pub(crate) fn locate(&self, failure: Failure) -> Failure {
        let Failure::Refused(refusal) = failure else {
            return failure;
        };
        if refusal.problem.errors.is_empty() {
            return Failure::Refused(refusal);
        }
        let of_line = |line: u64| {
            let begun = self.parts.iter().rev().find(|(before, _)| *before < line);
            begun.or_else(|| self.parts.first())
        };
        let faults = refusal.problem.errors.into_iter().map(|mut fault| {
            let Some((before, document)) = of_line(fault.line) else {
                return ("body".to_owned(), fault);
            };
            fault.line = fault.line.saturating_sub(*before) + document.before;
            (document.origin.clone(), fault)
        });
        Failure::Document {
            faults: faults.collect(),
        }
    }
}

/// What must stand between this document and one before it.
fn separator(text: &str) -> &'static str {
    let first = text
        .lines()
        .find(|line| !(line.trim().is_empty() || line.starts_with('#')));
    match first {
        Some(line) if line.starts_with("---") => "",
        // Directives come after the end of a document (YAML 1.2.2, section 9.2).
        Some(line) if line.starts_with('%') => "...\n",
        Some(_) | None => "---\n",
    }
}

fn located(origin: &str, before: u64, faults: Vec<Fault>) -> Failure {
    let faults = faults.into_iter().map(|mut fault| {
        fault.line += before;
        (origin.to_owned(), fault)
    });
    Failure::Document {
        faults: faults.collect(),
    }
}

/// The documents of one file.
///
/// # Errors
/// When one of them does not say which job it is about; the faults are all that were found in it.
pub(crate) fn read(origin: &str, bytes: &[u8]) -> Result<Vec<Document>, Failure> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        // The reader knows best how to say what is wrong.
        return Err(located(origin, 0, faults_of(bytes, Format::Yaml)));
    };
    let format = if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
        Format::Json
    } else {
        Format::Yaml
    };
    let parts = match format {
        Format::Json => vec![(0, text.to_owned())],
        Format::Yaml => split(text),
    };
    let mut documents = Vec::new();
    for (before, text) in parts {
        let job = job_of(&text, format).map_err(|faults| located(origin, before, faults))?;
        documents.push(Document {
            job,
            text,
            format,
            origin: origin.to_owned(),
            before,
        });
    }
    if documents.is_empty() {
        return Err(located(origin, 0, faults_of(b"", Format::Yaml)));
    }
    Ok(documents)
}

/// Whether each document is about a job of its own.
///
/// # Errors
/// When a job is described twice, with the places of both.
pub(crate) fn no_name_twice(documents: &[Document]) -> Result<(), Failure> {
    let mut first: BTreeMap<&str, &Document> = BTreeMap::new();
    let twice = documents.iter().filter_map(|document| {
        let before = first.insert(&document.job, document)?;
        let message = format!(
            "job_name {} is used twice, first in {}:{}; give each job its own, or keep one document",
            document.job,
            before.origin,
            before.before + 1,
        );
        let fault = Fault {
            path: "job_name".to_owned(),
            line: document.before + 1,
            column: 1,
            message,
        };
        Some((document.origin.clone(), fault))
    });
    let faults: Vec<_> = twice.collect();
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Failure::Document { faults })
    }
}

/// What the reader says about bytes that it cannot use.
fn faults_of(bytes: &[u8], format: Format) -> Vec<Fault> {
    parse(bytes, format, EVERYTHING).err().unwrap_or_default()
}

/// Whether something is allowed is the server's business.
const EVERYTHING: Options = Options {
    allow_noop: true,
    allow_local_registries: true,
};

/// The name in a document. The server decides about all else, since it may know fields that this program does not; so
/// a document that this program cannot read is searched for its name.
fn job_of(text: &str, format: Format) -> Result<String, Vec<Fault>> {
    let faults = match parse(text.as_bytes(), format, EVERYTHING) {
        Ok(jobs) => match jobs.as_slice() {
            [job] => return Ok(job.name.to_string()),
            // Split at every mark there is only one; if not, the server says so.
            _ => Vec::new(),
        },
        Err(faults) => faults,
    };
    let found = match format {
        Format::Yaml => text.lines().find_map(name_in_line),
        Format::Json => serde_json::from_str::<serde_json::Value>(text)
            .ok()
            .and_then(|value| Some(value.get("job_name")?.as_str()?.to_owned())),
    };
    found.filter(|name| !name.is_empty()).ok_or(faults)
}

/// The value of a `job_name:` at the left margin.
fn name_in_line(line: &str) -> Option<String> {
    let value = line
        .strip_prefix("job_name")?
        .trim_start()
        .strip_prefix(':')?;
    let value = value.split(" #").next().unwrap_or_default().trim();
    Some(value.trim_matches(['"', '\'']).to_owned())
}

/// YAML split at its `---` lines, each part with the number of lines before it. Such a line can only be a mark: texts
/// in blocks are indented, and quoted ones must not hold it (YAML 1.2.2, section 9.1.2).
fn split(text: &str) -> Vec<(u64, String)> {
    let mut parts: Vec<(u64, String)> = Vec::new();
    let mut part = (0, String::new());
    for (number, line) in (0..).zip(text.split_inclusive('\n')) {
        let mark = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        // What says nothing yet, as comments and directives, belongs to what follows.
        if mark && says_something(&part.1) {
            parts.push(std::mem::replace(&mut part, (number, String::new())));
        }
        part.1.push_str(line);
    }
    if says_something(&part.1) {
        parts.push(part);
    }
    parts
}

fn says_something(part: &str) -> bool {
    part.lines().any(|line| {
        let line = line.strip_prefix("---").unwrap_or(line).trim();
        !(line.is_empty() || line.starts_with(['#', '%']) || line == "...")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs(text: &str) -> Vec<(String, u64)> {
        let documents = read("f.yaml", text.as_bytes()).unwrap();
        documents.into_iter().map(|d| (d.job, d.before)).collect()
    }

    fn lines(text: &[u8]) -> Vec<String> {
        read("f.yaml", text).unwrap_err().lines()
    }

    #[test]
    fn a_file_is_split_at_its_marks_and_lines_are_counted() {
        let table: [(&str, &[(&str, u64)]); 7] = [
            ("job_name: a\n", &[("a", 0)]),
            ("# first\n---\njob_name: a\n", &[("a", 0)]),
            (
                "job_name: a\n---\n# b\njob_name: b\n---\n",
                &[("a", 0), ("b", 1)],
            ),
            (
                "%YAML 1.2\n---\njob_name: a # c\n...\n---\njob_name: 'b'\n",
                &[("a", 0), ("b", 4)],
            ),
            (
                "job_name: a\nfiles: {x: \"---\"}\nargs: [ ---a ]\n",
                &[("a", 0)],
            ),
            ("{\"job_name\": \"j\", \"new\": 1}", &[("j", 0)]),
            (
                "api_version: v0.1\njob_name: x\nfield_of_later: 1\n",
                &[("x", 0)],
            ),
        ];
        for (text, expected) in table {
            let expected: Vec<_> = expected
                .iter()
                .map(|(job, before)| ((*job).to_owned(), *before))
                .collect();
            assert_eq!(jobs(text), expected, "{text}");
        }
    }

    #[test]
    fn a_job_that_is_described_twice_is_told_with_both_places() {
        let text = "job_name: a\n---\njob_name: b\n---\njob_name: a\n";
        let documents = read("f.yaml", text.as_bytes()).unwrap();
        let told = no_name_twice(&documents).unwrap_err().lines();
        assert!(
            told.iter()
                .any(|line| line.starts_with("f.yaml:4:1:") && line.contains("first in f.yaml:1")),
            "{told:?}"
        );
        assert!(no_name_twice(&documents[..2]).is_ok());
    }

    #[test]
    fn a_flow_style_document_is_understood_too() {
        let text =
            "{api_version: v0.1, job_name: flow, image_runtime: native, command: [/bin/true]}";
        assert_eq!(jobs(text), [("flow".to_owned(), 0)]);
    }

    #[test]
    fn a_document_without_a_name_is_told_with_its_place_in_the_file() {
        let told = lines(b"job_name: a\n---\napi_version: v1\nimage: x\n");
        assert!(
            told.iter()
                .any(|line| line.starts_with("f.yaml:3:1: ") && line.contains("job_name")),
            "{told:?}"
        );
        assert!(lines(b"").iter().any(|line| line.contains("empty")));
        assert!(
            lines(b"job_name: \xff")
                .iter()
                .any(|line| line.starts_with("f.yaml:1:11:"))
        );
    }
}
