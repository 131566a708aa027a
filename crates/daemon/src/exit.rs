//! Exit codes, the same for every program (after `sysexits.h` where it has a word for it).

/// It did what was asked, or stopped cleanly.
pub const OK: u8 = 0;
/// It failed in a way that has no code of its own.
pub const FAILURE: u8 = 1;
/// Options, environment or configuration file are wrong; all faults were listed.
pub const CONFIG: u8 = 64;
/// The address to listen on is in use.
pub const ADDRESS_IN_USE: u8 = 69;
/// The store cannot be opened.
pub const STORE_UNUSABLE: u8 = 78;
