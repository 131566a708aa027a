//! Looking again and again while a test does something else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// A thread that looks, until it is asked what it saw.
#[derive(Debug)]
pub struct Sampler {
    done: Arc<AtomicBool>,
    thread: JoinHandle<Sampling>,
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sampling {
    /// How often it looked.
    pub looks: usize,
    /// The most at one time.
    pub most: Vec<String>,
    /// All that was ever seen.
    pub ever: BTreeSet<String>,
}

impl Sampler {
    /// Starts to look.
    pub fn start(look: impl Fn() -> Vec<String> + Send + 'static) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&done);
        let thread = std::thread::spawn(move || {
            let mut sampling = Sampling::default();
            while !until.load(Ordering::Relaxed) {
                let seen = look();
                sampling.looks += 1;
                sampling.ever.extend(seen.iter().cloned());
                if seen.len() > sampling.most.len() {
                    sampling.most = seen;
                }
                super::pause(LOOK);
            }
            sampling
        });
        Self { done, thread }
    }

    /// Ends, and says what was seen.
    pub fn finish(self) -> Sampling {
        self.done.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
