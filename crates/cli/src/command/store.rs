//! `edgeio store`: where an orchestrator keeps its state.

use std::path::PathBuf;

use orchestrator::migrate::{Moved, migrate};
use orchestrator::{StoreAt, Tier};

use crate::failure::Failure;
use crate::output::{self, Format};

/// Carries the state of a root or a cluster from the data directory into a database, or back.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What is to be done.
    #[command(subcommand)]
    pub(crate) what: What,
}

/// What is done to a store.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum What {
    /// Carries a store from one place to another: from the data directory into a database, or back.
    ///
    /// No request is sent: the program must not run. It goes on where it was when it is started on the new place, and those
    /// below it notice nothing. The former store is put out of use once the new one was read back and found the same.
    #[command(after_help = "Examples:
  edgeio store migrate --tier root --data-dir ./edgeio-root --to mongodb://127.0.0.1/edgeio
  edgeio store migrate --tier root --data-dir ./root --from mongodb://db1/edgeio --to embedded")]
    Migrate(Migrate),
}

/// Where from, where to.
#[derive(Debug, clap::Args)]
pub(crate) struct Migrate {
    /// Whose store it is.
    #[arg(long, value_name = "TIER")]
    tier: Tier,
    /// The data directory: of the file, and of what goes on beside the store (identity/, audit/).
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Where it is: embedded, or mongodb://HOST:PORT/DATABASE.
    #[arg(long, value_name = "STORE", default_value = "embedded")]
    from: StoreAt,
    /// Where it is to be, as --store of the program has it. There must be none yet.
    #[arg(long, value_name = "STORE")]
    to: StoreAt,
}

/// Does it.
pub(super) fn run(what: &What, format: Format) -> Result<(), Failure> {
    let What::Migrate(options) = what;
    let moved = migrate(options.tier, &options.data_dir, &options.from, &options.to);
    let moved = moved.map_err(|error| Failure::Migrate(Box::new(error)))?;
    match format {
        Format::Json | Format::Yaml => output::value(&moved, format),
        Format::Name => output::print([moved.to]),
        Format::Table | Format::Wide => output::print(lines(&moved, options)),
    }
}

fn lines(moved: &Moved, options: &Migrate) -> [String; 2] {
    [
        format!(
            "moved {} records from {} to {}",
            moved.records, moved.from, moved.to
        ),
        format!(
            "Now start {} with --store {} --data-dir {}; the former store is not used any more.",
            moved.tier.program(),
            options.to,
            options.data_dir.display()
        ),
    ]
}
