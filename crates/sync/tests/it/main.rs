//! The sync protocol driven as orchestrators drive it: by hand, by chance, and through every order of events.

#[cfg(test)]
mod model;
#[cfg(test)]
mod observe;
#[cfg(test)]
mod regressions;
#[cfg(test)]
mod schedules;
#[cfg(test)]
mod thing;
#[cfg(test)]
mod verdicts;
