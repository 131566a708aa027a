//! Against a server of this test's own, which does what an orchestrator does for who joins.

mod office;
mod strangers;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon::clock::wall_millis;
use identity::files::FileError;
use identity::{Holder, JoinToken, Joining, Key};
use model::id::NodeId;
use model::time::Wall;
use tokio_util::sync::CancellationToken;

use crate::*;
use office::{DAY, Office};

/// Long enough for a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// A port where nobody listens.
async fn nobody() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("identity")
    }

    async fn enter(&self, token: Option<&JoinToken>) -> Result<Option<Membership>, EntryError> {
        self.enter_as(token, false).await
    }

    async fn enter_as(
        &self,
        token: Option<&JoinToken>,
        anew: bool,
    ) -> Result<Option<Membership>, EntryError> {
        enter(Wanted {
            folder: &self.path(),
            joining: Joining::Worker,
            token,
            anew,
            patience: DEADLINE,
        })
        .await
    }

    /// As if the certificate had come so long before.
    fn age(&self, by: Duration) {
        let path = self.path().join("membership.json");
        let mut record: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        record["received_at_ms"] = (wall_millis() - by.as_millis() as i64).into();
        fs::write(path, record.to_string()).unwrap();
    }

    fn certificate(&self) -> String {
        fs::read_to_string(self.path().join("certificate.pem")).unwrap()
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn said(error: &dyn std::error::Error) -> String {
    let source = error.source().map(said).unwrap_or_default();
    format!("{error}: {source}")
}

#[tokio::test]
async fn who_joins_keeps_what_it_became_and_needs_the_token_no_more() {
    let office = Office::open().await;
    let home = Home::new();
    let token = office.token();
    let joined = home.enter(Some(&token)).await.unwrap().unwrap();
    assert_eq!(joined.holder(), Holder::Worker(NodeId::from_bits(1)));
    assert_eq!(joined.place(), office.place());
    assert_eq!(joined.pin(), Some(token.pin));
    assert_eq!(mode(&home.path()), 0o700);
    assert_eq!(mode(&home.path().join("key.pem")), 0o600);
    let key = fs::read_to_string(home.path().join("key.pem")).unwrap();
    assert!(!office.heard().contains(key.lines().nth(1).unwrap()));

    let again = home.enter(None).await.unwrap().unwrap();
    assert_eq!(again.holder(), joined.holder());
    assert_eq!(again.validity(), joined.validity());
    home.enter(Some(&token)).await.unwrap().unwrap();
    assert_eq!((office.uses(), office.renewals()), (1, 0));
    assert_eq!(Home::new().enter(None).await.unwrap().map(drop), None);
}

#[tokio::test]
async fn addresses_that_are_dead_or_silent_are_passed_over() {
    let office = Office::open().await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut token = office.token();
    token.places.splice(
        0..0,
        [nobody().await, silent.local_addr().unwrap().to_string()],
    );
    let began = tokio::time::Instant::now();
    let home = Home::new();
    let joined = home.enter(Some(&token)).await.unwrap().unwrap();
    assert_eq!(joined.place(), office.place());
    // Far less than the silent one would have been given.
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );

    // All of them are told where none is of use.
    token.places.pop();
    let key = Key::make().unwrap();
    let error = join(&token, &key, Duration::from_secs(2))
        .await
        .unwrap_err();
    let text = error.to_string();
    for place in &token.places {
        assert!(text.contains(place), "{place}: {text}");
    }
    assert!(!error.is_final());
}

#[tokio::test]
async fn an_answer_that_was_lost_costs_no_use_of_the_token() {
    let office = Office::open().await;
    office.lose_answers(1);
    let home = Home::new();
    let token = office.token();
    let error = home.enter(Some(&token)).await.unwrap_err();
    assert!(
        matches!(error, EntryError::Join(JoinError::Unreached(_))),
        "{error:?}"
    );
    assert_eq!(office.uses(), 1);
    let joined = home.enter(Some(&token)).await.unwrap().unwrap();
    assert_eq!(joined.holder(), Holder::Worker(NodeId::from_bits(1)));
    assert_eq!(office.uses(), 1);
}

