//! What a root decides: which cluster gets what, and what happens when one cannot be heard.

#[cfg(test)]
mod adopting;
#[cfg(test)]
mod asking;
#[cfg(test)]
mod forgetting;
#[cfg(test)]
mod hostile;
mod jobs;
#[cfg(test)]
mod loss;
#[cfg(test)]
mod moving;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod restoring;
#[cfg(test)]
mod support;
#[cfg(test)]
mod telling;
#[cfg(test)]
mod tenants;
