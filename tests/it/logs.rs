//! What applications write, read through the root and through their cluster.

#![expect(clippy::panic, reason = "helpers of tests fail like tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use edgeio_tests::harness::{
    Engine, Image, Program, Settings, System, TOKEN, alone, pause, required, together, wait_until,
};

const LIMIT: Duration = Duration::from_secs(30);

/// A request for text, with the socket that the answer comes on.
pub(crate) struct Get {
    pub(crate) status: u16,
    body: BufReader<TcpStream>,
}

impl Get {
    pub(crate) fn send(server: &Program, path: &str) -> Self {
        let address = server.said("http").strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let request = format!(
            "GET /api/v1/jobs/{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
             authorization: Bearer {TOKEN}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut body = BufReader::new(stream);
        let mut status = 0;
        loop {
            let mut line = String::new();
            body.read_line(&mut line).unwrap();
            if let Some(code) = line.strip_prefix("HTTP/1.1 ") {
                status = code[..3].parse().unwrap();
            }
            if line == "\r\n" {
                return Self { status, body };
            }
        }
    }

    /// The next chunk; empty at the end.
    pub(crate) fn chunk(&mut self) -> String {
        let mut size = String::new();
        self.body.read_line(&mut size).unwrap();
        let Ok(size) = usize::from_str_radix(size.trim(), 16) else {
            return String::new();
        };
        let mut chunk = vec![0; size + 2];
        self.body.read_exact(&mut chunk).unwrap();
        chunk.truncate(size);
        String::from_utf8(chunk).unwrap()
    }

    fn all(mut self) -> String {
        if self.status != 200 {
            let mut text = String::new();
            let _ = self.body.read_to_string(&mut text);
            panic!("{} {text}", self.status);
        }
        let mut text = String::new();
        loop {
            let chunk = self.chunk();
            if chunk.is_empty() {
                return text;
            }
            text += &chunk;
        }
    }

    /// Reads in a thread of its own.
    fn lines(mut self) -> Lines {
        assert_eq!(self.status, 200);
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut rest = String::new();
            loop {
                let chunk = self.chunk();
                if chunk.is_empty() {
                    return;
                }
                rest += &chunk;
                while let Some((line, after)) = rest.split_once('\n') {
                    if sender.send(line.to_owned()).is_err() {
                        return;
                    }
                    rest = after.to_owned();
                }
            }
        });
        Lines(lines)
    }
}

struct Lines(Receiver<String>);

impl Lines {
    #[track_caller]
    fn until(&self, end: impl Fn(&str) -> bool) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let line = self.0.recv_timeout(LIMIT);
            let Ok(line) = line else {
                let last: Vec<_> = all.iter().rev().take(20).collect();
                panic!("no such line; the last are {last:?}");
            };
            let is_end = end(&line);
            all.push(line);
            if is_end {
                return all;
            }
        }
    }

    #[track_caller]
    fn ends(&self) {
        let deadline = Instant::now() + LIMIT;
        loop {
            match self.0.recv_timeout(LIMIT) {
                Ok(_) => assert!(Instant::now() < deadline, "it goes on"),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end"),
            }
        }
    }
}

/// A native application of one shell script.
pub(crate) fn native(name: &str, script: &str, more: &str) -> String {
    let command = serde_json::json!(["/bin/sh", "-c", script]);
    format!(
        "api_version: v0.1\njob_name: {name}\nimage_runtime: native\ncommand: {command}\n{more}"
    )
}

const TICK: &str = "i=0; while :; do echo tick $i; i=$((i+1)); sleep 0.2; done";

