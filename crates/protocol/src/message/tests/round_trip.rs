use proptest::prelude::*;

use super::*;

#[test]
fn a_change_survives_and_shares_what_was_shared() {
    let change = control_change();
    let read = control::decode(&control::encode(&change, &[])).unwrap();
    assert_eq!(read, change);
    let services: Vec<&Arc<ServiceSpec>> = read
        .put
        .iter()
        .filter_map(|entry| match &entry.value {
            NodeItem::Instance(desired) => Some(&desired.service),
            NodeItem::Settings(_) => None,
        })
        .collect();
    assert!(Arc::ptr_eq(services[0], services[1]));
    let change = Change {
        part: 2,
        parts: 3,
        base: None,
        adopted: None,
        ..super::change(
            (1..20)
                .map(|number| assignment_entry(desired(number)))
                .collect(),
            vec![desired(30).slot],
        )
    };
    assert_eq!(
        uplink::read_assign(&uplink::assign(&change, &[])).unwrap(),
        change
    );
}

#[test]
fn everything_said_upwards_survives() {
    let (held, beat) = (held(), beat());
    assert_eq!(
        sync::decode(&sync::encode(&held, &beat)).unwrap(),
        (held, beat)
    );
    assert_eq!(
        uplink::read_sync(&uplink::sync(&held, &beat)).unwrap(),
        (held, beat)
    );
    let mut information = information_message();
    information.silent = [model::workload::RuntimeKind::Docker].into();
    let payload = information::encode(&information, []);
    assert_eq!(information::decode(&payload).unwrap(), information);
    let standing = standing();
    assert_eq!(
        uplink::Standing::decode(&standing.encode()).unwrap(),
        standing
    );
    let slots = vec![
        slot_entry(slot_report(every_state(), true)),
        slot_entry(slot_report([], false)),
    ];
    let report = up(false, slots, vec![desired(2).slot]);
    let pieces = uplink::report(&report, &held);
    let piece = uplink::read_report(&pieces[0]).unwrap();
    assert_eq!(Assembler::default().take(piece).unwrap().report, report);
}

#[test]
fn handshakes_and_questions_survive() {
    let request = register_request();
    assert_eq!(
        register::Request::decode(&request.encode()).unwrap(),
        request
    );
    for answer in [Ok(register_welcome()), Err(refused())] {
        let read = register::read_answer(&register::answer(&answer)).unwrap();
        assert_eq!(read, answer);
    }
    for request in [uplink_request(), uplink_request_of_a_store()] {
        assert_eq!(uplink::Request::decode(&request.encode()).unwrap(), request);
    }
    for question in questions() {
        let read = uplink::Question::decode(&question.encode()).unwrap();
        assert_eq!(read, question);
    }
    for ask in [question::Ask::WholeReport, question::Ask::Adopt] {
        let read = question::decode(&question::encode(ask)).unwrap();
        assert_eq!(read, Some(question::Question::Ask(ask)));
        assert_eq!(uplink::read_ask(&uplink::ask(ask)).unwrap(), ask);
    }
    assert_eq!(question::decode(b"").unwrap(), None);
    for stream in streams() {
        let read = question::decode(&question::encode_stream(&stream)).unwrap();
        assert_eq!(read, Some(question::Question::Stream(stream.clone())));
        let value = uplink::stream(&stream);
        assert_eq!(uplink::read_stream(&value).unwrap(), stream);
        assert!(uplink::read_ask(&value).is_err());
    }
    for chunk in chunks() {
        assert_eq!(reply::decode(&reply::encode(&chunk)).unwrap(), chunk);
        let value = uplink::chunk(&request_id("r-1"), &chunk);
        let read = uplink::read_chunk(&value).unwrap();
        assert_eq!(read, (request_id("r-1"), chunk));
    }
    let body = serde_json::json!({"items": [1, 2]});
    assert_eq!(
        uplink::read_reply(&uplink::reply(Ok(body.clone()))).unwrap(),
        Ok(body)
    );
}

#[test]
fn an_unknown_reason_of_a_newer_program_is_read_as_a_fault_and_the_digest_holds() {
    let newer = |text: String| {
        text.replace("\"crash_loop\"", "\"bad_weather\"")
            .replace("\"insufficient_memory\"", "\"bad_weather\"")
            .replace("\"cordoned\"", "\"eclipse\"")
    };
    let report = up(true, vec![instance_report(1, failed())], Vec::new());
    let text = String::from_utf8(instances::encode(&report, &held()).remove(0)).unwrap();
    let piece = instances::decode(newer(text).as_bytes()).unwrap();
    let read = &piece.content.report.states[0];
    let Observed::Failed { reason, .. } = &read.value.report.observed else {
        panic!("it failed");
    };
    let fault = Reason::new(ReasonCode::WorkerFault, "it ended again");
    assert_eq!(*reason, fault);
    let identity = report.states[0].value.identity();
    let identity = identity.replace("crash_loop", "bad_weather");
    let sender = ::sync::Entry::new((), (), &identity, 0);
    assert_eq!(Item::mark(read), Item::mark(&sender));

    let sent = slot_report(every_state(), true);
    let identity = sent.identity();
    assert!(identity.contains(" crash_loop "), "{identity}");
    let identity = identity
        .replace("crash_loop", "bad_weather")
        .replace("insufficient_memory", "bad_weather");
    let report = up(true, vec![slot_entry(sent)], Vec::new());
    let text = uplink::report(&report, &held()).remove(0).to_string();
    let value: Value = serde_json::from_str(&newer(text)).unwrap();
    let piece = uplink::read_report(&value).unwrap();
    let read = &piece.content.report.states[0];
    let offer = read.value.offer.as_ref().unwrap();
    assert_eq!(offer.reason.code, ReasonCode::WorkerFault);
    let counts: Vec<_> = offer.rejections.iter().collect();
    let names = ["worker-1", "worker-2", "worker-3"].map(str::to_owned);
    assert_eq!(counts, [(ReasonCode::WorkerFault, 3, names.as_slice())]);
    let sender = ::sync::Entry::new((), (), &identity, 0);
    assert_eq!(Item::mark(read), Item::mark(&sender));
}

