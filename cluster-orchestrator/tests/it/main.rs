//! A whole cluster-orchestrator in this process, with workers that only pretend to run anything.

#[cfg(test)]
mod deploy;
#[cfg(test)]
mod failing;
#[cfg(test)]
mod foreign;
#[cfg(test)]
mod joining;
#[cfg(test)]
mod load;
#[cfg(test)]
mod plan;
#[cfg(test)]
mod rest;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod root;
#[cfg(test)]
mod site;
#[cfg(test)]
mod start;
#[cfg(test)]
mod storm;
#[cfg(test)]
mod worker;
