//! A scheduler elsewhere: which clusters it is asked about, what comes of its answers, and of none.

use model::book::{JobAnswer, JobRequest};
use model::job::{JobState, OnPartition, Strategy};
use model::node::Scheduling;
use model::operation::Progress;
use schedulers::{Answer, OPEN, Question, TRIES};

use crate::support::{Document, World};

const ELSEWHERE: &str = "http://127.0.0.1:10004";

/// Three clusters, and a scheduler elsewhere.
fn world(policy: &str) -> World {
    let mut world = World::of(&[100, 100, 100]);
    world.schedule_by(policy);
    world
}

fn choose(name: &'static str) -> impl Fn(&Question) -> Answer {
    move |_| Answer::Choose(name.to_owned())
}

fn garbage(_: &Question) -> Answer {
    Answer::Unusable("its answer cannot be used".to_owned())
}

fn silence(_: &Question) -> Answer {
    Answer::Silence("connection refused".to_owned())
}

fn nobody(_: &Question) -> Answer {
    Answer::Nobody("all are asleep".to_owned())
}

fn offered(world: &World) -> Vec<&str> {
    let questions = world.questions.iter();
    let offers = questions.flat_map(|(_, question)| &question.offers);
    offers.map(|offer| offer.name.as_str()).collect()
}

#[track_caller]
fn assert_told(world: &World, job: &str, words: &str) {
    let told = world.told(job);
    assert!(told.iter().any(|told| told.contains(words)), "{told:?}");
}

#[test]
fn it_is_asked_with_those_that_will_do_and_its_choice_counts() {
    let mut world = world(ELSEWHERE);
    world.schedule_on(2, Scheduling::Cordoned);
    world.clusters.get_mut(&3).unwrap().grow(100);
    world.deliver();
    world.run(&Document::new("web", 10, 1));
    assert_eq!(world.rows("web"), ["0 Holder REQUESTED - 0.0"]);
    assert_eq!(world.job("web").state, JobState::Requested);
    assert_told(&world, "web", "is asked which cluster gets it");
    assert_eq!(offered(&world), ["c1", "c3"], "c2 is cordoned");
    let (_, question) = &world.questions[0];
    assert_eq!(question.job.as_str(), "web");
    let offer = &question.offers[1];
    let workers = offer.workers.unwrap();
    assert_eq!(
        (offer.room.memory.mb(), workers.room.memory.mb()),
        (200, 200)
    );
    assert_eq!((workers.count, offer.location.as_str()), (1, "city=City3"));
    world.advise(choose("c3"));
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c3 1.1"]);
    assert_told(
        &world,
        "web",
        "assigned to cluster c3 by http://127.0.0.1:10004",
    );
    assert_told(
        &world,
        "web",
        "http://127.0.0.1:10004 chose cluster c3 out of 3",
    );
    assert_eq!(world.questions, [], "it is asked once");
    // By its id as well; and about each replica.
    world.run(&Document::new("db", 10, 2));
    assert_eq!(world.questions.len(), 2);
    world.advise(|question| Answer::Choose(question.offers[0].id.clone()));
    assert_eq!(world.runs(1), 2);
    // Another replica is asked about, and what runs is not.
    world.put(&Document::new("db", 10, 3));
    assert_eq!(world.questions.len(), 1);
    assert_eq!(world.questions[0].1.offers[0].replicas, 2);
    world.advise(choose("c3"));
    assert_eq!((world.runs(1), world.runs(3)), (2, 2));
    let operation = world.job("db").job.operation.unwrap();
    assert_eq!(operation.progress, Progress::Done);
}

#[test]
fn what_was_assigned_and_not_reported_is_not_offered_as_free() {
    let mut world = world(ELSEWHERE);
    world.submit(&[Document::new("a", 60, 1)]);
    let (slot, question) = world.questions.remove(0);
    world.turn([root_core::Input::Advised {
        slot,
        number: question.number,
        advice: Answer::Choose("c1".to_owned()),
    }]);
    world.submit(&[Document::new("b", 30, 1)]);
    let offers = &world.questions[0].1.offers;
    let total = |offer: &schedulers::Offer| offer.workers.unwrap().room.memory.mb();
    assert_eq!((total(&offers[0]), total(&offers[1])), (40, 100));
}

