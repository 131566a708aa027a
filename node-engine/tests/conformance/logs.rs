//! Reading what applications write, and wrote.

use std::time::{Duration, Instant};

use model::id::InstanceId;
use model::time::Wall;
use model::units::Bytes;
use node_engine::logs::{LogReader, Piece, Standing, Wanted};
use node_engine::runtime::Given;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::bed::{Bed, DEADLINE, Rig};

const GRACE: Duration = Duration::from_secs(30);

/// A reader, and the controller's word on its instance.
struct Reading {
    reader: LogReader,
    standing: watch::Sender<Standing>,
}

const ALL: Wanted = Wanted {
    follow: false,
    tail: None,
    since: None,
};
const FOLLOW: Wanted = Wanted {
    follow: true,
    ..ALL
};

impl Rig {
    async fn reading(&self, instance: InstanceId, wanted: Wanted) -> Option<Reading> {
        let (standing, known) = watch::channel(Standing::Lives);
        let reader = self.runtime.logs(instance, wanted, &known).await?;
        Some(Reading { reader, standing })
    }

    /// What there is now.
    async fn read(&self, instance: InstanceId, wanted: Wanted) -> String {
        match self.reading(instance, wanted).await {
            Some(mut reading) => reading.rest().await,
            None => "nothing".to_owned(),
        }
    }
}

impl Reading {
    async fn next(&mut self) -> Option<String> {
        match timeout(DEADLINE, self.reader.next()).await.unwrap() {
            Piece::Bytes(bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
            Piece::End => None,
            other => panic!("{other:?}"),
        }
    }

    async fn until(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            text += &self
                .next()
                .await
                .unwrap_or_else(|| panic!("the end after {text:?}"));
        }
        text
    }

    async fn rest(&mut self) -> String {
        let mut text = String::new();
        while let Some(more) = self.next().await {
            text += &more;
        }
        text
    }
}

pub(crate) async fn the_output_of_all_runs_is_one_and_is_kept_after_the_end(bed: Bed) {
    let (mut rig, identity) = (bed.rig(), bed.identity());
    let instance = identity.instance;
    assert_eq!(rig.read(instance, ALL).await, "nothing");
    let run = bed.script("echo first run; echo second line; sleep 0.2; exit 1");
    for number in 1..=2 {
        rig.runtime
            .start(&identity, &run, Given::default())
            .await
            .unwrap();
        let exit = rig.exited().await.exit;
        // The last words of this run only.
        assert_eq!(exit.log_tail.len(), 2, "run {number}: {exit:?}");
    }
    let runs = "first run\nsecond line\n";
    let both = runs.repeat(2);
    assert_eq!(rig.read(instance, ALL).await, both);
    let tail = |lines| Wanted {
        tail: Some(lines),
        ..ALL
    };
    assert_eq!(rig.read(instance, tail(0)).await, "");
    assert_eq!(rig.read(instance, tail(1)).await, "second line\n");
    assert_eq!(rig.read(instance, tail(3)).await, both[10..]);
    assert_eq!(rig.read(instance, tail(100)).await, both);
    let since = |at| Wanted {
        since: Some(Wall(at)),
        ..ALL
    };
    assert_eq!(rig.read(instance, since(1)).await, both);
    assert_eq!(rig.read(instance, since(4_000_000_000_000)).await, "");

    let began = Instant::now();
    rig.runtime.stop(instance, GRACE).await.unwrap();
    eprintln!("stop with its output kept: {:?}", began.elapsed());
    assert_eq!(bed.remains(instance), 0);
    // Also by the next engine.
    let rig = bed.rig();
    assert_eq!(rig.read(instance, ALL).await, both);
    assert_eq!(rig.read(instance, tail(3)).await, both[10..]);
    assert_eq!(rig.read(instance, since(4_000_000_000_000)).await, "");
    assert_eq!(rig.read(bed.identity().instance, ALL).await, "nothing");
}

pub(crate) async fn following_goes_on_over_restarts_and_ends_with_the_last_word(bed: Bed) {
    let (mut rig, identity) = (bed.rig(), bed.identity());
    let instance = identity.instance;
    let script = "trap 'echo bye; exit 0' TERM; echo begun; while :; do sleep 0.1; done";
    rig.runtime
        .start(&identity, &bed.script(script), Given::default())
        .await
        .unwrap();
    let mut reading = rig.reading(instance, FOLLOW).await.unwrap();
    assert_eq!(reading.until("begun\n").await, "begun\n");
    bed.kill(instance);
    rig.exited().await;
    rig.runtime
        .start(&identity, &bed.script(script), Given::default())
        .await
        .unwrap();
    assert_eq!(reading.until("begun\n").await, "begun\n");
    rig.runtime.stop(instance, GRACE).await.unwrap();
    reading.standing.send_replace(Standing::Absent);
    // Shells may say that their children ended too.
    let last = reading.rest().await;
    assert!(last.ends_with("bye\n") && last.len() < 20, "{last}");
    assert_eq!(
        rig.read(instance, ALL).await,
        format!("begun\nbegun\n{last}"),
        "what is kept"
    );
}

pub(crate) async fn one_that_ended_for_good_is_read_to_its_end(bed: Bed) {
    let (mut rig, identity) = (bed.rig(), bed.identity());
    let instance = identity.instance;
    let script = "i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i + 1)); done; printf end";
    rig.runtime
        .start(&identity, &bed.script(script), Given::default())
        .await
        .unwrap();
    let mut reading = rig.reading(instance, FOLLOW).await.unwrap();
    rig.exited().await;
    reading.standing.send_replace(Standing::Over);
    let text = reading.rest().await;
    assert_eq!(text.lines().count(), 501);
    assert!(text.starts_with("line 0\nline 1\n") && text.ends_with("line 499\nend"));
}

pub(crate) async fn every_kind_of_end_carries_the_last_lines(bed: Bed) {
    let (mut rig, identity) = (bed.rig(), bed.identity());
    let mut workload =
        bed.script("echo hungry; sleep 1; exec dd if=/dev/zero of=/dev/null bs=200M count=1");
    workload.resources.memory = Bytes(32 << 20);
    rig.runtime
        .start(&identity, &workload, Given::default())
        .await
        .unwrap();
    let exit = rig.exited().await.exit;
    assert!(exit.oom, "{exit:?}");
    assert_eq!(exit.log_tail, ["hungry"], "{exit:?}");
    let silent = bed.script("exit 7");
    rig.runtime
        .start(&identity, &silent, Given::default())
        .await
        .unwrap();
    let exit = rig.exited().await.exit;
    assert_eq!((exit.code, exit.log_tail.len()), (Some(7), 0), "{exit:?}");
    let long = bed.script("i=0; while [ $i -lt 30 ]; do echo $i; i=$((i + 1)); done; exit 3");
    rig.runtime
        .start(&identity, &long, Given::default())
        .await
        .unwrap();
    let exit = rig.exited().await.exit;
    let wanted: Vec<String> = (10..30).map(|line| line.to_string()).collect();
    assert_eq!((exit.code, exit.log_tail), (Some(3), wanted));
    let wide = bed.script("head -c 100000 /dev/zero | tr '\\0' 'x'; exit 1");
    rig.runtime
        .start(&identity, &wide, Given::default())
        .await
        .unwrap();
    let exit = rig.exited().await.exit;
    assert_eq!(exit.log_tail.concat(), "x".repeat(4096));
    rig.runtime.stop(identity.instance, GRACE).await.unwrap();
}
