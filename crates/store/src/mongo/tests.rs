//! What is only true of a store in `MongoDB`, against a real server. They need `EDGEIO_REQUIRE=mongod`.

use std::mem::ManuallyDrop;
use std::time::{Duration, Instant};

use mongodb::bson::doc;
use tempfile::TempDir;

use super::*;
use crate::MongoUrl;
use crate::backup::{self, Backup};
use crate::{Embedded, Options};

#[path = "../../../../tests/support/mongod.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "other tests use all of it, and from elsewhere"
)]
mod mongod;

use mongod::Mongod;

const JOBS: Table = Table("jobs");

/// A server of a test's own.
pub(crate) struct Rig {
    server: Mongod,
    _dir: TempDir,
}

impl Rig {
    /// One, where tests that need it must run.
    pub(crate) fn required() -> Option<Self> {
        Self::started_by(Mongod::start)
    }

    fn started_by(start: impl FnOnce(&std::path::Path) -> Mongod) -> Option<Self> {
        let named = std::env::var("EDGEIO_REQUIRE").unwrap_or_default();
        if !named.split(',').any(|name| name.trim() == "mongod") {
            say("ignored: set EDGEIO_REQUIRE=mongod");
            return None;
        }
        let dir = TempDir::new().unwrap();
        Some(Self {
            server: start(dir.path()),
            _dir: dir,
        })
    }

    fn url(&self, database: &str) -> MongoUrl {
        self.server.url(database).parse().unwrap()
    }

    fn connect(&self, database: &str, name: &str) -> Result<Candidate, StoreError> {
        self.connect_with(database, name, Options::default())
    }

    fn connect_with(
        &self,
        database: &str,
        name: &str,
        options: Options,
    ) -> Result<Candidate, StoreError> {
        let holder = Holder {
            name: name.to_owned(),
            url: format!("http://{name}.example"),
            mark: String::new(),
        };
        Candidate::connect(&self.url(database), "root", options, holder)
    }

    /// The store in a database that nobody else uses.
    pub(crate) fn store(&self, database: &str) -> Mongo {
        taken(self.connect(database, "first").unwrap().look().unwrap())
    }
}

fn taken(look: Look) -> Mongo {
    match look {
        Look::Taken(store) => *store,
        Look::Held(holder) => panic!("{holder:?} has it"),
    }
}

