//! The same of a root: a program elsewhere chooses clusters.

use super::*;

/// A root whose scheduler is that, with a small cluster, which comes first, and a large one.
fn two_clusters(scheduler: Option<&str>) -> System {
    let settings = Settings {
        cluster_lost_after: Some(Duration::from_secs(4)),
        ..Settings::QUICK
    };
    let mut options = vec!["--scheduler-pause", "1s"];
    options.extend(scheduler.iter().flat_map(|it| ["--scheduler", it]));
    let mut system = System::start_with(settings, "127.0.0.1", None, &options);
    for (index, (name, capacity)) in [
        ("small", "cpu=64,memory=8000"),
        ("large", "cpu=64,memory=64000"),
    ]
    .into_iter()
    .enumerate()
    {
        system.add_cluster(name, &[]);
        let worker = format!("worker-{name}");
        let options = ["--runtimes", "native", "--capacity", capacity];
        system.add_worker(&worker, index, &options);
    }
    system
}

fn submit(root: &Client, name: &str) {
    let more = "requirements: {memory: 10}\non_partition: move\n";
    root.submit(&sleeper(name, more));
}

/// In which clusters its instances run, all of them, and what the root says of why.
#[track_caller]
fn wait_placed(root: &Client, name: &str) -> Vec<(String, String)> {
    wait_until(&format!("{name} runs"), LIMIT, || {
        let job = root.job(name)?;
        let instances = job["instances"].as_array().unwrap();
        let runs = |row: &&Value| row["state"] == "RUNNING" && row["role"] == "holder";
        if job["state"] != "RUNNING" || !instances.iter().all(|row| runs(&row)) {
            return Err(job.to_string());
        }
        let explained = root.get(&format!("/api/v1/jobs/{name}/explain"))?.body;
        let rows = explained["items"].as_array().unwrap().iter();
        let rows = rows.map(|row| {
            let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
            (text("cluster"), text("message"))
        });
        let rows: Vec<_> = rows.collect();
        if rows.len() == instances.len() {
            Ok(rows)
        } else {
            Err(explained.to_string())
        }
    })
}

#[track_caller]
fn wait_explained(root: &Client, name: &str, words: &str) {
    wait_until(&format!("{name}: {words}"), LIMIT, || {
        let explained = root.get(&format!("/api/v1/jobs/{name}/explain"))?.body;
        let explained = explained.to_string();
        if explained.contains(words) {
            Ok(())
        } else {
            Err(explained)
        }
    });
}

#[track_caller]
fn runs_by(root: &Client, name: &str, cluster: &str, words: &str) {
    submit(root, name);
    let placed = wait_placed(root, name);
    assert_eq!(placed.len(), 1, "{name} is there once: {placed:?}");
    let (on, why) = &placed[0];
    assert!(
        on == cluster && why.contains(words),
        "{name} on {on}: {why}"
    );
}

/// Jobs arrive while first-fit and the one at that URL take turns: how often.
fn exchange_while_jobs_arrive(root: &Client, python: &str) -> usize {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let exchanging = scope.spawn(|| {
            let mut exchanges = 0;
            while !done.load(Ordering::Relaxed) {
                let scheduler = ["first-fit".to_owned(), python.to_owned()][exchanges % 2].clone();
                exchange(root, &format!("scheduler: {scheduler}"));
                exchanges += 1;
                pause(Duration::from_millis(50));
            }
            exchanges
        });
        for number in 0..ARRIVE {
            submit(root, &format!("job-{number}"));
        }
        done.store(true, Ordering::Relaxed);
        exchanging.join().unwrap()
    })
}

