//! `secrets` and `pull_secret`: what an application is given that nobody else may know, and a login at its image's registry.
//!
//! Only names stand in documents. Whether there are such secrets is looked at by who accepts the job.

use std::collections::{BTreeMap, BTreeSet};

use model::name::Name;
use model::secret::{SecretPlace, SecretRef, SecretUse, Secrets};
use model::workload::{RuntimeKind, Volume};

use super::fault::{Faults, clip};
use super::fields::{Fields, Known};
use super::read::Spot;
use super::service::wrong_variable;
use super::tree::Kind;

/// Most secrets of one service.
const MAX_SECRETS: usize = 64;
/// Longest name of a file, as Linux has it.
const MAX_NAME: usize = 255;

pub(super) const KNOWN_SECRET: Known<'static> = Known {
    fields: &[&["name", "file", "env"]],
    hints: &[
        (
            "value",
            "values do not stand in documents; set it with edgeio secret set NAME",
        ),
        ("variable", "unknown field; did you mean `env`?"),
        ("path", "unknown field; did you mean `file`?"),
        ("source", "unknown field; did you mean `name`?"),
        ("target", "unknown field; did you mean `file`?"),
    ],
};

/// Reads both; what else the service has is there to tell what is named twice.
pub(super) fn secrets(
    fields: &Fields<'_>,
    runtime: RuntimeKind,
    environment: &BTreeMap<String, String>,
    volumes: &[Volume],
    faults: &mut Faults,
) -> Secrets {
    let uses = fields.get("secrets");
    let uses = uses.map_or_else(Vec::new, |spot| read(&spot, runtime, environment, faults));
    let below = format!("{}/", Secrets::FOLDER);
    let over = volumes.iter().find(|volume| {
        volume.target == Secrets::FOLDER
            || volume.target.starts_with(&below)
            || below.starts_with(&format!("{}/", volume.target))
    });
    if let Some(volume) = over
        && !uses.is_empty()
    {
        let message = format!(
            "the volume at {} is mounted over {}, where secrets are found; mount it elsewhere",
            clip(&volume.target),
            Secrets::FOLDER
        );
        fields.fault_at("secrets", message, faults);
    }
    Secrets {
        uses,
        pull: fields
            .get("pull_secret")
            .and_then(|spot| pull(&spot, runtime, faults)),
    }
}

fn pull(spot: &Spot<'_>, runtime: RuntimeKind, faults: &mut Faults) -> Option<SecretRef> {
    if runtime == RuntimeKind::Native {
        spot.fault(faults, "a native program is not pulled; remove it");
    }
    Some(named(spot.name(faults)?))
}

fn read(
    spot: &Spot<'_>,
    runtime: RuntimeKind,
    environment: &BTreeMap<String, String>,
    faults: &mut Faults,
) -> Vec<SecretUse> {
    let items = spot.items(faults).unwrap_or_default();
    if items.len() > MAX_SECRETS {
        let message = format!(
            "a service has at most {MAX_SECRETS} secrets; these are {}",
            items.len()
        );
        spot.fault(faults, message);
    }
    let mut uses: Vec<SecretUse> = Vec::new();
    let mut places = BTreeSet::new();
    for item in &items {
        let Some(one) = one(item, runtime, faults) else {
            continue;
        };
        if let SecretPlace::Variable(name) = &one.place
            && environment.contains_key(name)
        {
            let message = format!(
                "the variable {} stands in `environment` too; remove one of them",
                clip(name)
            );
            item.fault(faults, message);
        }
        if !places.insert(one.place.clone()) {
            let (SecretPlace::File(place) | SecretPlace::Variable(place)) = &one.place;
            let message = format!(
                "{} is given twice; remove one of them, or name another file or variable",
                clip(place)
            );
            item.fault(faults, message);
        }
        uses.push(one);
    }
    uses
}

/// A name alone is a file of that name.
fn one(spot: &Spot<'_>, runtime: RuntimeKind, faults: &mut Faults) -> Option<SecretUse> {
    if matches!(spot.node.kind, Kind::Text(_)) {
        let name = spot.name(faults)?;
        let place = SecretPlace::File(name.as_str().to_owned());
        return Some(SecretUse {
            secret: named(name),
            place,
        });
    }
    let fields = spot.fields(faults)?;
    fields.refuse_unknown(KNOWN_SECRET, faults);
    let name = fields
        .require("name", "db-password", faults)
        .and_then(|spot| spot.name(faults));
    let (file, variable) = (fields.get("file"), fields.get("env"));
    if file.is_some() && variable.is_some() {
        fields.fault_at(
            "env",
            "a secret is either in a file or in a variable; remove `env` or `file`, or name the secret twice",
            faults,
        );
    }
    let place = match (file, variable) {
        (_, Some(spot)) => spot.text(faults).map(|name| {
            if let Some(wrong) = wrong_variable(name, runtime) {
                spot.fault(faults, wrong);
            }
            SecretPlace::Variable(name.to_owned())
        }),
        (Some(spot), None) => spot.text(faults).map(|name| {
            if !is_file_name(name) {
                let message = format!(
                    "\"{}\" is no name of a file; write letters, digits, . _ and - only: it lies in {}",
                    clip(name),
                    Secrets::FOLDER
                );
                spot.fault(faults, message);
            }
            SecretPlace::File(name.to_owned())
        }),
        (None, None) => name
            .as_ref()
            .map(|name| SecretPlace::File(name.as_str().to_owned())),
    };
    Some(SecretUse {
        secret: named(name?),
        place: place?,
    })
}

const fn named(name: Name) -> SecretRef {
    SecretRef { name, sealed: None }
}

/// Whether it is the name of a file that lies in the folder of secrets and nowhere else.
pub fn is_file_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && !matches!(name, "." | "..")
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}
