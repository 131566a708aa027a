//! The one place where the driver of `MongoDB` is set up, and the thread that runs it.

use std::fmt::{self, Debug, Formatter};
use std::sync::mpsc;
use std::time::Duration;

use mongodb::bson::{Document, RawDocumentBuf, doc};
use mongodb::options::{
    Acknowledgment, ClientOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern,
};
use mongodb::{Client, Collection};
use tokio::runtime::Runtime;

use super::PATIENCE;
use super::failure::{self, server};
use crate::{MongoUrl, StoreError};

/// The oldest server whose transactions and snapshots this needs.
const OLDEST: &str = "5.0";
/// Its number in the protocol (`maxWireVersion`).
const OLDEST_WIRE: i32 = 13;

/// A database, as the driver knows it. Clones are the same connections.
#[derive(Clone)]
pub(super) struct Database {
    pub(super) client: Client,
    pub(super) whole: mongodb::Database,
    pub(super) records: Collection<RawDocumentBuf>,
    pub(super) leases: Collection<Document>,
    /// How it is called where people read.
    pub(super) place: String,
}

impl Debug for Database {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Database").field(&self.place).finish()
    }
}

impl Database {
    /// Reaches the servers, and looks whether they can keep a store.
    async fn open(url: &MongoUrl, owner: &str) -> Result<Self, StoreError> {
        let place = url.to_string();
        let invalid = |error: mongodb::error::Error| server(&place, failure::said(&error));
        let mut options = ClientOptions::parse(url.whole()).await.map_err(invalid)?;
        options.app_name.get_or_insert_with(|| "edgeio".to_owned());
        options
            .server_selection_timeout
            .get_or_insert(Duration::from_secs(3));
        options
            .connect_timeout
            .get_or_insert(Duration::from_secs(3));
        // Whatever the URL says: anything else would not keep what a store promises.
        let majority = WriteConcern::builder()
            .w(Acknowledgment::Majority)
            .journal(true);
        options.write_concern = Some(majority.build());
        options.read_concern = Some(ReadConcern::majority());
        options.selection_criteria =
            Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
        let client = Client::with_options(options).map_err(invalid)?;
        let database = client.database(url.name());
        let this = Self {
            records: database.collection(&format!("{owner}.records")),
            leases: database.collection(&format!("{owner}.lease")),
            client,
            whole: database,
            place,
        };
        this.check_server().await?;
        this.make_collections(owner).await?;
        Ok(this)
    }

    async fn check_server(&self) -> Result<(), StoreError> {
        let failed = |error| failure::of(&error, "open", &self.place);
        let hello = self
            .whole
            .run_command(doc! {"hello": 1})
            .await
            .map_err(failed)?;
        let is_set = hello.contains_key("setName")
            || hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid");
        if !is_set {
            return Err(server(
                &self.place,
                "it is no replica set, and commits need transactions: start mongod with --replSet rs0 and run rs.initiate() \
                 once"
                    .to_owned(),
            ));
        }
        if hello.get_i32("maxWireVersion").unwrap_or_default() < OLDEST_WIRE {
            return Err(server(
                &self.place,
                format!("it is older than MongoDB {OLDEST}, which this program needs"),
            ));
        }
        Ok(())
    }

    /// Made before the first transaction, which could not make them everywhere.
    async fn make_collections(&self, owner: &str) -> Result<(), StoreError> {
        let failed = |error| failure::of(&error, "open", &self.place);
        let there = self.whole.list_collection_names().await.map_err(failed)?;
        for name in ["records", "lease"].map(|part| format!("{owner}.{part}")) {
            if there.contains(&name) {
                continue;
            }
            match self.whole.create_collection(&name).await {
                Ok(()) => {}
                // Somebody else made it meanwhile.
                Err(error) if failure::code(&error) == Some(failure::NAMESPACE_EXISTS) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }
}

/// A database, and the thread on which everything about it happens.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) database: Database,
    /// `None` only while dropping.
    runtime: Option<Runtime>,
}

impl Driver {
    pub(super) fn open(url: &MongoUrl, owner: &'static str) -> Result<Self, StoreError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("store-mongodb")
            .enable_all()
            .build()
            .map_err(|source| StoreError::Io {
                operation: "start the thread of",
                source: std::sync::Arc::new(source),
            })?;
        let to_open = url.clone();
        let opened = wait_on(&runtime, "open", url.to_string(), async move {
            Database::open(&to_open, owner).await
        });
        match opened.and_then(std::convert::identity) {
            Ok(database) => Ok(Self {
                database,
                runtime: Some(runtime),
            }),
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    /// Runs it there and waits for it, from whatever thread: one of an async runtime would panic in `block_on`.
    pub(super) fn wait<T: Send + 'static>(
        &self,
        operation: &'static str,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let Some(runtime) = &self.runtime else {
            return Err(StoreError::Closed);
        };
        wait_on(runtime, operation, self.database.place.clone(), future)
    }

    /// Runs it there until this is dropped.
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(future);
        }
    }
}

fn wait_on<T: Send + 'static>(
    runtime: &Runtime,
    operation: &'static str,
    database: String,
    future: impl Future<Output = T> + Send + 'static,
) -> Result<T, StoreError> {
    let (answer, answered) = mpsc::sync_channel(1);
    runtime.spawn(async move {
        let ended = tokio::time::timeout(PATIENCE, future).await;
        // Whoever asked waits until there is an answer.
        let _ = answer.send(ended);
    });
    match answered.recv() {
        Ok(Ok(ended)) => Ok(ended),
        Ok(Err(_late)) => Err(StoreError::Unreachable {
            operation,
            database,
            reason: format!("no answer came within {} s", PATIENCE.as_secs()),
        }),
        Err(_panicked) => Err(StoreError::Closed),
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // It may be dropped on a thread that must not block.
            runtime.shutdown_background();
        }
    }
}
