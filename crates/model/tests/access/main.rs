//! Who may do what, and how much of it.

#[cfg(test)]
mod quotas;
#[cfg(test)]
mod roles;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod tenants;
#[cfg(test)]
mod users;