#[test]
fn a_scheduler_in_python_chooses_clusters_and_is_exchanged_while_jobs_arrive() {
    if !has_python() {
        return;
    }
    let _turn = together();
    let python = Python::start(free_port());
    let mut system = two_clusters(Some(&python.url()));
    let root = system.root();
    let shown = root.get("/api/v1/scheduler").unwrap().body;
    let expected = serde_json::json!({"scheduler": python.url(), "deadline": "2000ms", "fallback": "first-fit"});
    assert_eq!(shown, expected);
    // More memory is free in the large one; first-fit would take the first.
    let chose = format!("{} chose cluster large out of 2", python.url());
    runs_by(&root, "by-python", "large", &chose);
    let scaled = root.post("/api/v1/jobs/by-python/scale", "replicas: 3");
    assert_eq!(scaled.unwrap().status, 202);
    wait_until("it is scaled up", LIMIT, || {
        let placed = wait_placed(&root, "by-python");
        let all = placed.len() == 3 && placed.iter().all(|(_, why)| why.contains(&chose));
        if all {
            Ok(())
        } else {
            Err(format!("{placed:?}"))
        }
    });

    let exchanges = exchange_while_jobs_arrive(&root, &python.url());
    let names: Vec<String> = (0..ARRIVE).map(|number| format!("job-{number}")).collect();
    let placed: Vec<_> = names
        .iter()
        .flat_map(|name| wait_placed(&root, name))
        .collect();
    let by = |words: &str| placed.iter().filter(|(_, why)| why.contains(words)).count();
    eprintln!(
        "{exchanges} exchanges, {} by python, {} by first-fit",
        by("http://"),
        by("first-fit chose")
    );
    assert_eq!(placed.len(), ARRIVE, "each once");
    let as_chosen = |(on, why): &(String, String)| {
        let here = why.starts_with(&format!("first-fit chose cluster {on}"));
        here || (on == "large" && why.starts_with(&chose))
    };
    assert!(placed.iter().all(as_chosen), "{placed:?}");
    for name in &names {
        assert_eq!(system.copies(name).len(), 1, "{name}");
    }

    // Away: the declared one decides, and the explanation says why. Back: it is asked again.
    exchange(&root, &format!("scheduler: {}", python.url()));
    let port = python.address.port();
    drop(python);
    runs_by(
        &root,
        "while-away",
        "small",
        "first-fit (the scheduler http://",
    );
    let python = Python::start(port);
    let mut tries = 0;
    wait_until("the scheduler is asked again", LIMIT, || {
        tries += 1;
        let name = format!("again-{tries}");
        submit(&root, &name);
        let (on, why) = wait_placed(&root, &name).remove(0);
        if on == "large" { Ok(()) } else { Err(why) }
    });

    // What a lost cluster had is its business as well.
    system.clusters[1].kill();
    let chose = format!("{} chose cluster small out of 2", python.url());
    wait_explained(&root, "by-python", &chose);
}

#[test]
fn a_root_whose_scheduler_hangs_answers_garbage_or_dies_loses_nothing() {
    let _turn = together();
    let mut system = two_clusters(None);
    let root = system.root();
    let hangs = broken(None);
    exchange(
        &root,
        &format!("{{scheduler: \"{hangs}\", deadline: 300ms}}"),
    );
    runs_by(&root, "hung", "small", "no answer came within 300 ms");
    wait_until("it says that it is away", LIMIT, || {
        submit(&root, "hung-again");
        root.delete("/api/v1/jobs/hung-again")?;
        let shown = root.get("/api/v1/scheduler")?.body;
        let away = shown["away"].as_str().unwrap_or_default();
        away.contains("no answer came")
            .then_some(())
            .ok_or_else(|| shown.to_string())
    });
    for (name, answer, words) in [
        ("number", "42", "its answer cannot be used"),
        ("empty", "{}", "missing field `choose`"),
        (
            "stranger",
            r#"{"choose": "nobody"}"#,
            "which was not offered",
        ),
    ] {
        exchange(
            &root,
            &format!("{{scheduler: \"{}\"}}", broken(Some(answer))),
        );
        runs_by(&root, name, "small", words);
    }
    let refuses = broken(Some(r#"{"choose": null, "reason": "all are asleep"}"#));
    exchange(&root, &format!("{{scheduler: \"{refuses}\"}}"));
    submit(&root, "declined");
    wait_explained(&root, "declined", "places it nowhere: all are asleep");
    assert_eq!(root.job("declined").unwrap()["state"], "NOT_DEPLOYED");
    // The root dies while it waits for an answer. Its scheduler is in its store, and asked again; then another one is.
    exchange(&root, &format!("{{scheduler: \"{hangs}\", deadline: 60s}}"));
    submit(&root, "asked");
    let words = "is asked which cluster gets it";
    wait_explained(&root, "asked", words);
    assert_eq!(root.job("asked").unwrap()["state"], "REQUESTED");
    system.root.kill();
    system.root.again();
    assert_eq!(
        root.get("/api/v1/scheduler").unwrap().body["scheduler"],
        hangs
    );
    wait_explained(&root, "asked", words);
    let args = ["--http", "127.0.0.1:0"].map(str::to_owned);
    let mut scheduler = Program::start(
        "edgeio-scheduler",
        "scheduler",
        system.directory(),
        &args,
        None,
    );
    let url = scheduler.said("http").to_owned();
    exchange(&root, &format!("scheduler: {url}/location"));
    let chose = format!("{url}/location chose cluster");
    for job in ["asked", "declined"] {
        let placed = wait_placed(&root, job);
        assert!(placed[0].1.contains(&chose), "{job}: {placed:?}");
    }
    for job in ["hung", "number", "empty", "stranger"] {
        wait_placed(&root, job);
    }
    for job in ["asked", "declined", "hung", "number", "empty", "stranger"] {
        assert_eq!(system.copies(job).len(), 1, "{job}");
    }
    scheduler.kill();
    runs_by(&root, "away", "small", "cannot be reached");
}
