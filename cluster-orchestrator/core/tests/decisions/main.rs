//! What a cluster decides: its workers, its own jobs, and what its root assigns.

#[cfg(test)]
mod adopting;
mod asking;
#[cfg(test)]
mod brake;
#[cfg(test)]
mod claims;
#[cfg(test)]
mod deadline;
#[cfg(test)]
mod forgetting;
mod jobs;
#[cfg(test)]
mod leaving;
#[cfg(test)]
mod loss;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod quarantine;
#[cfg(test)]
mod registering;
#[cfg(test)]
mod restoring;
mod silence;
#[cfg(test)]
mod support;
#[cfg(test)]
mod takeover;
#[cfg(test)]
mod telling;
#[cfg(test)]
mod tenants;
mod unheard;
#[cfg(test)]
mod uplink;