/// Looks until it is taken.
fn wait_for(candidate: &mut Candidate) -> (Mongo, Duration) {
    let begun = Instant::now();
    loop {
        if let Look::Taken(store) = candidate.look().unwrap() {
            return (*store, begun.elapsed());
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody gives it");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// A program that sleeps: it holds what it has, and does not renew its lease.
fn asleep(store: Mongo) -> ManuallyDrop<Mongo> {
    store.lost.send_replace(Some(StoreError::Closed));
    ManuallyDrop::new(store)
}

#[expect(clippy::print_stderr, reason = "whoever runs the tests is to know")]
fn say(text: &str) {
    eprintln!("{text}");
}

fn put(key: u8, value: u8) -> [Op; 1] {
    [Op::put(JOBS, [key], [value])]
}

/// A commit of that program goes as far as its first write, and no further.
fn left_open(store: &Mongo) {
    let (database, session) = (store.driver.database.clone(), Arc::clone(&store.session));
    let written = store.driver.wait("begin", async move {
        let mut session = session.lock().await;
        session.start_transaction().await?;
        let counted = doc! {"$inc": {"commits": 1_i64}};
        let counting = database.leases.update_one(doc! {"_id": lease::ID}, counted);
        counting.session(&mut *session).await
    });
    written.unwrap().unwrap();
}

#[test]
fn a_lease_is_of_one_and_is_given_back_at_the_end() {
    let Some(rig) = Rig::required() else { return };
    let first = rig.store("one");
    first.commit(&put(1, 1)).unwrap();
    let mut second = rig.connect("one", "second").unwrap();
    let Look::Held(holder) = second.look().unwrap() else {
        panic!("two have it");
    };
    assert_eq!(
        (holder.name.as_str(), holder.url.as_str()),
        ("first", "http://first.example")
    );
    assert_eq!(second.load().unwrap().len(), 1);
    // Another owner's store in the same database is another store.
    let other = Candidate::connect(
        &rig.url("one"),
        "cluster",
        Options::default(),
        Holder::default(),
    );
    assert_eq!(taken(other.unwrap().look().unwrap()).load().unwrap(), []);

    drop(first);
    let store = taken(second.look().unwrap());
    assert_eq!(store.term(), 2);
    assert_eq!(store.load().unwrap().len(), 1);
}

#[test]
fn who_takes_turns_has_what_the_others_have() {
    let Some(rig) = Rig::required() else { return };
    let marked = |mark: &str| {
        let holder = Holder {
            name: format!("of {mark}"),
            mark: mark.to_owned(),
            ..Holder::default()
        };
        Candidate::connect(&rig.url("marked"), "root", Options::default(), holder).unwrap()
    };
    let first = taken(marked("one").look().unwrap());
    let stranger = marked("two").look().unwrap_err();
    assert!(matches!(&stranger, StoreError::Mark { holder, .. } if holder == "of one"));
    assert!(matches!(marked("one").look().unwrap(), Look::Held(_)));
    // It stays so when nobody has it, and for whom it does not matter.
    drop(first);
    assert!(matches!(marked("two").look(), Err(StoreError::Mark { .. })));
    drop(taken(marked("").look().unwrap()));
    assert!(matches!(marked("two").look(), Err(StoreError::Mark { .. })));
    drop(taken(marked("one").look().unwrap()));
}

#[test]
fn a_lease_that_is_renewed_is_not_taken() {
    let Some(rig) = Rig::required() else { return };
    let first = rig.store("kept");
    let mut second = rig.connect("kept", "second").unwrap();
    let begun = Instant::now();
    while begun.elapsed() < LEASE + Duration::from_secs(1) {
        assert!(matches!(second.look().unwrap(), Look::Held(_)));
        std::thread::park_timeout(Duration::from_millis(100));
    }
    assert!(first.is_sure());
    first.commit(&put(1, 1)).unwrap();
}

#[test]
fn who_slept_is_superseded_and_changes_nothing() {
    let Some(rig) = Rig::required() else { return };
    let first = rig.store("slept");
    first.commit(&put(1, 1)).unwrap();
    let mut second = rig.connect("slept", "second").unwrap();
    assert!(matches!(second.look().unwrap(), Look::Held(_)));
    let first = asleep(first);
    let (store, after) = wait_for(&mut second);
    assert!(after < LEASE + Duration::from_secs(2), "{after:?}");
    store.commit(&put(1, 2)).unwrap();

    let refused = first.commit(&put(1, 3)).unwrap_err();
    assert!(
        matches!(&refused, StoreError::Superseded { holder, .. } if holder == "second"),
        "{refused:?}"
    );
    assert_eq!(store.get(JOBS, &[1]).unwrap(), Some(vec![2]));
    // It may look, and still not write.
    assert_eq!(first.load().unwrap().len(), 1);
    assert!(matches!(
        first.commit(&put(1, 3)),
        Err(StoreError::Superseded { .. })
    ));
    store.commit(&put(1, 4)).unwrap();
}

#[test]
fn a_commit_that_was_open_when_its_holder_died_keeps_nobody_waiting() {
    let Some(rig) = Rig::required() else { return };
    let first = rig.store("open");
    first.commit(&put(1, 1)).unwrap();
    let mut second = rig.connect("open", "second").unwrap();
    assert!(matches!(second.look().unwrap(), Look::Held(_)));
    left_open(&first);
    let first = asleep(first);
    let (store, after) = wait_for(&mut second);
    assert!(after < LEASE + Duration::from_secs(2), "{after:?}");
    store.commit(&put(1, 2)).unwrap();
    assert!(first.commit(&put(1, 3)).is_err());
    assert_eq!(store.get(JOBS, &[1]).unwrap(), Some(vec![2]));
}

#[test]
fn a_holder_is_told_that_its_lease_is_gone() {
    let Some(rig) = Rig::required() else { return };
    let first = rig.store("told");
    let lost = first.lost();
    let database = first.driver.database.clone();
    let stolen = first.driver.wait("steal", async move {
        let taken =
            doc! {"$inc": {"term": 1_i64}, "$set": {"holder": {"name": "thief", "url": ""}}};
        database
            .leases
            .update_one(doc! {"_id": lease::ID}, taken)
            .await
    });
    stolen.unwrap().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while lost.borrow().is_none() {
        assert!(Instant::now() < deadline, "nobody tells");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let why = lost.borrow().clone();
    assert!(matches!(why, Some(StoreError::Superseded { holder, .. }) if holder == "thief"));
    assert!(!first.is_sure());
}

#[test]
fn what_landed_after_its_outcome_was_given_up_is_noticed() {
    let Some(rig) = Rig::required() else { return };
    let store = rig.store("late");
    store.commit(&put(1, 1)).unwrap();
    // As a commit that was given up, loaded after, and then landed.
    let database = store.driver.database.clone();
    let landed = store.driver.wait("land", async move {
        let changes = records::changes(&put(2, 2));
        let mut session = database.client.start_session().await.map_err(|_| ())?;
        database
            .commit(&mut session, &changes, (1, 1))
            .await
            .map_err(|_| ())
    });
    landed.unwrap().unwrap();
    assert!(matches!(
        store.commit(&put(2, 3)),
        Err(StoreError::Unknown { .. })
    ));
    // Whoever did not load is refused, whatever it asks for.
    assert!(matches!(
        store.commit(&put(3, 3)),
        Err(StoreError::Stale { .. })
    ));
    assert_eq!(store.load().unwrap().len(), 2);
    store.commit(&put(2, 3)).unwrap();
    assert_eq!(store.get(JOBS, &[2]).unwrap(), Some(vec![3]));
}

#[test]
fn a_server_that_dies_and_returns_has_all_that_was_acknowledged() {
    let Some(mut rig) = Rig::required() else {
        return;
    };
    let store = rig.store("died");
    let mut acknowledged = Vec::new();
    for round in 0..3_u8 {
        for key in 0..20 {
            store.commit(&[Op::put(JOBS, [round, key], [key])]).unwrap();
            acknowledged.push(vec![round, key]);
        }
        rig.server.kill();
        let failed = store
            .commit(&[Op::put(JOBS, [round, 200], [0])])
            .unwrap_err();
        assert!(
            matches!(failed, StoreError::Unreachable { .. }),
            "{failed:?}"
        );
        rig.server.restart();
        let deadline = Instant::now() + Duration::from_mins(1);
        let records = loop {
            match store.load() {
                Ok(records) => break records,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
        };
        let there: Vec<_> = records.into_iter().map(|record| record.key).collect();
        assert!(
            acknowledged.iter().all(|key| there.contains(key)),
            "{there:?}"
        );
    }
}

#[test]
fn a_server_that_cannot_keep_a_store_is_refused_with_what_to_do() {
    let Some(rig) = Rig::started_by(Mongod::alone) else {
        return;
    };
    let refused = rig.connect("x", "first").unwrap_err();
    assert!(matches!(refused, StoreError::Server { .. }), "{refused:?}");
    assert!(refused.to_string().contains("--replSet"), "{refused}");

    let url = format!(
        "mongodb://eve:{}@{}",
        "wrong",
        &rig.server.url("x")["mongodb://".len()..]
    );
    let refused = Candidate::connect(
        &url.parse().unwrap(),
        "root",
        Options::default(),
        Holder::default(),
    );
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("refuses this login"), "{refused}");
    assert!(
        !refused.contains("wrong") && !refused.contains("eve:"),
        "{refused}"
    );
}

#[test]
fn a_user_that_may_read_and_write_one_database_is_enough() {
    let locked = |dir: &std::path::Path| Mongod::locked(dir, ("admin", "secret"));
    let Some(rig) = Rig::started_by(locked) else {
        return;
    };
    let address = rig.server.url("");
    let address = address.trim_start_matches("mongodb://");
    let connect = |before: &str, after: &str| {
        let url = format!("mongodb://{before}{address}{after}")
            .parse()
            .unwrap();
        Candidate::connect(&url, "root", Options::default(), Holder::default())
    };
    let made = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let admin = format!("mongodb://admin:secret@{address}");
        let admin = mongodb::Client::with_uri_str(admin).await?;
        let role = doc! {"role": "readWrite", "db": "edgeio"};
        let user = doc! {"createUser": "edgeio", "pwd": "p@ss/word", "roles": [role]};
        admin.database("admin").run_command(user).await
    });
    made.unwrap();
    // Without a database in the URL users are those of `admin`, and the database is `edgeio`.
    let password = "edgeio:p%40ss%2Fword@";
    for (before, after) in [
        ("", "edgeio"),
        ("edgeio:wrong@", "?replicaSet=rs0"),
        // A user of another database.
        (password, "edgeio?replicaSet=rs0"),
        // It may write no other one.
        (password, "other?authSource=admin"),
    ] {
        let refused = connect(before, after).unwrap_err();
        let said = refused.to_string();
        assert!(
            said.contains("refuses this login"),
            "{before}{after}: {said}"
        );
        assert!(!said.contains("p%40ss"), "{said}");
    }
    let first = taken(
        connect(password, "?replicaSet=rs0")
            .unwrap()
            .look()
            .unwrap(),
    );
    first.commit(&put(1, 1)).unwrap();
    // What takes over from one that died in the middle of a commit needs no more than that.
    left_open(&first);
    let _first = asleep(first);
    let mut second = connect(password, "edgeio?authSource=admin").unwrap();
    let (store, after) = wait_for(&mut second);
    assert!(after < LEASE + Duration::from_secs(2), "{after:?}");
    assert_eq!(store.load().unwrap().len(), 1);
}

#[test]
fn a_server_that_is_not_there_is_an_error_in_a_moment() {
    if Rig::started_by(Mongod::alone).is_none() {
        return;
    }
    let begun = Instant::now();
    // Discard: nobody listens there.
    let url = "mongodb://127.0.0.1:9/x".parse().unwrap();
    let refused =
        Candidate::connect(&url, "root", Options::default(), Holder::default()).unwrap_err();
    assert!(
        matches!(refused, StoreError::Unreachable { .. }),
        "{refused:?}"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(6),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn what_is_no_store_of_this_program_is_refused_and_left_alone() {
    let Some(rig) = Rig::required() else { return };
    let newer = Options {
        schema: 3,
        reads_from: 3,
        ..Options::default()
    };
    drop(taken(
        rig.connect_with("schema", "new", newer)
            .unwrap()
            .look()
            .unwrap(),
    ));
    let refused = rig.connect("schema", "old").unwrap_err();
    assert!(
        matches!(
            &refused,
            StoreError::Schema {
                found: 3,
                expected: 1,
                ..
            }
        ),
        "{refused:?}"
    );
    // An older one is read, and is of the new schema from then on.
    drop(rig.store("older"));
    let reads = Options {
        schema: 2,
        reads_from: 1,
        ..Options::default()
    };
    drop(taken(
        rig.connect_with("older", "new", reads)
            .unwrap()
            .look()
            .unwrap(),
    ));
    assert!(matches!(
        rig.connect("older", "old"),
        Err(StoreError::Schema { found: 2, .. })
    ));

    let store = rig.store("foreign");
    store.commit(&put(1, 1)).unwrap();
    let database = store.driver.database.clone();
    let changed = store.driver.wait("spoil", async move {
        let foreign = doc! {"$set": {"product": "something else"}};
        database.leases.update_one(doc! {}, foreign).await
    });
    changed.unwrap().unwrap();
    let refused = rig.connect("foreign", "x").unwrap_err();
    assert!(refused.to_string().contains("another program"), "{refused}");

    let database = store.driver.database.clone();
    let dropped = store
        .driver
        .wait("spoil", async move { database.leases.drop().await });
    dropped.unwrap().unwrap();
    let refused = rig.connect("foreign", "x").unwrap_err();
    assert!(refused.to_string().contains("no lease"), "{refused}");
    let gone = store.commit(&put(1, 2)).unwrap_err();
    assert!(matches!(gone, StoreError::Foreign { .. }), "{gone:?}");
}

/// One whose source fails after two records.
#[derive(Debug)]
struct Breaks(u8);
impl Snapshot for Breaks {
    fn next(&mut self, _bytes: usize) -> Result<Vec<Record>, StoreError> {
        self.0 += 1;
        if self.0 > 2 {
            return Err(StoreError::Closed);
        }
        Ok(vec![Record {
            table: "jobs".to_owned(),
            key: vec![self.0],
            value: Vec::new(),
        }])
    }
    fn schema(&self) -> u32 {
        1
    }
}

#[test]
fn a_store_is_filled_whole_or_not_used_and_is_of_no_use_where_it_was() {
    let Some(rig) = Rig::required() else { return };
    let from = rig.store("from");
    let all: Vec<Op> = (0..250)
        .map(|key| Op::put(JOBS, [key], vec![key; 40_000]))
        .collect();
    from.commit(&all).unwrap();
    let into = rig.connect("into", "filler").unwrap();
    assert_eq!(into.fill(&mut *from.snapshot().unwrap()).unwrap(), 250);
    let records = from.load().unwrap();
    from.retire("mongodb://elsewhere/into").unwrap();
    let refused = rig.connect("from", "late").unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("moved to mongodb://elsewhere/into"),
        "{refused}"
    );
    let store = rig.store("into");
    assert_eq!(store.load().unwrap(), records);

    let again = rig.connect("into", "filler").unwrap();
    let refused = again.fill(&mut *store.snapshot().unwrap()).unwrap_err();
    assert!(refused.to_string().contains("not replaced"), "{refused}");

    let half = rig.connect("half", "filler").unwrap();
    assert!(half.fill(&mut Breaks(0)).is_err());
    let refused = rig.connect("half", "x").unwrap_err();
    assert!(refused.to_string().contains("half made"), "{refused}");
}

#[test]
fn a_backup_of_a_store_that_is_written_is_one_moment_of_it() {
    let Some(rig) = Rig::required() else { return };
    let store = rig.store("backup");
    let all = |round: u8| -> Vec<Op> {
        let key = |key: u8| Op::put(JOBS, [key], vec![round; 1_000]);
        (0..200).map(key).collect()
    };
    store.commit(&all(0)).unwrap();
    let mut taken = Backup::of(&store, b"about").unwrap();
    let mut bytes = taken.next_piece(10_000).unwrap().unwrap();
    store.commit(&all(1)).unwrap();
    while let Some(piece) = taken.next_piece(10_000).unwrap() {
        bytes.extend(piece);
    }
    let dir = TempDir::new().unwrap();
    let (file, path) = (dir.path().join("backup"), dir.path().join("store"));
    std::fs::write(&file, bytes).unwrap();
    backup::restore(&file, &path, Options::default(), &[]).unwrap();
    let restored = Embedded::open(&path, Options::default())
        .unwrap()
        .load()
        .unwrap();
    assert_eq!(restored.len(), 200);
    assert!(restored.iter().all(|record| record.value == vec![0; 1_000]));
    assert_eq!(store.load().unwrap()[0].value, vec![1; 1_000]);
}
