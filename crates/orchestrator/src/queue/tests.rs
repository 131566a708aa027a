//! A queue in a real Redis. They need `EDGEIO_REQUIRE=redis`.

use std::fs;
use std::path::{Path, PathBuf};

use identity::authority::{Authority, Life};
use model::time::Wall;
use redis::cmd;
use schedulers::Answer;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::*;

#[path = "../../../../tests/support/redis.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "other tests use all of it, and from elsewhere"
)]
mod server;

const QUEUE: &str = "edgeio";
const DEADLINE: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(30);

struct Rig {
    server: server::Redis,
    dir: TempDir,
}

impl Rig {
    fn required() -> Option<Self> {
        Self::required_with(|_| Vec::new())
    }

    fn required_with(options: impl FnOnce(&Path) -> Vec<String>) -> Option<Self> {
        let named = std::env::var("EDGEIO_REQUIRE").unwrap_or_default();
        if !named.split(',').any(|name| name.trim() == "redis") {
            return None;
        }
        let dir = TempDir::new().unwrap();
        let options = options(dir.path());
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        Some(Self {
            server: server::Redis::start_with(dir.path(), &options),
            dir,
        })
    }

    fn redis(&self) -> Redis {
        reached_by(&self.server.url(), None)
    }

    /// What waits there.
    async fn length(&self) -> u64 {
        let mut connection = self.redis().connect(1 << 20).await.unwrap();
        let length = cmd("XLEN").arg(stream(QUEUE)).to_owned();
        length.query_async(&mut connection).await.unwrap()
    }
}

fn reached_by(url: &str, ca: Option<PathBuf>) -> Redis {
    let options = RedisOptions {
        redis: Some(url.parse().unwrap()),
        redis_ca: ca,
    };
    options.redis(false).unwrap().unwrap()
}

/// A scheduler that answers what it is asked, with its name before it; ended when it is dropped.
struct Scheduler {
    shutdown: CancellationToken,
    reached: watch::Receiver<bool>,
}

impl Scheduler {
    fn start(redis: &Redis, name: &'static str) -> Self {
        let shutdown = CancellationToken::new();
        let (told, reached) = watch::channel(false);
        let (redis, until) = (redis.clone(), shutdown.clone());
        tokio::spawn(async move {
            let answer = |question: &[u8]| [name.as_bytes(), question].concat();
            let told = |is| {
                told.send_replace(is);
            };
            redis.serve(QUEUE, &until, told, answer).await.unwrap();
        });
        Self { shutdown, reached }
    }

