//! Whose a certificate is.

use std::fmt;
use std::str::FromStr;

use model::id::{ClusterId, NodeId};

/// Whose a client's certificate is: the URI in its subject alternative name, and its common name is the id alone, which is
/// what a foreign broker takes for a user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// A worker, to its cluster: `spiffe://edgeio/node/<id>`.
    Worker(NodeId),
    /// A cluster, to its root: `spiffe://edgeio/cluster/<id>`.
    Cluster(ClusterId),
    /// A root, to another one with which it shares authority and store: `spiffe://edgeio/root`.
    Root,
}

/// The text names no holder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is nobody's name")]
pub struct HolderError(String);

const WORKER: &str = "spiffe://edgeio/node/";
const CLUSTER: &str = "spiffe://edgeio/cluster/";
const ROOT: &str = "spiffe://edgeio/root";

impl Holder {
    /// The id without its kind of holder.
    pub fn id(self) -> String {
        match self {
            Self::Worker(node) => node.to_string(),
            Self::Cluster(cluster) => cluster.to_string(),
            Self::Root => "root".to_owned(),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker(node) => write!(f, "{WORKER}{node}"),
            Self::Cluster(cluster) => write!(f, "{CLUSTER}{cluster}"),
            Self::Root => f.write_str(ROOT),
        }
    }
}

impl FromStr for Holder {
    type Err = HolderError;

    fn from_str(text: &str) -> Result<Self, HolderError> {
        let worker = || text.strip_prefix(WORKER)?.parse().ok().map(Self::Worker);
        let cluster = || text.strip_prefix(CLUSTER)?.parse().ok().map(Self::Cluster);
        let root = || (text == ROOT).then_some(Self::Root);
        worker()
            .or_else(cluster)
            .or_else(root)
            .ok_or_else(|| HolderError(text.chars().take(120).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_survives_its_uri_and_nothing_else_is_one() {
        let holders = [
            Holder::Worker(NodeId::from_bits(7)),
            Holder::Cluster(ClusterId::from_bits(8)),
            Holder::Root,
        ];
        for holder in holders {
            assert_eq!(holder.to_string().parse(), Ok(holder));
        }
        let node = NodeId::from_bits(7);
        for bad in [
            String::new(),
            format!("spiffe://edgeio/cluster/{node}"),
            format!("spiffe://other/node/{node}"),
            format!("spiffe://edgeio/node/{node}/x"),
            format!("SPIFFE://edgeio/node/{node}"),
        ] {
            assert!(bad.parse::<Holder>().is_err(), "{bad}");
        }
    }
}
