//! A scheduler elsewhere: what it is asked, what comes of its answers, and of none.

use model::slot::Slot;
use schedulers::{Answer, OPEN, Question, TRIES};

use crate::support::{Document, Site};

const ELSEWHERE: &str = "http://127.0.0.1:10005";

/// Three workers, and a scheduler elsewhere.
fn site(policy: &str) -> Site {
    let mut site = Site::of(&[100, 100, 100]);
    site.schedule_by(policy);
    site
}

fn choose(name: &'static str) -> impl Fn(&Question) -> Answer {
    move |_| Answer::Choose(name.to_owned())
}

fn silence(_: &Question) -> Answer {
    Answer::Silence("connection refused".to_owned())
}

fn offered(question: &Question) -> Vec<&str> {
    question.offers.iter().map(|it| it.name.as_str()).collect()
}

fn says(site: &Site, job: &str, words: &str) -> bool {
    site.told(job).iter().any(|told| told.contains(words))
}

#[test]
fn it_is_asked_with_those_that_will_do_and_its_choice_counts() {
    let mut site = site(ELSEWHERE);
    site.schedule_on(2, model::node::Scheduling::Cordoned);
    site.run(&Document::new("web", 10, 1));
    assert_eq!(site.rows("web"), ["0 Holder SCHEDULED_CLUSTER - 1.0"]);
    assert!(
        says(&site, "web", "is asked where it runs"),
        "{:?}",
        site.told("web")
    );
    let (_, question) = &site.questions[0];
    assert_eq!(question.job.as_str(), "web");
    assert_eq!(offered(question), ["w1", "w3"], "w2 is cordoned");
    assert_eq!(question.offers[0].room.memory.mb(), 100);
    site.advise(choose("w3"));
    assert_eq!(site.runs(3), 1);
    assert!(
        says(
            &site,
            "web",
            "placed on worker w3 by http://127.0.0.1:10005"
        ),
        "{:?}",
        site.told("web")
    );
    let explained = "http://127.0.0.1:10005 chose worker w3 out of 3";
    assert!(says(&site, "web", explained), "{:?}", site.told("web"));
    assert_eq!(site.questions, [], "it is asked once");
    // By its id as well.
    site.run(&Document::new("db", 10, 1));
    site.advise(|question| Answer::Choose(question.offers[0].id.clone()));
    assert_eq!(site.runs(1), 1);
}

#[test]
fn nobody_is_asked_where_nothing_will_do() {
    let mut site = site(ELSEWHERE);
    site.run(&Document::new("web", 1_000, 1));
    assert_eq!(site.questions, []);
    assert_eq!(
        site.rows("web"),
        ["0 Holder NOT_DEPLOYED insufficient_memory - 1.0"]
    );
    site.join(4, 2_000);
    site.pass(30);
    assert_eq!(offered(&site.questions[0].1), ["w4"]);
    site.advise(choose("w4"));
    assert_eq!(site.runs(4), 1);
}

#[test]
fn few_questions_are_under_way_and_all_are_asked() {
    let mut site = Site::of(&[100_000]);
    site.schedule_by(ELSEWHERE);
    site.run(&Document::new("web", 10, 100));
    assert_eq!(site.questions.len(), OPEN);
    for _ in 0..100 {
        site.advise(choose("w1"));
    }
    assert_eq!((site.runs(1), site.questions.len()), (100, 0));
}

#[test]
fn a_choice_that_has_no_room_any_more_is_made_again_and_not_for_ever() {
    let mut site = site(ELSEWHERE);
    site.run(&Document::new("a", 60, 1));
    site.run(&Document::new("b", 60, 1));
    assert_eq!(site.questions.len(), 2);
    // Both get the same place: there is room for one.
    site.advise(choose("w1"));
    assert_eq!(site.runs(1), 1);
    let (_, again) = &site.questions[0];
    assert_eq!(offered(again), ["w2", "w3"], "it is told so");
    site.advise(choose("w2"));
    assert_eq!((site.runs(1), site.runs(2)), (1, 1));
    // A scheduler that does not listen chooses what was not offered: it has its way no longer.
    site.run(&Document::new("c", 60, 1));
    site.advise(choose("w1"));
    for _ in 1..TRIES {
        site.advise(choose("w1"));
    }
    assert_eq!(site.runs(3), 1, "{:?}", site.told("c"));
    assert!(
        says(&site, "c", "by first-fit (the scheduler"),
        "{:?}",
        site.told("c")
    );
}

#[test]
fn what_is_no_answer_is_made_up_for_as_declared() {
    let garbage = |_: &Question| Answer::Unusable("its answer cannot be used".to_owned());
    let mut site = site(ELSEWHERE);
    site.run(&Document::new("web", 10, 1));
    site.advise(garbage);
    assert_eq!(site.runs(1), 1);
    let explained = "failed: its answer cannot be used) chose worker w1 out of 3";
    assert!(says(&site, "web", explained), "{:?}", site.told("web"));
    assert!(
        says(&site, "web", "by first-fit (the scheduler"),
        "{:?}",
        site.told("web")
    );
    site.run(&Document::new("db", 10, 1));
    assert_eq!(
        site.questions.len(),
        1,
        "it is asked about others as before"
    );

    let mut site = self::site("http://127.0.0.1:10005 fallback=none");
    site.run(&Document::new("web", 10, 1));
    site.advise(garbage);
    assert_eq!(
        site.rows("web"),
        ["0 Holder NOT_DEPLOYED scheduler_fault - 1.0"]
    );
    assert!(
        says(&site, "web", "its answer cannot be used"),
        "{:?}",
        site.told("web")
    );
    assert_eq!(site.questions, []);
    let before = site.state.aggregate().capacity_revision;
    site.pass(61);
    assert_eq!(site.questions.len(), 1, "it is asked again after a pause");
    // And what the root took elsewhere meanwhile may come back.
    assert!(site.state.aggregate().capacity_revision > before);
    site.advise(choose("w2"));
    assert_eq!(site.runs(2), 1);
}

