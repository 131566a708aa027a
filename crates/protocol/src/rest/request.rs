//! Small request bodies, YAML or JSON, read as strictly as documents.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::document::fields::{Fields, Known};
use crate::document::{Fault, Faults, Format, Spot, is_label_key, is_label_value, parse_one};

const REPLICAS: RangeInclusive<u64> = 0..=100_000;
const REPORT_INTERVAL: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_hours(1);

/// `POST /jobs/{job}/scale`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(deny_unknown_fields))]
pub struct ScaleRequest {
    /// How many slots; 0 stops without deleting.
    #[cfg_attr(feature = "openapi", schemars(range(max = 100_000)))]
    pub replicas: u32,
    /// Which service; may be left out where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<crate::rest::schema::Name>")
    )]
    pub service: Option<String>,
}

/// `POST /jobs/{job}/restart`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(deny_unknown_fields))]
pub struct RestartRequest {
    /// Which service; all where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<crate::rest::schema::Name>")
    )]
    pub service: Option<String>,
}

/// Which copy begins first when an instance moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The new one runs before the old one stops.
    StartFirst,
    /// The old one stops first.
    StopFirst,
}

impl From<Strategy> for model::job::Strategy {
    fn from(strategy: Strategy) -> Self {
        match strategy {
            Strategy::StartFirst => Self::StartFirst,
            Strategy::StopFirst => Self::StopFirst,
        }
    }
}

/// `POST /jobs/{job}/migrate`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(deny_unknown_fields))]
pub struct MigrateRequest {
    /// Which instance: an id, or `service/index`; all where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// To which cluster, by name or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<crate::rest::schema::Name>")
    )]
    pub cluster: Option<String>,
    /// To which worker, by name or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<crate::rest::schema::Name>")
    )]
    pub worker_node: Option<String>,
    /// Which copy begins first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
}

/// `PATCH /nodes/{n}`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodePatch {
    /// Labels to set; `None` removes the operator's one.
    pub labels: BTreeMap<String, Option<String>>,
    /// How often it reports.
    pub report_interval: Option<Duration>,
}

impl ScaleRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// With all faults.
    pub fn parse(body: &[u8], format: Format) -> Result<Self, Vec<Fault>> {
        parse_one(body, format, |root, faults| {
            let fields = known(root, &["replicas", "service"], faults)?;
            let replicas = fields
                .require("replicas", "2", faults)
                .and_then(|spot| spot.whole(&REPLICAS, faults));
            let service = name(&fields, "service", faults);
            Some(Self {
                replicas: replicas? as u32,
                service,
            })
        })
    }
}

impl RestartRequest {
    /// Reads a body; an empty one restarts all.
    ///
    /// # Errors
    /// With all faults.
    pub fn parse(body: &[u8], format: Format) -> Result<Self, Vec<Fault>> {
        if body.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        parse_one(body, format, |root, faults| {
            let fields = known(root, &["service"], faults)?;
            Some(Self {
                service: name(&fields, "service", faults),
            })
        })
    }
}

impl MigrateRequest {
    /// Reads a body; an empty one moves all anywhere.
    ///
    /// # Errors
    /// With all faults.
    pub fn parse(body: &[u8], format: Format) -> Result<Self, Vec<Fault>> {
        if body.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        parse_one(body, format, |root, faults| {
            let fields = known(
                root,
                &["instance", "cluster", "worker_node", "strategy"],
                faults,
            )?;
            let words = [
                ("start_first", Strategy::StartFirst),
                ("stop_first", Strategy::StopFirst),
            ];
            Some(Self {
                instance: fields
                    .get("instance")
                    .and_then(|spot| spot.text(faults))
                    .map(str::to_owned),
                cluster: name(&fields, "cluster", faults),
                worker_node: name(&fields, "worker_node", faults),
                strategy: fields
                    .get("strategy")
                    .and_then(|spot| spot.choice(&words, faults)),
            })
        })
    }
}

