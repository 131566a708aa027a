//! Keys and certificates on the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::PEM_LIMIT;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Its owner alone: keys.
    Owner,
    /// Everybody on the machine: certificates.
    Everybody,
}

/// Why a file is not there.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system says why.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Others can read a key.
    #[error("{} is a key that others may read; put that right with chmod 600, and replace it if somebody else was on this machine", path.display())]
    Open {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a file of this module; `None` where there is none.
///
/// # Errors
/// When it cannot be read, or others can read what is for its owner.
pub fn read(path: &Path, readers: Readers) -> Result<Option<String>, FileError> {
    let failed = |source| FileError::Io {
        operation: "read",
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if readers == Readers::Owner && mode & 0o077 != 0 {
        return Err(FileError::Open {
            path: path.to_owned(),
        });
    }
    let mut text = String::new();
    let limit = 4 * PEM_LIMIT as u64;
    file.take(limit).read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
}

/// Writes a file whole or not at all; it is on the disk when this returns.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, text: &str, readers: Readers) -> Result<(), FileError> {
    let failed = |operation| {
        move |source| FileError::Io {
            operation,
            path: path.to_owned(),
            source,
        }
    };
    let mode = match readers {
        Readers::Owner => 0o600,
        Readers::Everybody => 0o644,
    };
    let beside = path.with_extension("new");
    // What a crash left may have another mode.
    let _ = fs::remove_file(&beside);
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)
        .map_err(failed("make"))?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    written.map_err(failed("write"))?;
    fs::rename(&beside, path).map_err(failed("replace"))?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = File::open(folder.unwrap_or_else(|| Path::new(".")))
        .map_err(failed("open the folder of"))?;
    folder.sync_all().map_err(failed("sync the folder of"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_whole_and_a_key_is_its_owners() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        assert_eq!(read(&path, Readers::Owner).unwrap(), None);
        for text in ["one", "two"] {
            write(&path, text, Readers::Owner).unwrap();
            assert_eq!(read(&path, Readers::Owner).unwrap().as_deref(), Some(text));
        }
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = read(&path, Readers::Owner).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_crash_left_beside_it_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        fs::write(path.with_extension("new"), "half").unwrap();
        write(&path, "whole", Readers::Everybody).unwrap();
        assert_eq!(
            read(&path, Readers::Everybody).unwrap().as_deref(),
            Some("whole")
        );
    }
}