#[test]
fn logs_are_read_and_followed_at_both_orchestrators_and_kept_after_the_job() {
    let _turn = together();
    let system = System::of_one(Settings::QUICK, "cpu=4,memory=1000");
    let root = system.root();
    root.submit(&native("ticker", TICK, "stop_grace: 1s\n"));
    let job = system.wait_state("ticker", "RUNNING", LIMIT);
    let (id, instance) = (
        job["job_id"].as_str().unwrap(),
        job["instances"][0]["instance_id"].as_str().unwrap(),
    );
    let label = format!(
        "{}/0",
        job["instances"][0]["service"].as_str().unwrap_or("ticker")
    );
    let servers = [&system.root, &system.clusters[0]];
    for server in servers {
        let followed = Get::send(server, &format!("{id}/logs?follow=true")).lines();
        let lines = followed.until(|line| line.ends_with("tick 5"));
        assert!(
            lines
                .iter()
                .all(|line| line.starts_with(&format!("{label} | tick "))),
            "{lines:?}"
        );
        assert_eq!(lines[0], format!("{label} | tick 0"));
        let text = Get::send(server, &format!("{id}/logs?tail=2")).all();
        assert_eq!(text.lines().count(), 2, "{text}");
        for one in [instance, label.as_str()] {
            let text = Get::send(server, &format!("{id}/logs?instance={one}&tail=all")).all();
            assert!(text.starts_with("tick 0\ntick 1\n"), "{text}");
        }
        let text = Get::send(server, &format!("{id}/logs?since=2100-01-01T00:00:00Z")).all();
        assert_eq!(text, "");
        let text = Get::send(server, &format!("{id}/logs?since=10m&tail=all")).all();
        assert!(text.contains("tick 0\n"), "{text}");
        for bad in [
            "tail=-1",
            "tail=few",
            "since=soon",
            "instance=a+b",
            "follow=perhaps",
            "lines=3",
        ] {
            let refused = Get::send(server, &format!("{id}/logs?{bad}"));
            assert_eq!(refused.status, 400, "{bad}");
        }
        for unknown in [
            "nobody/logs".to_owned(),
            format!("{id}/logs?instance={label}1"),
            format!("{id}/logs?instance=ins_00000000000000000000000001"),
        ] {
            assert_eq!(Get::send(server, &unknown).status, 404, "{unknown}");
        }
    }
    // Everything is followed to its end, which the deletion is.
    let followed = Get::send(
        &system.root,
        &format!("{id}/logs?follow=true&instance={instance}"),
    );
    let followed = followed.lines();
    followed.until(|line| line.starts_with("tick "));
    let all = Get::send(
        &system.clusters[0],
        &format!("{id}/logs?follow=true&tail=1"),
    )
    .lines();
    all.until(|line| line.contains("tick "));
    assert_eq!(root.delete("/api/v1/jobs/ticker").unwrap().status, 202);
    system.wait_state(id, "TERMINATED", LIMIT);
    followed.ends();
    all.ends();
    for server in servers {
        let text = Get::send(server, &format!("{id}/logs?instance={instance}&tail=all")).all();
        assert!(text.starts_with("tick 0\ntick 1\n"), "{text}");
        let text = Get::send(server, &format!("{id}/logs?tail=1")).all();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains(" | tick "), "{text}");
    }
}

#[test]
fn several_instances_are_told_apart_and_new_ones_join_in() {
    let _turn = together();
    let mut system = System::of_one(Settings::QUICK, "cpu=4,memory=1000");
    system.add_worker("worker-2", 0, &["--capacity", "cpu=4,memory=1000"]);
    let root = system.root();
    let document = |replicas| {
        native(
            "many",
            TICK,
            &format!("replicas: {replicas}\nstop_grace: 1s\n"),
        )
    };
    root.submit(&document(2));
    let job = system.wait_state("many", "RUNNING", LIMIT);
    let service = job["instances"][0]["service"].as_str().unwrap().to_owned();
    let followed = Get::send(&system.root, "many/logs?follow=true").lines();
    let is = |index: u32| format!("{service}/{index} | tick ");
    followed.until(|line| line.starts_with(&is(0)));
    followed.until(|line| line.starts_with(&is(1)));
    assert_eq!(
        root.put("/api/v1/jobs/many", &document(3)).unwrap().status,
        202
    );
    followed.until(|line| line.starts_with(&is(2)));
    let text = Get::send(&system.root, "many/logs?tail=1").all();
    assert_eq!(text.lines().count(), 3, "{text}");

    // A worker that is gone is said once, and the others go on.
    let job = root.job("many").unwrap();
    let on_first: Vec<bool> = job["instances"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["worker_node"] == "worker-1")
        .collect();
    system.workers[0].program.kill();
    if on_first.contains(&true) {
        followed.until(|line| line.contains("[edgeio: worker worker-1 cannot be heard now]"));
    }
    let other = on_first.iter().position(|is| !is);
    if let Some(other) = other {
        followed.until(|line| line.starts_with(&is(other as u32)));
    }
    if let Some(lost) = on_first.iter().position(|is| *is) {
        let instance = job["instances"][lost]["instance_id"].as_str().unwrap();
        let refused = Get::send(&system.root, &format!("many/logs?instance={instance}"));
        assert!(
            refused.status == 503 || refused.status == 404,
            "{}",
            refused.status
        );
    }
    system.workers[0].program.again();
    system.wait_state("many", "RUNNING", LIMIT);
    for index in 0..3 {
        followed.until(|line| line.starts_with(&is(index)));
    }
}