impl NodePatch {
    /// Reads a body: `{labels: {zone: a, old: null}, report_interval: 5s}`.
    ///
    /// # Errors
    /// With all faults.
    pub fn parse(body: &[u8], format: Format) -> Result<Self, Vec<Fault>> {
        parse_one(body, format, |root, faults| {
            let fields = known(root, &["labels", "report_interval"], faults)?;
            let report_interval = fields
                .get("report_interval")
                .and_then(|spot| spot.duration(&REPORT_INTERVAL, faults));
            let mut patch = Self {
                labels: BTreeMap::new(),
                report_interval,
            };
            let labels = fields.get("labels").and_then(|spot| spot.fields(faults));
            for (key, spot, at) in labels.iter().flat_map(Fields::each) {
                if !is_label_key(key) {
                    faults.add(
                        &spot.path,
                        at,
                        "a label's key has 1 to 253 characters of A-Z a-z 0-9 _ . - /; rename it",
                    );
                }
                let value = if spot.is_null() {
                    None
                } else {
                    spot.text(faults).map(str::to_owned)
                };
                if value.as_deref().is_some_and(|value| !is_label_value(value)) {
                    spot.fault(
                        faults,
                        "a label's value is one line of at most 253 characters",
                    );
                }
                patch.labels.insert(key.to_owned(), value);
            }
            Some(patch)
        })
    }
}

pub(super) fn known<'a>(
    root: &Spot<'a>,
    names: &'static [&'static str],
    faults: &mut Faults,
) -> Option<Fields<'a>> {
    let fields = root.fields(faults)?;
    fields.refuse_unknown(
        Known {
            fields: &[names],
            hints: &[],
        },
        faults,
    );
    Some(fields)
}

fn name(fields: &Fields<'_>, field: &str, faults: &mut Faults) -> Option<String> {
    fields
        .get(field)
        .and_then(|spot| spot.name(faults))
        .map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_from_both_formats() {
        let scale = ScaleRequest {
            replicas: 3,
            service: Some("web".to_owned()),
        };
        assert_eq!(
            ScaleRequest::parse(b"{replicas: 3, service: web}", Format::Yaml),
            Ok(scale.clone())
        );
        assert_eq!(
            ScaleRequest::parse(&serde_json::to_vec(&scale).unwrap(), Format::Json),
            Ok(scale)
        );
        assert_eq!(
            RestartRequest::parse(b"", Format::Json),
            Ok(RestartRequest::default())
        );
        let migrate = MigrateRequest {
            worker_node: Some("w2".to_owned()),
            strategy: Some(Strategy::StopFirst),
            ..MigrateRequest::default()
        };
        assert_eq!(
            MigrateRequest::parse(&serde_json::to_vec(&migrate).unwrap(), Format::Json),
            Ok(migrate)
        );
        let patch = NodePatch::parse(
            b"labels: {zone: a, old: null}\nreport_interval: 5s\n",
            Format::Yaml,
        )
        .unwrap();
        assert_eq!(
            patch.labels,
            BTreeMap::from([
                ("zone".to_owned(), Some("a".to_owned())),
                ("old".to_owned(), None)
            ])
        );
        assert_eq!(patch.report_interval, Some(Duration::from_secs(5)));
    }

    #[test]
    fn bad_requests_tell_all_their_faults() {
        let faults =
            ScaleRequest::parse(b"replicas: '2'\nservce: web\n", Format::Yaml).unwrap_err();
        let told: Vec<_> = faults
            .iter()
            .map(|fault| (fault.path.as_str(), fault.line, fault.column))
            .collect();
        assert_eq!(told, [("replicas", 1, 11), ("servce", 2, 1)]);
        for bad in [
            "",
            "[]",
            "replicas: -1",
            "replicas: 100001",
            "{replicas: 1}\n---\n{replicas: 2}\n",
            "{replicas: 1, service: a/b}",
        ] {
            assert!(
                ScaleRequest::parse(bad.as_bytes(), Format::Yaml).is_err(),
                "{bad}"
            );
        }
        for bad in [
            "labels: {'a b': c}",
            "labels: {a: \"b\\nc\"}",
            "labels: {a: 1}",
            "report_interval: 2h",
        ] {
            assert!(
                NodePatch::parse(bad.as_bytes(), Format::Yaml).is_err(),
                "{bad}"
            );
        }
        assert!(
            MigrateRequest::parse(b"{strategy: fast}", Format::Yaml).unwrap_err()[0]
                .message
                .contains("start_first")
        );
    }
}
