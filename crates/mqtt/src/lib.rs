//! The MQTT side of edgeIO: a cluster's own endpoint, the client of an engine, and the link that hides which broker is used.
//!
//! - [`endpoint`] is an MQTT 3.1.1 server restricted to the topics of [`protocol::topic`]. It knows who may use which topic
//!   and nothing about payloads.
//! - [`client`] is one connection to a broker. A node-engine uses it towards its cluster, [`link`] towards an external broker.
//! - [`mosquitto`] holds the rules of the endpoint for a broker that the operator runs in its place.
//! - [`link`] gives a cluster-orchestrator one stream in and one call out, whichever of the two it runs on.
//!
//! Nothing here keeps a message across a connection: what a broken connection loses, the sync protocol sends again.

pub mod backoff;
pub mod client;
pub mod endpoint;
pub mod filter;
pub mod link;
pub mod mosquitto;

#[cfg(test)]
mod rig;