#[test]
fn a_flood_and_a_reader_that_does_not_read_disturb_nobody() {
    let _turn = alone();
    let system = System::of_one(Settings::QUICK, "cpu=8,memory=1000");
    let root = system.root();
    let flood = "while :; do echo all work and no play makes jack a dull boy; done | cat";
    root.submit(&native("flood", flood, "stop_grace: 1s\n"));
    root.submit(&native("calm", TICK, "stop_grace: 1s\n"));
    system.wait_state("flood", "RUNNING", LIMIT);
    system.wait_state("calm", "RUNNING", LIMIT);
    let stuck: Vec<Get> = (0..20)
        .map(|_| Get::send(&system.root, "flood/logs?follow=true&tail=all"))
        .collect();
    let calm = Get::send(&system.root, "calm/logs?follow=true").lines();
    let fast = Get::send(&system.root, "flood/logs?follow=true&tail=0");
    assert_eq!(fast.status, 200);
    let fast = fast.lines();
    let begun = Instant::now();
    let mut bytes = 0;
    while begun.elapsed() < Duration::from_secs(3) {
        let line = fast.0.recv_timeout(LIMIT).unwrap();
        bytes += line.len() + 1;
    }
    eprintln!("a reader beside 20 stuck ones gets {} KB/s", bytes / 3_000);
    drop(fast);
    calm.until(|line| line.ends_with("tick 20"));
    // States come as fast as ever.
    let begun = Instant::now();
    root.submit(&native("quick", "exec sleep 1000", ""));
    system.wait_state("quick", "RUNNING", LIMIT);
    eprintln!("beside them a job runs after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(5));
    for (program, limit) in [
        (&system.root, 80),
        (&system.clusters[0], 80),
        (&system.workers[0].program, 60),
    ] {
        let resident = resident_mb(program.pid());
        eprintln!("{} has {resident} MB", program.name());
        assert!(resident < limit, "{}: {resident} MB", program.name());
    }
    // One that reads on after a while finds what it missed said, and the text goes on.
    let mut late = stuck.into_iter().next().unwrap();
    let mut text = String::new();
    let deadline = Instant::now() + LIMIT;
    while !text.contains("bytes skipped: written faster than they were read]") {
        assert!(Instant::now() < deadline, "{} bytes came", text.len());
        text += &late.chunk();
    }
    pause(Duration::from_millis(1));
    assert!(late.chunk().contains("jack"));
}

#[test]
fn logs_of_containers_come_like_those_of_processes() {
    if !required("docker") {
        return;
    }
    let _turn = alone();
    let engine = Engine::connect();
    let image = Image::sleeper(&engine);
    let mut system = System::start(Settings::QUICK);
    system.add_cluster("cluster-1", &[]);
    system.add_worker("worker-1", 0, &["--capacity", "cpu=4,memory=4000"]);
    let document = format!(
        "api_version: v0.1\njob_name: boxed\nimage_runtime: docker\nimage: {}\ncommand: {}\nstop_grace: 1s\n",
        image.name,
        serde_json::json!([
            "/bin/busybox",
            "sh",
            "-c",
            TICK.replace("sleep", "/bin/busybox sleep")
        ])
    );
    system.root().submit(&document);
    let job = system.wait_state("boxed", "RUNNING", LIMIT);
    let id = job["job_id"].as_str().unwrap();
    let instance = job["instances"][0]["instance_id"].as_str().unwrap();
    let followed = Get::send(
        &system.root,
        &format!("boxed/logs?follow=true&instance={instance}"),
    )
    .lines();
    let lines = followed.until(|line| line == "tick 5");
    assert_eq!(lines[0], "tick 0");
    // Its restart goes on in the same text.
    let node = system.workers[0].node_id.clone();
    engine.kill(&engine.containers_of(&node)[0].id);
    followed.until(|line| line == "tick 0");
    followed.until(|line| line == "tick 3");
    let text = Get::send(&system.root, "boxed/logs?tail=all").all();
    assert_eq!(text.matches(" | tick 0\n").count(), 2, "{text}");
    assert_eq!(
        system.root().delete("/api/v1/jobs/boxed").unwrap().status,
        202
    );
    system.wait_state(id, "TERMINATED", LIMIT);
    followed.ends();
    let text = Get::send(
        &system.root,
        &format!("{id}/logs?instance={instance}&tail=all"),
    )
    .all();
    assert_eq!(text.matches("tick 0\n").count(), 2, "{text}");
    wait_until("no container is left", LIMIT, || {
        let left = engine.containers_of(&node);
        left.is_empty()
            .then_some(())
            .ok_or_else(|| format!("{left:?}"))
    });
}

fn resident_mb(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        / 1024
}
