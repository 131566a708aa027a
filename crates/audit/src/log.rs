//! One thread that writes for everybody, many records at a time.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use crate::Record;
use crate::disk::Machine;
use crate::journal::{Journal, LogError, Options};
use crate::line::{Entry, Note};
use crate::record::clip;

/// Records that may wait before callers do.
const QUEUE: usize = 1_024;
/// Records that are written with one sync.
const BATCH: usize = 256;

struct Request {
    record: Box<Record>,
    /// `None` for one that nobody waits for.
    answer: Option<oneshot::Sender<Result<(), LogError>>>,
}

/// A log that is written: a thread that owns its files, and a queue in front of it.
#[derive(Debug)]
pub struct Log {
    /// `None` only while dropping.
    requests: Option<mpsc::Sender<Request>>,
    /// Records of nobody who waits that found no place, and of which the log does not tell yet.
    lost: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Log {
    /// Opens the log in a directory, which is made if it is not there, and starts the thread.
    ///
    /// It reads the newest file and so blocks. What it had to repair it says in a line of the log, with the time `now`.
    ///
    /// # Errors
    /// When somebody else writes it, a newer program wrote it, or the file system refuses; also if that line has no room.
    pub fn open(directory: &Path, options: Options, now: &str) -> Result<Self, LogError> {
        let mut now = now.to_owned();
        clip(&mut now);
        let journal = Journal::open(directory, options, Box::new(Machine), &now)?;
        Self::start(journal, now).map_err(LogError::io("start the writer of", directory))
    }

    pub(crate) fn start(journal: Journal, now: String) -> std::io::Result<Self> {
        let (requests, queue) = mpsc::channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let batches = Batches {
            journal,
            queue,
            lost: Arc::clone(&lost),
            time: now,
        };
        let thread = thread::Builder::new()
            .name("audit-writer".to_owned())
            .spawn(move || batches.run())?;
        Ok(Self {
            requests: Some(requests),
            lost,
            thread: Some(thread),
        })
    }

    /// Records a decision, with whatever else waits; it is on the disk when this returns `Ok`.
    ///
    /// Waits while the queue is full. A caller that stops waiting does not take its record back.
    ///
    /// # Errors
    /// When it could not be written; later ones may succeed. [`LogError::Closed`].
    pub async fn record(&self, mut record: Record) -> Result<(), LogError> {
        record.clip();
        let (answer, answered) = oneshot::channel();
        let request = Request {
            record: Box::new(record),
            answer: Some(answer),
        };
        let requests = self.requests.as_ref().ok_or(LogError::Closed)?;
        let sent = requests.send(request).await;
        sent.map_err(|_gone| LogError::Closed)?;
        answered.await.map_err(|_gone| LogError::Closed)?
    }

    /// Records a decision that nobody can wait for.
    ///
    /// If the queue is full, or the record cannot be written, it is counted, and the log says later how many were lost.
    pub fn try_record(&self, mut record: Record) {
        record.clip();
        let request = Request {
            record: Box::new(record),
            answer: None,
        };
        let sent = self.requests.as_ref().map(|queue| queue.try_send(request));
        if !matches!(sent, Some(Ok(()))) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what is queued and ends the thread.
    ///
    /// Dropping does the same, but blocks the thread it happens on while the disk works.
    pub async fn close(mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // The join must not block the runtime; its only error is a panic, logged by the hook.
            let _ended = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

/// The thread's side.
struct Batches {
    journal: Journal,
    queue: mpsc::Receiver<Request>,
    lost: Arc<AtomicU64>,
    /// That of the last record, for what the log says of itself.
    time: String,
}

impl Batches {
    fn run(mut self) {
        while let Some(first) = self.queue.blocking_recv() {
            let mut entries = Vec::new();
            let mut answers = Vec::new();
            let more = std::iter::from_fn(|| self.queue.try_recv().ok());
            for Request { record, answer } in std::iter::once(first).chain(more).take(BATCH) {
                self.time.clone_from(&record.time);
                entries.push(Entry::Record(record));
                answers.push(answer);
            }
            let result = self.append(entries);
            let mut lost = 0;
            for answer in answers {
                match answer {
                    // A caller that has gone away does not want to know.
                    Some(answer) => drop(answer.send(result.clone())),
                    None => lost += u64::from(result.is_err()),
                }
            }
            self.lost.fetch_add(lost, Ordering::Relaxed);
        }
        if self.lost.load(Ordering::Relaxed) > 0 {
            // Nobody is there any more who could be told.
            let _lost = self.append(Vec::new());
        }
    }

    /// Writes a batch, and how many records were lost before its end.
    fn append(&mut self, mut entries: Vec<Entry>) -> Result<(), LogError> {
        let records = self.lost.swap(0, Ordering::Relaxed);
        if records > 0 {
            entries.push(Entry::Note(Note::Lost { records }));
        }
        let result = self.journal.append(&entries, &self.time);
        if result.is_err() {
            self.lost.fetch_add(records, Ordering::Relaxed);
        }
        result
    }
}
