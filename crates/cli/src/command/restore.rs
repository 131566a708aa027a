//! `edgeio restore`: a store of a backup, or of an older copy.

use std::path::PathBuf;

use orchestrator::Tier;
use orchestrator::backup::{Restored, renew, restore};

use crate::failure::Failure;
use crate::output::{self, Format};
use crate::table::ago;

/// Makes a data directory of a backup, for a root or a cluster that starts on it next.
///
/// No request is sent: the program must not run. What was decided after the backup is known to those below it; the next
/// start asks them what they have and takes it over, so that nothing is stopped because the backup does not know it.
///
/// With --in-place the store in the directory itself becomes a restored one: an older copy that was put there by hand, or
/// one whose program says that it is superseded.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio restore garching.edgeio --data-dir /var/lib/edgeio-cluster
  edgeio restore --in-place --data-dir /var/lib/edgeio-cluster")]
pub(crate) struct Options {
    /// What `edgeio backup` wrote.
    #[arg(
        value_name = "FILE",
        required_unless_present = "in_place",
        conflicts_with = "in_place"
    )]
    file: Option<PathBuf>,
    /// The data directory; an empty one (but for identity/, which goes on), or one that is made, unless --in-place is given.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Takes the store that is in the directory, and no file.
    #[arg(long)]
    in_place: bool,
    /// Which of the stores in the directory, where there are two.
    #[arg(long, value_name = "TIER", requires = "in_place")]
    tier: Option<Tier>,
}

/// Restores.
pub(super) fn run(options: &Options, format: Format) -> Result<(), Failure> {
    let restored = match &options.file {
        Some(file) => restore(file, &options.data_dir),
        None => renew(&options.data_dir, options.tier),
    };
    let restored = restored.map_err(|error| Failure::Backup(Box::new(error)))?;
    match format {
        Format::Json | Format::Yaml => output::value(&restored, format),
        Format::Name => output::print([restored.store.display().to_string()]),
        Format::Table | Format::Wide => output::print(lines(&restored, options)),
    }
}

fn lines(restored: &Restored, options: &Options) -> Vec<String> {
    let store = restored.store.display();
    let records = restored.records;
    let first = match &restored.backup {
        Some(about) => format!(
            "restored the store of {} to {store}: {records} records, as of {}",
            about.owner(),
            ago(about.taken_at),
        ),
        None => format!("{store} counts as restored from now on: {records} records"),
    };
    let (children, have) = match restored.tier {
        Tier::Root => ("clusters", "have"),
        Tier::Cluster => ("workers", "run"),
    };
    vec![
        first,
        format!(
            "Now start {} with --data-dir {}, as its only one. Then:",
            restored.tier.program(),
            options.data_dir.display()
        ),
        format!(
            "- its {children} are asked what they {have}, and all of it is taken over; nothing is stopped because this store \
             does not know it"
        ),
        format!(
            "- nothing is placed anew before its {children} could be heard; GET /api/v1/jobs shows what waits"
        ),
        format!(
            "- what was accepted after the backup is there again as far as its {children} {have} it, and what was deleted \
             after it may be there again: look through the jobs"
        ),
    ]
}
