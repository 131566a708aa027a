//! Many connections that each send one request after another.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::task::{JoinSet, LocalSet};

use crate::http::Connection;
use crate::samples::Samples;

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// How many requests.
    pub(crate) count: u32,
    /// Over how many connections.
    pub(crate) connections: u32,
}

/// How it went.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sent {
    /// From the first byte sent to the last answer.
    pub(crate) took: Duration,
    /// Of each request, in milliseconds.
    pub(crate) latencies: Samples,
    /// The last request of each connection.
    pub(crate) last: Vec<u32>,
}

impl Load {
    /// Sends `of(0)`, `of(1)`, … to a server; every answer must be a good one.
    pub(crate) async fn send(
        self,
        server: &str,
        of: impl Fn(u32) -> Vec<u8> + 'static,
    ) -> anyhow::Result<Sent> {
        let mut connections = Vec::new();
        for _ in 0..self.connections.min(self.count) {
            connections.push(Connection::tcp(server).await?);
        }
        let (next, of) = (Rc::new(Cell::new(0)), Rc::new(of));
        let begun = Instant::now();
        let local = LocalSet::new();
        let all = local.run_until(async {
            let mut tasks = JoinSet::new();
            for mut connection in connections {
                let (next, of) = (Rc::clone(&next), Rc::clone(&of));
                tasks.spawn_local(async move {
                    let mut sent = Sent::default();
                    loop {
                        let number = next.get();
                        if number >= self.count {
                            return anyhow::Ok(sent);
                        }
                        next.set(number + 1);
                        let request = of(number);
                        let begun = Instant::now();
                        connection.send(&request).await?;
                        let answer = connection.answer().await?;
                        if answer.status >= 300 {
                            let body = String::from_utf8_lossy(&answer.body);
                            bail!("request {number}: {} {body}", answer.status);
                        }
                        sent.latencies.push_time(begun.elapsed());
                        sent.last = vec![number];
                    }
                });
            }
            let mut all = Sent::default();
            while let Some(done) = tasks.join_next().await {
                let sent: Sent = done.context("a connection's task ended")??;
                all.latencies.extend(sent.latencies);
                all.last.extend(sent.last);
            }
            anyhow::Ok(all)
        });
        let all = all.await?;
        Ok(Sent {
            took: begun.elapsed(),
            ..all
        })
    }
}