#[test]
fn nobody_is_asked_where_nothing_will_do() {
    let mut world = world(ELSEWHERE);
    world.run(&Document::new("web", 1_000, 1));
    assert_eq!(world.questions, []);
    assert_eq!(
        world.rows("web"),
        ["0 Holder NOT_DEPLOYED insufficient_memory - 0.0"]
    );
    world.join(4, 2_000);
    assert_eq!(offered(&world), ["c4"]);
    world.advise(choose("c4"));
    assert_eq!(world.runs(4), 1);
}

#[test]
fn few_questions_are_under_way_and_all_are_asked() {
    let mut world = World::of(&[100_000]);
    world.schedule_by(ELSEWHERE);
    world.run(&Document::new("web", 10, 100));
    assert_eq!(world.questions.len(), OPEN);
    for _ in 0..100 {
        world.advise(choose("c1"));
    }
    assert_eq!((world.runs(1), world.questions.len()), (100, 0));
}

#[test]
fn a_choice_that_has_no_room_any_more_is_made_again_and_not_for_ever() {
    let mut world = world(ELSEWHERE);
    world.run(&Document::new("a", 60, 1));
    world.run(&Document::new("b", 60, 1));
    assert_eq!(world.questions.len(), 2);
    // Both get the same place: there is room for one.
    world.advise(choose("c1"));
    assert_eq!(world.runs(1), 1);
    assert_eq!(offered(&world), ["c2", "c3"], "it is told so");
    world.advise(choose("c2"));
    assert_eq!((world.runs(1), world.runs(2)), (1, 1));
    // A scheduler that does not listen has its way no longer.
    world.run(&Document::new("c", 60, 1));
    for _ in 0..TRIES {
        world.advise(choose("c1"));
    }
    assert_eq!(world.runs(3), 1, "{:?}", world.told("c"));
    assert_told(&world, "c", "had no room any more");
}

#[test]
fn what_is_no_answer_is_made_up_for_as_declared() {
    let mut world = world(ELSEWHERE);
    world.run(&Document::new("web", 10, 1));
    world.advise(garbage);
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c1 1.1"]);
    assert_told(
        &world,
        "web",
        "failed: its answer cannot be used) chose cluster c1 out of 3",
    );
    world.run(&Document::new("db", 10, 1));
    assert_eq!(world.questions.len(), 1, "others are asked about as before");
    world.advise(choose("a-stranger"));
    assert_eq!(world.count("db", "RUNNING"), 1);
    assert_told(&world, "db", "\"a-stranger\", which was not offered");

    let mut world = self::world("http://127.0.0.1:10004 fallback=none");
    world.run(&Document::new("web", 10, 2));
    world.advise(garbage);
    assert_eq!(
        world.rows("web"),
        [
            "0 Holder NOT_DEPLOYED scheduler_fault - 0.0",
            "1 Holder NOT_DEPLOYED scheduler_fault - 0.0"
        ]
    );
    assert_told(&world, "web", "its answer cannot be used");
    // Room is not what they wait for.
    world.join(4, 100);
    assert_eq!(world.questions, []);
    world.pass(61);
    assert_eq!(world.questions.len(), 2, "it is asked again after a pause");
    world.advise(choose("c2"));
    assert_eq!(world.runs(2), 2);
}

#[test]
fn a_scheduler_that_is_away_is_left_alone_for_a_while() {
    let mut world = world("http://127.0.0.1:10004 fallback=location");
    for job in ["a", "b", "c"] {
        world.run(&Document::new(job, 10, 1));
    }
    assert_eq!(world.questions.len(), 3);
    let others = world.questions.split_off(1);
    world.advise(silence);
    assert_eq!(world.state.scheduler_rests(), Some("connection refused"));
    for job in ["a", "b", "c"] {
        assert_eq!(world.count(job, "RUNNING"), 1, "{job}");
        assert_told(&world, job, "by location (the scheduler");
    }
    // Answers that come after all change nothing.
    let before = world.slots();
    world.questions = others;
    world.advise(choose("c3"));
    assert_eq!(world.slots(), before);
    world.run(&Document::new("d", 10, 1));
    assert_eq!((world.questions.len(), world.count("d", "RUNNING")), (0, 1));
    world.pass(61);
    assert_eq!(world.state.scheduler_rests(), None);
    world.run(&Document::new("e", 10, 1));
    world.advise(choose("c3"));
    assert_told(&world, "e", "assigned to cluster c3 by http://");

    let mut world = self::world("http://127.0.0.1:10004 fallback=none");
    world.run(&Document::new("web", 10, 2));
    world.advise(silence);
    assert_eq!(
        world.rows("web")[0],
        "0 Holder NOT_DEPLOYED scheduler_fault - 0.0"
    );
    world.join(4, 100);
    world.pass(61);
    world.advise(choose("c1"));
    assert_eq!(world.count("web", "RUNNING"), 2);
}