#[tokio::test]
async fn a_token_that_is_refused_leaves_nothing_but_the_key() {
    let office = Office::open().await;
    let home = Home::new();
    let mut token = office.token();
    token.secret = identity::Secret::make().unwrap();
    let error = home.enter(Some(&token)).await.unwrap_err();
    let EntryError::Join(refused) = &error else {
        panic!("{error}");
    };
    assert!(refused.is_final());
    assert!(said(&error).contains("bad_join_token"), "{}", said(&error));
    assert!(!said(&error).contains(&token.secret.reveal()));
    let names: Vec<_> = fs::read_dir(home.path()).unwrap().flatten().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    // A token that is good makes up for it.
    home.enter(Some(&office.token())).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_renewed_by_showing_it() {
    let office = Office::open().await;
    let home = Home::new();
    // Issued a year ago, for a day: it is over also by the office's clock.
    office.set_now(Wall(wall_millis() - 365 * DAY.as_millis() as i64));
    home.enter(Some(&office.token())).await.unwrap().unwrap();
    office.set_now(Wall(wall_millis()));
    home.age(2 * DAY);
    let before = home.certificate();
    let there = home.enter(None).await.unwrap().unwrap();
    let member = Member::new(there, office.place().to_owned()).unwrap();
    let credentials = Credentials::Member(member);
    let tls = credentials.tls().unwrap();
    credentials.freshen().await;
    assert_eq!((office.uses(), office.renewals()), (1, 1));
    assert!(!std::sync::Arc::ptr_eq(&tls, &credentials.tls().unwrap()));
    assert_ne!(home.certificate(), before);
    // Once is enough, and the next start knows it.
    credentials.freshen().await;
    home.enter(Some(&office.token())).await.unwrap().unwrap();
    assert_eq!(office.renewals(), 1);
}

#[tokio::test]
async fn what_is_renewed_no_more_is_joined_again_by_a_token() {
    let office = Office::open().await;
    let home = Home::new();
    let was = home.enter(Some(&office.token())).await.unwrap().unwrap();
    home.age(2 * DAY);
    office.revoke();
    let now = home.enter(Some(&office.token())).await.unwrap().unwrap();
    assert_eq!(now.holder(), was.holder());
    // What seems good is looked at where somebody asks for it just now.
    home.enter(Some(&office.token())).await.unwrap().unwrap();
    assert_eq!(office.renewals(), 1);
    home.enter_as(Some(&office.token()), true).await.unwrap();
    assert_eq!(office.renewals(), 2);
    // One who would be somebody else is told so, and stays who it was.
    office.forget_keys();
    let error = home
        .enter_as(Some(&office.token()), true)
        .await
        .unwrap_err();
    assert!(matches!(error, EntryError::Renamed { .. }), "{error}");
    assert_eq!(
        home.enter(None).await.unwrap().unwrap().holder(),
        was.holder()
    );
}

#[tokio::test]
async fn a_renewal_that_fails_takes_nothing_away() {
    let office = Office::open().await;
    let home = Home::new();
    home.enter(Some(&office.token())).await.unwrap();
    home.age(2 * DAY);
    let there = home.enter(None).await.unwrap().unwrap();
    let member = Member::new(there, nobody().await).unwrap();
    let credentials = Credentials::Member(member);
    let tls = credentials.tls().unwrap();
    credentials.freshen().await;
    credentials.doubt();
    credentials.freshen().await;
    assert!(std::sync::Arc::ptr_eq(&tls, &credentials.tls().unwrap()));
    // With a token in hand the start goes on as well.
    let mut token = office.token();
    drop(office);
    token.places = vec![nobody().await];
    assert!(home.enter(Some(&token)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_member_is_renewed_while_it_runs_and_when_a_server_doubts_it() {
    let office = Office::open().await;
    office.set_life(Duration::from_secs(2));
    let home = Home::new();
    let there = home.enter(Some(&office.token())).await.unwrap().unwrap();
    let member = Member::new(there, office.place().to_owned()).unwrap();
    let credentials = Credentials::Member(member);
    let stop = CancellationToken::new();
    let keeping = tokio::spawn(credentials.clone().keep(stop.clone()));
    office.until_renewed(2).await;
    stop.cancel();
    keeping.await.unwrap();

    office.set_life(DAY);
    let member = Member::new(
        home.enter(None).await.unwrap().unwrap(),
        office.place().to_owned(),
    );
    let credentials = Credentials::Member(member.unwrap());
    // This gets one for a day.
    credentials.doubt();
    credentials.freshen().await;
    let renewals = office.renewals();
    credentials.freshen().await;
    assert_eq!(office.renewals(), renewals);
    // Not each doubt is followed: whoever is refused for good would ask without end.
    credentials.doubt();
    credentials.freshen().await;
    assert_eq!(office.renewals(), renewals);
}

#[tokio::test]
async fn who_has_joined_elsewhere_or_is_something_else_is_told_so() {
    let (office, other) = (Office::open().await, Office::open().await);
    let home = Home::new();
    home.enter(Some(&office.token())).await.unwrap();
    let error = home.enter(Some(&other.token())).await.unwrap_err();
    assert!(matches!(error, EntryError::Elsewhere { .. }), "{error}");
    assert!(error.to_string().contains(office.place()), "{error}");
    let mut token = office.token();
    token.joining = Joining::Cluster;
    let error = Home::new().enter(Some(&token)).await.unwrap_err();
    assert!(
        said(&error).contains("lets a cluster join"),
        "{}",
        said(&error)
    );
    assert_eq!((office.uses(), other.uses()), (1, 0));
}

#[tokio::test]
async fn answers_that_prove_nothing_are_not_kept() {
    let (office, other) = (Office::open().await, Office::open().await);
    let key = Key::make().unwrap();
    for answer in office.bad_answers(&other, &key) {
        office.answer_always(Some(answer.clone()));
        let error = join(&office.token(), &key, DEADLINE).await.unwrap_err();
        assert!(
            matches!(error, JoinError::Unusable { .. }),
            "{answer}: {error}"
        );
    }
    office.answer_always(None);
    join(&office.token(), &key, DEADLINE).await.unwrap();
}

#[tokio::test]
async fn files_that_are_open_torn_or_gone_are_told_with_what_to_do() {
    let office = Office::open().await;
    let of = async |break_it: fn(&Path)| {
        let home = Home::new();
        home.enter(Some(&office.token())).await.unwrap();
        break_it(&home.path());
        Membership::load(&home.path()).unwrap_err()
    };
    let open = of(|path| {
        let key = path.join("key.pem");
        fs::set_permissions(key, fs::Permissions::from_mode(0o644)).unwrap();
    })
    .await;
    let is_open = matches!(open, MembershipError::File(FileError::Open { .. }));
    assert!(is_open, "{open}");
    for name in ["key.pem", "certificate.pem", "authority.pem"] {
        let home = Home::new();
        home.enter(Some(&office.token())).await.unwrap();
        fs::remove_file(home.path().join(name)).unwrap();
        let gone = Membership::load(&home.path()).unwrap_err().to_string();
        assert!(gone.contains(name) && gone.contains("join again"), "{gone}");
    }
    for bad in [
        "",
        "{}",
        r#"{"id":"x","places":["a:1"],"received_at_ms":0}"#,
    ] {
        let home = Home::new();
        home.enter(Some(&office.token())).await.unwrap();
        fs::write(home.path().join("membership.json"), bad).unwrap();
        let torn = Membership::load(&home.path()).unwrap_err();
        assert!(matches!(torn, MembershipError::Torn { .. }), "{torn}");
    }
    let foreign = of(|path| {
        let certificate = path.join("certificate.pem");
        fs::copy(path.join("authority.pem"), certificate).unwrap();
    })
    .await;
    assert!(
        matches!(foreign, MembershipError::Certificate { .. }),
        "{foreign}"
    );
}