#[test]
fn who_does_not_say_that_everything_is_told_has_not_told_everything() {
    let text = String::from_utf8(sync::encode(&held(), &beat())).unwrap();
    let (_, told) = sync::decode(text.as_bytes()).unwrap();
    assert!(told.settled);
    let older = text.replace(",\"settled\":true", "");
    assert_ne!(older, text);
    let (_, told) = sync::decode(older.as_bytes()).unwrap();
    assert_eq!((told.settled, told.sequence), (false, beat().sequence));
}

/// A worker with 2,000 instances that all crashed with the longest last words.
#[test]
fn what_no_packet_holds_goes_in_parts_that_do_and_comes_together_again() {
    let report = Report {
        last_exit: Some(Exit {
            log_tail: vec!["x".repeat(200); 20],
            ..exit()
        }),
        ..failed()
    };
    let states = (0..2_000)
        .map(|number| instance_report(number, report.clone()))
        .collect();
    let gone = (5_000..13_000).map(InstanceId::from_bits).collect();
    let report = up(true, states, gone);
    let parts = instances::encode(&report, &held());
    assert!(parts.len() > 30);
    let mut assembler = Assembler::default();
    let mut whole = None;
    for part in &parts {
        assert!(part.len() < LARGEST - 64, "{}", part.len());
        assert!(whole.is_none());
        whole = assembler.take(instances::decode(part).unwrap());
    }
    let whole = whole.unwrap();
    assert_eq!((whole.report, whole.held), (report, held()));

    let all: Vec<Desired> = (0..5_000).map(desired).collect();
    let parts = adopt::encode(&held(), &all);
    let mut assembler = Assembler::default();
    let mut whole = None;
    for part in &parts {
        assert!(part.len() < LARGEST - 64, "{}", part.len());
        whole = assembler.take(adopt::decode(part).unwrap());
    }
    assert!(parts.len() > 1);
    assert_eq!(whole.unwrap().desired, all);
}

#[test]
fn a_part_that_was_lost_gives_the_whole_message_up() {
    let states = (0..4_000)
        .map(|number| instance_report(number, running()))
        .collect();
    let report = up(true, states, Vec::new());
    let encoded = instances::encode(&report, &held());
    let parts: Vec<_> = encoded
        .iter()
        .map(|part| instances::decode(part).unwrap())
        .collect();
    assert!(parts.len() > 2);
    let mut assembler = Assembler::default();
    assert!(assembler.take(parts[0].clone()).is_none());
    for part in &parts[2..] {
        assert!(assembler.take(part.clone()).is_none());
    }
    // The same again, whole.
    let whole = parts.iter().filter_map(|part| assembler.take(part.clone()));
    assert_eq!(whole.count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_change_survives(
        numbers in proptest::collection::btree_set(0..60_u32, 0..30),
        removed in proptest::collection::vec(any::<u128>(), 0..5),
        base in any::<Option<u64>>(),
        revision in any::<u64>(),
        (nonce, runs) in (any::<u64>(), 0..20_usize),
        digest in any::<u128>(),
    ) {
        let term = (0..runs).fold(Term::default().next(nonce), |term, run| term.next(nonce ^ run as u64));
        let change = Change {
            base,
            revision,
            term,
            digest: Digest(digest),
            ..super::change(
                numbers.into_iter().map(|number| desired_entry(NodeItem::Instance(desired(number)))).collect(),
                removed.into_iter().map(|bits| NodeKey::Instance(InstanceId::from_bits(bits))).collect(),
            )
        };
        prop_assert_eq!(control::decode(&control::encode(&change, &[])).unwrap(), change);
    }

    #[test]
    fn any_numbers_survive(
        incarnation in any::<Option<u128>>(),
        numbers in any::<[u64; 5]>(),
        digests in any::<[u128; 2]>(),
        flags in any::<[bool; 2]>(),
    ) {
        let held = Held {
            incarnation: incarnation.map(Incarnation),
            term: numbers[0],
            nonce: numbers[1],
            revision: numbers[2],
            desired_digest: Digest(digests[0]),
            staged: None,
            want_whole: flags[0],
            superseded: flags[1],
        };
        let beat = Beat { boot: numbers[3], sequence: numbers[4], observed_digest: Digest(digests[1]), settled: numbers[4].is_multiple_of(2) };
        prop_assert_eq!(sync::decode(&sync::encode(&held, &beat)).unwrap(), (held, beat));
    }
}
