//! How far a long command is: one line that is written anew on a terminal, and nothing elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::clean;

/// Between two frames.
const FRAME: Duration = Duration::from_millis(100);
/// Longest text, in characters.
const WIDTH: usize = 70;
const FRAMES: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// A line that says what is waited for; dropping it wipes it away.
#[derive(Debug)]
pub(crate) struct Progress {
    shown: bool,
    text: String,
    begun: Instant,
    frame: usize,
}

impl Progress {
    /// A line that says nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            shown: io::stderr().is_terminal(),
            text: String::new(),
            begun: Instant::now(),
            frame: 0,
        }
    }

    /// Says this from now on.
    pub(crate) fn say(&mut self, text: &str) {
        if self.shown {
            // What is longer than the terminal is wide could not be wiped away.
            self.text = clean::line(text).chars().take(WIDTH).collect();
            self.draw();
        }
    }

    /// Waits, and shows that it does.
    pub(crate) fn wait(&mut self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.draw();
            // Nobody unparks this thread; waking early costs a frame.
            std::thread::park_timeout(if self.shown { left.min(FRAME) } else { left });
        }
    }

    fn draw(&mut self) {
        if !self.shown || self.text.is_empty() {
            return;
        }
        self.frame = (self.frame + 1) % FRAMES.len();
        let frame = FRAMES.get(self.frame).copied().unwrap_or(' ');
        let seconds = self.begun.elapsed().as_secs();
        // Whether somebody sees it is no concern of the command.
        let _ = write!(io::stderr(), "\r\x1b[2K{frame} {} ({seconds}s)", self.text);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown && !self.text.is_empty() {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
    }
}
