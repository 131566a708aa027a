//! `edgeio whoami`: as whom requests go.

use protocol::rest::WhoamiBody;

use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::table;

/// Shows as whom requests go, and what that user is where.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio whoami
  edgeio --token-file ~/lab.token whoami -o json")]
pub(crate) struct Options {}

/// Shows it.
pub(super) fn run(client: &Client, format: Format) -> Result<(), Failure> {
    let path = "/api/v1/whoami";
    let answer = client.get(path)?;
    if format.is_raw() {
        return output::value(&answer, format);
    }
    let body: WhoamiBody = client.read(answer, path)?;
    match (format, &body.user) {
        (Format::Name, Some(user)) => output::print([format!("user/{user}")]),
        (Format::Name, None) => Ok(()),
        (Format::Table | Format::Wide | Format::Json | Format::Yaml, _) => {
            output::print(table::whoami(&body))
        }
    }
}
