//! The way of a user of its own to its instances' folders.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use crate::shim::confine::Account;

/// Lets the group of a user come through the data directory to the instances' folders, and nobody else: what there is to
/// read beside them stays its owner's.
pub(super) fn let_through(instances: &Path, account: Account) -> io::Result<()> {
    let folders = instances.ancestors().take(2);
    for entry in folders
        .clone()
        .filter_map(|folder| fs::read_dir(folder).ok())
    {
        for entry in entry {
            let entry = entry?;
            let mode = entry.metadata()?.permissions().mode();
            if entry.file_type()?.is_file() {
                fs::set_permissions(entry.path(), Permissions::from_mode(mode & 0o700))?;
            }
        }
    }
    for folder in folders {
        chown(folder, None, Some(account.gid))?;
        fs::set_permissions(folder, Permissions::from_mode(0o710))?;
    }
    Ok(())
}