#[test]
fn a_question_that_the_shell_forgets_is_answered_by_time() {
    let mut world = world(ELSEWHERE);
    world.run(&Document::new("web", 10, 1));
    world.questions.clear();
    world.pass(3);
    assert_eq!(world.count("web", "RUNNING"), 0);
    world.pass(2);
    assert_eq!(world.count("web", "RUNNING"), 1, "{:?}", world.told("web"));
}

#[test]
fn it_may_decline_and_is_asked_again_when_something_becomes_free() {
    let mut world = world(ELSEWHERE);
    world.run(&Document::new("web", 10, 2));
    world.advise(nobody);
    assert_eq!(world.rows("web")[0], "0 Holder NOT_DEPLOYED refused - 0.0");
    assert_told(&world, "web", "places it nowhere: all are asleep");
    world.pass(5);
    assert_eq!(world.questions, [], "nothing became free");
    world.join(4, 100);
    assert_eq!(world.questions.len(), 2);
    // And so it is where that was while it was asked.
    world.clusters.get_mut(&4).unwrap().grow(10);
    world.deliver();
    world.advise(nobody);
    assert_eq!(world.questions.len(), 2);
    world.advise(nobody);
    assert_eq!(world.questions, []);
    world.clusters.get_mut(&4).unwrap().grow(10);
    world.deliver();
    world.advise(choose("c4"));
    assert_eq!(world.runs(4), 2);
}

#[test]
fn an_operation_waits_for_the_answer_and_ends_where_it_is_declined() {
    let mut world = world(ELSEWHERE);
    world.run(&Document::new("web", 10, 1));
    world.advise(choose("c1"));
    world.put(&Document::new("web", 10, 2));
    world.deliver();
    let progress = |world: &World| world.job("web").job.operation.unwrap().progress;
    assert_eq!(progress(&world), Progress::Running);
    world.advise(nobody);
    assert_ne!(progress(&world), Progress::Running);
    assert_eq!(world.questions, [], "it is asked once");
}

#[test]
fn it_is_exchanged_with_nothing_lost() {
    let mut world = world(ELSEWHERE);
    world.run(&Document::new("web", 10, 2));
    let late = world.questions.clone();
    assert_eq!(late.len(), 2);
    world.schedule_by("first-fit");
    world.deliver();
    assert_eq!(world.count("web", "RUNNING"), 2);
    let before = world.slots();
    world.questions = late;
    world.advise(choose("c3"));
    assert_eq!(
        world.slots(),
        before,
        "who is not asked any more decides nothing"
    );
    // And back; what is placed stays.
    world.schedule_by("http://127.0.0.1:10005 fallback=none");
    assert_eq!(world.questions, []);
    assert_eq!(world.slots(), before);
    // What one failed on or declined, the next is asked about at once.
    world.run(&Document::new("failed", 10, 1));
    world.advise(garbage);
    world.run(&Document::new("declined", 10, 1));
    world.advise(nobody);
    world.schedule_by(ELSEWHERE);
    assert_eq!(world.questions.len(), 2);
    world.advise(choose("c2"));
    assert_eq!(world.count("failed", "RUNNING"), 1);
    assert_eq!(world.count("declined", "RUNNING"), 1);
    world.restart();
    world.pass(2);
    let kept = world.state.policy().name();
    assert_eq!(kept, ELSEWHERE, "it is in the store");
    assert_told(&world, "failed", "http://127.0.0.1:10004 chose cluster c2");
}

#[test]
fn what_was_asked_before_a_restart_is_asked_again() {
    let mut world = world(ELSEWHERE);
    world.run(&Document::new("web", 10, 1));
    world.questions.clear();
    world.restart();
    world.pass(2);
    assert_eq!(world.questions.len(), 1);
    world.advise(choose("c2"));
    assert_eq!(world.runs(2), 1);
}

