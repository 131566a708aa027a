//! What happened, event by event.

use expect_test::expect;
use model::event::Tier;

use super::*;

#[test]
fn events_and_their_confirmation_look_like_this() {
    let telling = telling();
    let payload = events::encode(&telling);
    assert_eq!(events::decode(&payload).unwrap(), telling);
    let value = uplink::events(&telling);
    assert_eq!(uplink::read_events(&value).unwrap(), telling);
    assert_eq!(value, serde_json::from_slice::<Value>(&payload).unwrap());

    let stamp = Stamp { line: 7, number: 5 };
    let confirmed = question::encode_confirmed(stamp);
    assert_eq!(
        question::decode(&confirmed).unwrap(),
        Some(question::Question::Confirmed(stamp))
    );
    let value = uplink::confirmed(stamp);
    assert_eq!(uplink::read_confirmed(&value).unwrap(), stamp);
    assert!(uplink::read_ask(&value).is_err());
    assert!(uplink::read_confirmed(&uplink::ask(question::Ask::Adopt)).is_err());

    let texts = [payload, confirmed].map(|text| String::from_utf8(text).unwrap());
    expect![[r#"
        {"version":1,"after":{"line":"ffffffffffffffff","number":4},"events":[{"line":"0000000000000abc","number":5,"at":"2026-11-05T08:30:00.123Z","tier":"worker","job":"job_00000000000000000000000001","instance":"ins_00000000000000000000000002","generation":[2,1],"from":"RUNNING","to":"FAILED","cause":"exited","message":"it ended"},{"line":"0000000000000abc","number":8,"count":3,"at":"2026-11-05T08:30:00.123Z","tier":"worker","job":"job_00000000000000000000000001","generation":[2,1],"to":"RUNNING","cause":"exited"}]}
        {"version":1,"ask":"confirmed","line":"0000000000000007","number":5}"#]]
    .assert_eq(&texts.join("\n"));
}

#[test]
fn a_report_says_whether_its_sender_tells() {
    for tells in [true, false] {
        let mut report = up(false, vec![instance_report(1, failed())], Vec::new());
        report.tells = tells;
        let text = instances::encode(&report, &held()).remove(0);
        let said = String::from_utf8(text.clone()).unwrap().contains("tells");
        assert_eq!(said, tells);
        let piece = instances::decode(&text).unwrap();
        let mut assembler = parts::Assembler::default();
        assert_eq!(assembler.take(piece).unwrap().report.tells, tells);
    }
}

#[test]
fn a_newer_word_changes_its_own_event_only_and_nobody_speaks_as_the_root() {
    let mut value = uplink::events(&telling());
    value["events"][0]["to"] = "DREAMING".into();
    value["events"][0]["mood"] = "good".into();
    value["events"][1]["tier"] = "root".into();
    let read = uplink::read_events(&value).unwrap();
    let words: Vec<_> = read
        .events
        .iter()
        .map(|told| {
            (
                told.stamp.number,
                told.event.tier,
                told.event.from,
                told.event.to,
            )
        })
        .collect();
    assert_eq!(
        words,
        [
            (5, Tier::Worker, "RUNNING", "UNKNOWN"),
            (8, Tier::Cluster, "", "RUNNING"),
        ]
    );
}

#[test]
fn too_many_events_and_stamps_that_are_none_are_refused_and_long_words_cut() {
    let mut value = uplink::events(&telling());
    let one = value["events"][0].clone();
    value["events"] = vec![one.clone(); 257].into();
    assert!(uplink::read_events(&value).is_err());
    for (field, bad) in [
        ("line", "7".into()),
        ("number", (-1).into()),
        ("job", "shop".into()),
    ] {
        let mut bad_one = one.clone();
        bad_one[field] = bad;
        value["events"] = vec![bad_one].into();
        assert!(uplink::read_events(&value).is_err(), "{field}");
    }
    let mut long = one;
    long["cause"] = "x".repeat(1_000).into();
    long["message"] = "x".repeat(10_000).into();
    value["events"] = vec![long].into();
    let read = uplink::read_events(&value).unwrap();
    let event = &read.events[0].event;
    assert_eq!((event.cause.len(), event.message.len()), (64, 2_048));
}
