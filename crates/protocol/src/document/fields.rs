//! Mappings: fields by name, and what is said about names that nobody knows.

use super::fault::{Faults, Position, join};
use super::read::Spot;
use super::tree::{Entry, Kind};

/// Fields of later issues: known by name, so that nobody takes them for typing errors.
const LATER: [&str; 17] = [
    "accelerator",
    "accelerators",
    "affinity",
    "anti_affinity",
    "areas",
    "configs",
    "constraints",
    "devices",
    "gpu",
    "links",
    "networks",
    "schedule",
    "sensors",
    "singleton",
    "spread",
    "storage",
    "vgpus",
];

/// Which fields a mapping may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'k> {
    /// Their names.
    pub(crate) fields: &'k [&'k [&'k str]],
    /// Fields that belong elsewhere, with where.
    pub(crate) hints: &'k [(&'k str, &'k str)],
}

/// A mapping with its path.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    /// Where in the document.
    pub(crate) path: String,
    /// Where in the body.
    pub(crate) at: Position,
    entries: &'a [Entry],
}

impl<'a> Fields<'a> {
    /// The entries of the mapping at `spot`.
    pub(crate) fn new(spot: &Spot<'a>, entries: &'a [Entry]) -> Self {
        Self {
            path: spot.path.clone(),
            at: spot.at,
            entries,
        }
    }

    /// The value of a field that is given and not null.
    pub(crate) fn get(&self, name: &str) -> Option<Spot<'a>> {
        self.entries
            .iter()
            .find(|entry| entry.key == name && entry.value.kind != Kind::Null)
            .map(|entry| Spot {
                path: join(&self.path, name),
                at: entry.value.at,
                node: &entry.value,
            })
    }

    /// The value of a field that must be given; `example` is what to write.
    pub(crate) fn require(
        &self,
        name: &str,
        example: &str,
        faults: &mut Faults,
    ) -> Option<Spot<'a>> {
        let spot = self.get(name);
        if spot.is_none() {
            let at = self
                .entries
                .iter()
                .find(|entry| entry.key == name)
                .map_or(self.at, |entry| entry.at);
            faults.add(
                &join(&self.path, name),
                at,
                format!("is required; write {name}: {example}"),
            );
        }
        spot
    }

    /// All keys with their places and values, for mappings whose keys are the user's.
    pub(crate) fn each(&self) -> impl Iterator<Item = (&'a str, Spot<'a>, Position)> {
        self.entries.iter().map(|entry| {
            let spot = Spot {
                path: join(&self.path, &entry.key),
                at: entry.value.at,
                node: &entry.value,
            };
            (entry.key.as_str(), spot, entry.at)
        })
    }

    /// Adds a fault at a field's key.
    pub(crate) fn fault_at(&self, name: &str, message: impl Into<String>, faults: &mut Faults) {
        let at = self
            .entries
            .iter()
            .find(|entry| entry.key == name)
            .map_or(self.at, |entry| entry.at);
        faults.add(&join(&self.path, name), at, message);
    }

    /// Adds a fault for every field that is not known.
    pub(crate) fn refuse_unknown(&self, known: Known<'_>, faults: &mut Faults) {
        for entry in self.entries {
            let key = entry.key.as_str();
            if known.fields.iter().any(|group| group.contains(&key)) {
                continue;
            }
            let hint = known
                .hints
                .iter()
                .find(|(name, _)| *name == key)
                .map(|(_, hint)| *hint);
            let message = match hint {
                Some(hint) => hint.to_owned(),
                None if LATER.contains(&key) => format!("`{key}` is not supported yet; remove it"),
                None if key == "<<" => {
                    "merge keys are not supported; write the fields out".to_owned()
                }
                None => unknown(key, known.fields),
            };
            faults.add(&join(&self.path, key), entry.at, message);
        }
    }
}

fn unknown(key: &str, known: &[&[&str]]) -> String {
    let all = || known.iter().flat_map(|group| group.iter().copied());
    let close = (key.chars().count() / 3).clamp(1, 3);
    let nearest = (key.len() <= 64)
        .then(|| {
            all()
                .map(|field| (distance(key, field), field))
                .min()
                .filter(|(distance, _)| *distance <= close)
        })
        .flatten();
    match nearest {
        Some((_, field)) => format!("unknown field; did you mean `{field}`?"),
        None => format!(
            "unknown field; remove it, known here are {}",
            all().collect::<Vec<_>>().join(", ")
        ),
    }
}

/// Edits (insert, delete, replace) from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (done, have) in from.chars().enumerate() {
        let mut left = done + 1;
        let mut next = vec![left];
        for ((want, above), diagonal) in to.iter().zip(row.iter().skip(1)).zip(&row) {
            left = (left + 1)
                .min(above + 1)
                .min(diagonal + usize::from(have != *want));
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{distance, unknown};

    #[test]
    fn the_nearest_field_is_named() {
        assert_eq!(
            (
                distance("", "abc"),
                distance("kitten", "sitting"),
                distance("a", "a")
            ),
            (3, 3, 0)
        );
        assert!(unknown("requirments", &[&["image", "requirements"]]).contains("`requirements`"));
        assert!(
            unknown("privilged", &[&["image", "ports"]]).contains("known here are image, ports")
        );
    }
}