#[test]
fn what_a_lost_cluster_had_is_asked_about() {
    let mut world = world(ELSEWHERE);
    world.run(&Document {
        on_partition: OnPartition::Move,
        ..Document::new("web", 10, 1)
    });
    world.advise(choose("c1"));
    world.cut(1);
    world.pass(60);
    assert_eq!(offered(&world), ["c2", "c3"]);
    world.advise(choose("c3"));
    assert_eq!(
        world.rows("web"),
        ["0 Dangling UNKNOWN c1 1.1", "0 Holder RUNNING c3 2.1"]
    );
}

#[test]
fn what_its_cluster_cannot_place_is_asked_about_without_that_one() {
    let mut world = World::of(&[100, 100, 100]);
    world.clusters.get_mut(&1).unwrap().claims = 500;
    world.clusters.get_mut(&1).unwrap().grow(0);
    world.deliver();
    world.schedule_by(ELSEWHERE);
    world.clusters.get_mut(&1).unwrap().memory = 5;
    world.run(&Document::new("web", 10, 1));
    world.advise(choose("c1"));
    world.pass(2);
    assert_eq!(offered(&world), ["c2", "c3"], "{:?}", world.rows("web"));
    world.advise(choose("c3"));
    assert_eq!(world.runs(3), 1);
}

#[test]
fn what_a_drained_cluster_has_is_asked_about_and_runs_on_meanwhile() {
    let mut world = world(ELSEWHERE);
    world.run(&Document::new("web", 10, 1));
    world.advise(choose("c1"));
    world.schedule_on(1, Scheduling::Draining);
    world.deliver();
    assert_eq!(world.count("web", "RUNNING"), 1, "it runs on meanwhile");
    assert_eq!(offered(&world), ["c2", "c3"]);
    world.advise(choose("c3"));
    world.pass(5);
    assert_eq!((world.runs(1), world.runs(3)), (0, 1));
    // It stays where nobody takes it.
    world.schedule_on(3, Scheduling::Draining);
    world.advise(nobody);
    world.pass(5);
    assert_eq!(world.count("web", "RUNNING"), 1);
    assert_eq!(world.runs(3), 1);
    assert_told(&world, "web", "places it nowhere: all are asleep");
}

#[test]
fn a_migration_goes_where_it_is_ordered_to_without_a_question() {
    for strategy in [Strategy::StartFirst, Strategy::StopFirst] {
        let mut world = world(ELSEWHERE);
        world.run(&Document::new("web", 10, 1));
        world.advise(choose("c1"));
        let answer = world.request(JobRequest::Migrate {
            key: "web".to_owned(),
            instance: None,
            cluster: Some("c2".to_owned()),
            worker: None,
            strategy: Some(strategy),
        });
        assert!(matches!(answer, JobAnswer::Replacing(_)), "{answer:?}");
        world.pass(5);
        assert_eq!(world.questions, []);
        assert_eq!(world.runs(2), 1, "{:?}", world.rows("web"));
    }
}

#[test]
fn a_deleted_job_is_not_asked_about_any_more() {
    let mut world = world(ELSEWHERE);
    world.run(&Document::new("web", 10, 1));
    world.delete("web");
    world.deliver();
    world.advise(choose("c1"));
    assert_eq!((world.runs(1), world.slots().len()), (0, 0));
}

#[test]
fn who_is_asked_about_waits_on_while_others_like_it_find_no_room() {
    let mut world = World::of(&[5]);
    // It says that it has more than it has, and gives back what it cannot place.
    world.clusters.get_mut(&1).unwrap().claims = 500;
    world.clusters.get_mut(&1).unwrap().grow(0);
    world.deliver();
    world.schedule_by(ELSEWHERE);
    world.run(&Document::new("web", 10, 1));
    world.advise(choose("c1"));
    assert_eq!(world.count("web", "NOT_DEPLOYED"), 1);
    world.put(&Document::new("web", 10, 2));
    assert_eq!(offered(&world), ["c1"], "it has not given this one back");
    world.join(2, 5);
    world.advise(choose("c1"));
    let given = world.slots();
    assert!(
        given.values().all(|record| record.assignment == 1),
        "{given:?}"
    );
    assert_eq!(given.len(), 2);
}