#[test]
fn a_scheduler_that_is_away_is_left_alone_for_a_while() {
    let mut site = site("http://127.0.0.1:10005 fallback=location");
    for job in ["a", "b", "c"] {
        site.run(&Document::new(job, 10, 1));
    }
    assert_eq!(site.questions.len(), 3);
    let others = site.questions.split_off(1);
    site.advise(silence);
    for job in ["a", "b", "c"] {
        assert_eq!(site.count(job, "RUNNING"), 1, "{job}");
        assert!(
            says(&site, job, "by location (the scheduler"),
            "{:?}",
            site.told(job)
        );
    }
    // Answers that come after all change nothing.
    let before = site.slots();
    site.questions = others;
    site.advise(choose("w3"));
    assert_eq!(site.slots(), before);
    site.run(&Document::new("d", 10, 1));
    assert_eq!((site.questions.len(), site.count("d", "RUNNING")), (0, 1));
    site.pass(61);
    site.run(&Document::new("e", 10, 1));
    site.advise(choose("w3"));
    assert!(
        says(&site, "e", "placed on worker w3 by http://"),
        "{:?}",
        site.told("e")
    );

    let mut site = self::site("http://127.0.0.1:10005 fallback=none");
    site.run(&Document::new("web", 10, 1));
    site.advise(silence);
    assert_eq!(
        site.rows("web"),
        ["0 Holder NOT_DEPLOYED scheduler_fault - 1.0"]
    );
    site.pass(61);
    site.advise(choose("w1"));
    assert_eq!(site.count("web", "RUNNING"), 1);
}

#[test]
fn a_question_that_the_shell_forgets_is_answered_by_time() {
    let mut site = site(ELSEWHERE);
    site.run(&Document::new("web", 10, 1));
    site.questions.clear();
    site.pass(3);
    assert_eq!(site.count("web", "RUNNING"), 0);
    site.pass(2);
    assert_eq!(site.count("web", "RUNNING"), 1, "{:?}", site.told("web"));
}

#[test]
fn it_may_decline_and_is_asked_again_when_something_changes() {
    let mut site = site(ELSEWHERE);
    site.run(&Document::new("web", 10, 1));
    site.advise(|_| Answer::Nobody("all are asleep".to_owned()));
    assert_eq!(site.rows("web"), ["0 Holder NOT_DEPLOYED refused - 1.0"]);
    assert!(
        says(&site, "web", "places it nowhere: all are asleep"),
        "{:?}",
        site.told("web")
    );
    assert_eq!(site.questions, []);
    site.join(4, 100);
    assert_eq!(site.questions.len(), 1);
    site.advise(choose("w4"));
    assert_eq!(site.runs(4), 1);
}

#[test]
fn it_is_exchanged_with_nothing_lost() {
    let mut site = site(ELSEWHERE);
    site.run(&Document::new("web", 10, 2));
    let late = site.questions.clone();
    assert_eq!(late.len(), 2);
    site.schedule_by("first-fit");
    site.deliver();
    assert_eq!(site.count("web", "RUNNING"), 2);
    let before = site.slots();
    site.questions = late;
    site.advise(choose("w3"));
    assert_eq!(
        site.slots(),
        before,
        "who is not asked any more decides nothing"
    );
    // And back; what is placed stays.
    site.schedule_by("http://127.0.0.1:10006");
    assert_eq!(site.questions, []);
    assert_eq!(site.slots(), before);
    site.restart();
    assert_eq!(
        site.state.policy().name(),
        "http://127.0.0.1:10006",
        "it is in the store"
    );
}

#[test]
fn what_was_asked_before_a_restart_is_asked_again() {
    let mut site = site(ELSEWHERE);
    site.run(&Document::new("web", 10, 1));
    site.questions.clear();
    site.restart();
    site.pass(2);
    assert_eq!(site.questions.len(), 1);
    site.advise(choose("w2"));
    assert_eq!(site.runs(2), 1);
}

#[test]
fn a_successor_is_asked_for_without_the_worker_that_is_left() {
    let mut site = site(ELSEWHERE);
    site.run(&Document::new("web", 10, 1));
    site.advise(choose("w1"));
    site.schedule_on(1, model::node::Scheduling::Draining);
    site.deliver();
    assert_eq!(site.count("web", "RUNNING"), 1, "it runs on meanwhile");
    let asked: Vec<&Slot> = site.questions.iter().map(|(slot, _)| slot).collect();
    assert_eq!(asked.len(), 1);
    assert_eq!(offered(&site.questions[0].1), ["w2", "w3"]);
    site.advise(choose("w3"));
    site.pass(5);
    assert_eq!(
        (site.runs(1), site.runs(3)),
        (0, 1),
        "{:?}",
        site.rows("web")
    );
}

#[test]
fn a_deleted_job_is_not_asked_about_any_more() {
    let mut site = site(ELSEWHERE);
    site.run(&Document::new("web", 10, 1));
    site.delete("web");
    site.deliver();
    site.advise(choose("w1"));
    assert_eq!(site.runs(1), 0);
    assert_eq!(site.slots().len(), 0);
}
