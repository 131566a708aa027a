//! Schedulers that take questions from a queue in a real Redis.

use edgeio_tests::harness::{Redis, required};

use super::*;

/// `edgeio-scheduler` at that queue, which takes the first that fits.
fn scheduler(system: &System, name: &str, redis: &Redis) -> Program {
    let url = redis.url();
    let args = [
        "--http",
        "127.0.0.1:0",
        "--redis",
        &url,
        "--queue",
        "munich",
    ];
    let args = args.map(str::to_owned);
    let scheduler = Program::start("edgeio-scheduler", name, system.directory(), &args, None);
    wait_ready(&scheduler, 200);
    scheduler
}

fn wait_ready(scheduler: &Program, status: u16) {
    let client = Client::new(scheduler.said("http"), None);
    wait_until("the queue is read, or not", LIMIT, || {
        let answer = client.get("/readyz")?;
        let is = answer.status == status;
        is.then_some(()).ok_or_else(|| answer.body.to_string())
    });
}

#[test]
fn schedulers_at_a_queue_are_added_and_die_and_redis_does_and_no_job_is_lost() {
    if !required("redis") {
        return;
    }
    let _turn = together();
    let scratch = tempfile::tempdir().unwrap();
    let mut redis = Redis::start(scratch.path());
    let queue = "queue:munich";
    let system = system_with(&["--redis", &redis.url(), "--scheduler", queue]);
    let cluster = system.cluster(0);
    // Nobody is there: the declared one decides.
    exchange(&cluster, "{scheduler: \"queue:munich\", deadline: 300ms}");
    let alone = "first-fit (the scheduler queue:munich failed: no answer came within 300 ms)";
    runs_by(&cluster, "nobody-there", "small", alone);

    let mut first = scheduler(&system, "first", &redis);
    exchange(&cluster, "{scheduler: \"queue:munich\", fallback: none}");
    runs_by(
        &cluster,
        "by-queue",
        "small",
        "queue:munich chose worker small",
    );
    // One dies in the middle, another one was added before; what the dead one had is taken over.
    let second = scheduler(&system, "second", &redis);
    for number in 0..ARRIVE {
        submit(&cluster, &format!("shared-{number}"));
        if number == ARRIVE / 2 {
            first.kill();
        }
    }
    for number in 0..ARRIVE {
        let (_, why) = wait_placed(&cluster, &format!("shared-{number}"));
        assert!(why.contains("queue:munich chose"), "{why}");
    }

    let exchanges = exchange_while_jobs_arrive(&cluster, queue);
    assert!(exchanges > 1);
    for number in 0..ARRIVE {
        wait_placed(&cluster, &format!("job-{number}"));
    }

    // Redis dies: what arrives waits, since nobody else is declared, and goes on when it is back, empty.
    exchange(&cluster, "{scheduler: \"queue:munich\", fallback: none}");
    redis.kill();
    wait_ready(&second, 503);
    submit(&cluster, "patient");
    wait_until("it waits for Redis", LIMIT, || {
        let job = cluster.job("patient")?;
        let reason = job["reason"].as_str().unwrap_or_default();
        let is =
            job["state"] == "NOT_DEPLOYED" && reason.contains("its queue at redis://127.0.0.1");
        if is { Ok(()) } else { Err(job.to_string()) }
    });
    redis.restart();
    wait_ready(&second, 200);
    let (_, why) = wait_placed(&cluster, "patient");
    assert!(why.contains("queue:munich chose"), "{why}");
}

#[test]
fn a_queue_that_cannot_be_reached_by_the_options_is_refused() {
    let _turn = together();
    let system = system("first-fit");
    let cluster = system.cluster(0);
    for (wrong, remedy) in [
        ("scheduler: \"queue:munich\"", "--redis URL"),
        ("scheduler: \"queue:\"", "queue:edgeio"),
        ("scheduler: queue", "queue:NAME"),
    ] {
        let answer = cluster.put("/api/v1/scheduler", wrong).unwrap();
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.body);
        let said = answer.body.to_string();
        assert!(said.contains(remedy), "{wrong}: {said}");
    }
}
