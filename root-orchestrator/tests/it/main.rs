//! A root with clusters that are not real: REST on one side, the uplink's protocol on the other.

#[cfg(test)]
mod cluster;
#[cfg(test)]
mod failing;
#[cfg(test)]
mod follow;
#[cfg(test)]
mod http;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod placement;
#[cfg(test)]
mod program;
#[cfg(test)]
mod relay;
#[cfg(test)]
mod rest_paths;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod root;
#[cfg(test)]
mod straight;
#[cfg(test)]
mod submit;
