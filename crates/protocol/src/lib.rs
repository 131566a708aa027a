//! Wire shapes of edgeIO: documents, REST bodies, MQTT topics and payloads, uplink events; and the disk
//! shapes that both orchestrators store.
pub mod document;
pub mod message;
pub mod problem;
pub mod rest;
pub mod skew;
pub mod stored;
pub mod time;
pub mod topic;
pub mod workload;
