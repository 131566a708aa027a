//! The algorithms against a brute force, and every reason for which a candidate is refused.

#[cfg(test)]
mod clusters;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod rejections;
#[cfg(test)]
mod support;
#[cfg(test)]
mod workers;