    async fn wait_reached(&mut self, wanted: bool) {
        let reached = self.reached.wait_for(|&is| is == wanted);
        timeout(LIMIT, reached).await.unwrap().unwrap();
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn ask(redis: &Redis, question: &str) -> Result<String, Answer> {
    let answer = redis.ask(QUEUE, question.as_bytes(), DEADLINE).await?;
    Ok(String::from_utf8(answer).unwrap())
}

#[tokio::test]
async fn whoever_takes_a_question_answers_it_and_nothing_stays() {
    let Some(rig) = Rig::required() else { return };
    let redis = rig.redis();
    // It waits until somebody is there.
    let waiting = tokio::spawn({
        let redis = redis.clone();
        async move { ask(&redis, "0").await }
    });
    while rig.length().await == 0 {
        tokio::task::yield_now().await;
    }
    let _schedulers = [
        Scheduler::start(&redis, "says "),
        Scheduler::start(&redis, "says "),
    ];
    assert_eq!(waiting.await.unwrap().unwrap(), "says 0");
    let questions = (1..=100).map(|number| {
        let redis = redis.clone();
        tokio::spawn(async move { (number, ask(&redis, &number.to_string()).await) })
    });
    for asked in questions.collect::<Vec<_>>() {
        let (number, answer) = asked.await.unwrap();
        assert_eq!(answer.unwrap(), format!("says {number}"));
    }
    assert_eq!(rig.length().await, 0);
}

#[tokio::test]
async fn what_a_scheduler_took_that_died_is_answered_by_another_one() {
    let Some(rig) = Rig::required() else { return };
    let redis = rig.redis();
    // It makes the group.
    Scheduler::start(&redis, "first ").wait_reached(true).await;
    let asked = tokio::spawn({
        let redis = redis.clone();
        async move { ask(&redis, "?").await }
    });
    // Takes the question, as the first one would, and says nothing.
    let mut connection = redis.connect(1 << 20).await.unwrap();
    let taking = cmd("XREADGROUP")
        .arg(&["GROUP", "schedulers", "dead", "BLOCK", "20000", "STREAMS"])
        .arg(&[stream(QUEUE), ">".to_owned()])
        .to_owned();
    let taken: redis::Value = taking.query_async(&mut connection).await.unwrap();
    assert!(format!("{taken:?}").contains("question"), "{taken:?}");
    drop(connection);
    let _second = Scheduler::start(&redis, "second ");
    assert_eq!(asked.await.unwrap().unwrap(), "second ?");
    assert_eq!(rig.length().await, 0);
}

#[tokio::test]
async fn where_nobody_answers_there_is_silence_and_the_question_is_taken_back() {
    let Some(rig) = Rig::required() else { return };
    let asked = rig
        .redis()
        .ask(QUEUE, b"?", Duration::from_millis(300))
        .await;
    let silence = Answer::Silence("no answer came within 300 ms".to_owned());
    assert_eq!(asked, Err(silence));
    let gone = async {
        while rig.length().await != 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, gone).await.unwrap();
}

#[tokio::test]
async fn a_redis_that_dies_and_comes_back_empty_is_used_again() {
    let Some(mut rig) = Rig::required() else {
        return;
    };
    let redis = rig.redis();
    let mut scheduler = Scheduler::start(&redis, "says ");
    scheduler.wait_reached(true).await;
    rig.server.kill();
    scheduler.wait_reached(false).await;
    let Err(Answer::Silence(why)) = ask(&redis, "?").await else {
        panic!("nobody is there");
    };
    let expected = format!("its queue at {} cannot be used", rig.server.url());
    assert!(
        why.starts_with(&expected) && why.contains("refused"),
        "{why}"
    );
    rig.server.restart();
    scheduler.wait_reached(true).await;
    assert_eq!(ask(&redis, "?").await.unwrap(), "says ?");
}

#[tokio::test]
async fn a_password_is_asked_for_and_the_least_rights_are_enough() {
    let users = |_: &Path| {
        // As docs/operations/schedulers.md tells operators.
        let asks = "orchestrator on >one resetkeys ~edgeio:* resetchannels nocommands +xadd +blpop +xdel +select";
        let answers = "scheduler on >two resetkeys ~edgeio:* resetchannels nocommands +xgroup +xinfo +xreadgroup \
            +xautoclaim +xack +xdel +rpush +pexpire +multi +exec +select";
        ["default off", asks, answers]
            .into_iter()
            .flat_map(|user| ["--user"].into_iter().chain(user.split_whitespace()))
            .map(str::to_owned)
            .collect()
    };
    let Some(rig) = Rig::required_with(users) else {
        return;
    };
    let at = rig.server.address();
    let asks = reached_by(&format!("redis://orchestrator:one@{at}/0"), None);
    let answers = reached_by(&format!("redis://scheduler:two@{at}/0"), None);
    let mut scheduler = Scheduler::start(&answers, "says ");
    scheduler.wait_reached(true).await;
    assert_eq!(ask(&asks, "?").await.unwrap(), "says ?");
    for (wrong, words) in [
        (
            format!("redis://orchestrator:wrong@{at}"),
            "authentication failed",
        ),
        (format!("redis://{at}"), "unauthenticated"),
        (format!("redis://scheduler:two@{at}"), "no permissions"),
    ] {
        let refused = ask(&reached_by(&wrong, None), "?").await;
        let Err(Answer::Silence(why)) = refused else {
            panic!("{wrong}: {refused:?}");
        };
        assert!(why.contains(words), "{wrong}: {why}");
        assert!(!why.contains("two") && !why.contains("wrong"), "{why}");
    }
}

#[tokio::test]
async fn tls_believes_the_authority_that_is_named() {
    let life = Life {
        from: Wall(daemon::clock::wall_millis()),
        lasting: Duration::from_hours(1),
    };
    let (authority, _) = Authority::make("redis", life.from).unwrap();
    let (stranger, _) = Authority::make("another", life.from).unwrap();
    let shown = authority.server(&["127.0.0.1".to_owned()], life).unwrap();
    let options = |dir: &Path| {
        let file = |name: &str, text: &str| {
            let path = dir.join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        file("stranger.pem", &stranger.certificate());
        [
            [
                "--tls-cert-file".to_owned(),
                file("shown.pem", &shown.certificates_pem()),
            ],
            [
                "--tls-key-file".to_owned(),
                file("key.pem", &shown.key_pem()),
            ],
            [
                "--tls-ca-cert-file".to_owned(),
                file("ca.pem", &authority.certificate()),
            ],
            ["--tls-auth-clients".to_owned(), "no".to_owned()],
        ]
        .concat()
    };
    let Some(rig) = Rig::required_with(options) else {
        return;
    };
    let url = format!("rediss://{}", rig.server.address());
    let by = |name: &str| reached_by(&url, Some(rig.dir.path().join(name)));
    let _scheduler = Scheduler::start(&by("ca.pem"), "says ");
    assert_eq!(ask(&by("ca.pem"), "?").await.unwrap(), "says ?");
    let Err(Answer::Silence(why)) = ask(&by("stranger.pem"), "?").await else {
        panic!("another authority is believed");
    };
    assert!(why.contains("certificate"), "{why}");
}

#[tokio::test]
async fn who_accepts_and_says_nothing_costs_no_more_than_the_deadline() {
    let hangs = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", hangs.local_addr().unwrap());
    let redis = reached_by(&url, None);
    let asked = redis.ask(QUEUE, b"?", Duration::from_millis(200));
    let silence = Answer::Silence("no answer came within 200 ms".to_owned());
    assert_eq!(timeout(LIMIT, asked).await.unwrap(), Err(silence));
}

#[tokio::test]
async fn who_accepts_and_says_nothing_is_dialled_again_by_a_scheduler() {
    let hangs = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", hangs.local_addr().unwrap());
    let _scheduler = Scheduler::start(&reached_by(&url, None), "says ");
    let _first = timeout(LIMIT, hangs.accept()).await.unwrap().unwrap();
    timeout(LIMIT, hangs.accept()).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_no_question_of_ours_is_removed_and_holds_nobody_up() {
    let Some(rig) = Rig::required() else { return };
    let redis = rig.redis();
    let mut connection = redis.connect(1 << 20).await.unwrap();
    for fields in [["answer", "elsewhere"], ["question", "?"]] {
        let adding = cmd("XADD")
            .arg(stream(QUEUE))
            .arg("*")
            .arg(&fields)
            .to_owned();
        let _: String = adding.query_async(&mut connection).await.unwrap();
    }
    let _scheduler = Scheduler::start(&redis, "says ");
    assert_eq!(ask(&redis, "?").await.unwrap(), "says ?");
    assert_eq!(rig.length().await, 0);
}

#[tokio::test]
async fn an_answer_without_an_end_is_not_read() {
    let Some(rig) = Rig::required() else { return };
    let redis = rig.redis();
    let serving = redis.clone();
    tokio::spawn(async move {
        let shutdown = CancellationToken::new();
        let endless = |_: &[u8]| vec![b'x'; 4 << 20];
        serving.serve(QUEUE, &shutdown, drop, endless).await
    });
    let Err(Answer::Silence(why)) = ask(&redis, "?").await else {
        panic!("it is read");
    };
    assert!(why.contains("cannot be used"), "{why}");
}

#[test]
fn options_that_reach_nothing_are_refused_with_a_remedy() {
    for (url, ca, remedy) in [
        ("redis://192.0.2.1", None, "--insecure"),
        ("rediss://127.0.0.1", None, "--redis-ca FILE"),
        (
            "rediss://127.0.0.1",
            Some("/nothing.pem"),
            "--redis-ca cannot be used",
        ),
    ] {
        let options = RedisOptions {
            redis: Some(url.parse().unwrap()),
            redis_ca: ca.map(PathBuf::from),
        };
        let error = options.redis(false).unwrap_err();
        assert!(error.contains(remedy), "{url}: {error}");
    }
    assert!(RedisOptions::default().redis(false).unwrap().is_none());
}
