use proptest::prelude::*;

use super::*;

/// Everything that reads a message of MQTT.
fn read_all(payload: &[u8]) {
    let _ = control::decode(payload);
    let _ = sync::decode(payload);
    let _ = instances::decode(payload);
    let _ = information::decode(payload);
    let _ = adopt::decode(payload);
    let _ = events::decode(payload);
    let _ = question::decode(payload);
    let _ = reply::decode(payload);
    let _ = connection::decode(payload);
    if let Ok(value) = serde_json::from_slice::<Value>(payload) {
        let _ = register::Request::decode(&value);
        let _ = register::read_answer(&value);
        let _ = uplink::Request::decode(&value);
        let _ = uplink::read_answer(&value);
        let _ = uplink::read_sync(&value);
        let _ = uplink::read_report(&value);
        let _ = uplink::read_adoption(&value);
        let _ = uplink::read_events(&value);
        let _ = uplink::read_confirmed(&value);
        let _ = uplink::read_assign(&value);
        let _ = uplink::read_ask(&value);
        let _ = uplink::Standing::decode(&value);
        let _ = uplink::Question::decode(&value);
        let _ = uplink::read_reply(&value);
        let _ = uplink::read_stream(&value);
        let _ = uplink::read_chunk(&value);
        let _ = uplink::relay::Frame::decode(&value);
    }
}

pub(super) fn real_messages() -> Vec<Vec<u8>> {
    let report = up(true, vec![instance_report(1, failed())], Vec::new());
    let slots = up(
        true,
        vec![slot_entry(slot_report(every_state(), true))],
        Vec::new(),
    );
    let mut all = vec![
        control::encode(&control_change(), &[]),
        sync::encode(&held(), &beat()),
        information::encode(&information_message(), []),
        events::encode(&telling()),
        question::encode_confirmed(Stamp { line: 7, number: 5 }),
        register_request().encode().to_string().into_bytes(),
        standing().encode().to_string().into_bytes(),
        uplink_request().encode().to_string().into_bytes(),
    ];
    all.extend(streams().iter().map(question::encode_stream));
    all.extend(chunks().iter().map(reply::encode));
    all.extend(fallbacks().iter().map(question::encode_fallback));
    let frames = frames();
    all.extend(
        frames
            .iter()
            .map(|frame| frame.encode().to_string().into_bytes()),
    );
    all.extend(instances::encode(&report, &held()));
    all.extend(adopt::encode(&held(), &[desired(1)]));
    let slots = uplink::report(&slots, &held());
    all.extend(slots.iter().map(|value| value.to_string().into_bytes()));
    all
}

#[test]
fn what_is_unknown_is_ignored_and_another_version_is_named() {
    let payload = sync::encode(&held(), &beat());
    let mut value: Value = serde_json::from_slice(&payload).unwrap();
    value["from_the_future"] = serde_json::json!({"deep": [1, 2, 3]});
    let (read, _) = sync::decode(value.to_string().as_bytes()).unwrap();
    assert_eq!(read, held());
    value["version"] = 2.into();
    let error = sync::decode(value.to_string().as_bytes()).unwrap_err();
    assert!(matches!(error, MessageError::Version { found: 2 }));
    assert!(error.to_string().contains("update the older"));
}

#[test]
fn what_is_too_large_or_too_deep_is_not_read() {
    let large = vec![b' '; LARGEST + 1];
    assert!(matches!(
        sync::decode(&large),
        Err(MessageError::TooLarge { .. })
    ));
    let deep = format!("{{\"version\":1,\"x\":{}", "[".repeat(200_000));
    read_all(deep.as_bytes());
    assert!(sync::decode(deep.as_bytes()).is_err());
}

#[test]
fn a_workload_that_was_tampered_with_is_refused() {
    let text = String::from_utf8(control::encode(&control_change(), &[])).unwrap();
    let tampered = text.replacen("/bin/echo", "/bin/evil", 1);
    assert_ne!(text, tampered);
    assert!(matches!(
        control::decode(tampered.as_bytes()),
        Err(MessageError::Workload(WorkloadError::HashMismatch { .. }))
    ));
}

#[test]
fn numbers_that_mean_nothing_are_refused() {
    let check = |field: &str, bad: &str| {
        let payload = information::encode(&information_message(), []);
        let mut value: Value = serde_json::from_slice(&payload).unwrap();
        value[field] = Value::Null;
        let text = value.to_string().replacen("null", bad, 1);
        assert!(
            information::decode(text.as_bytes()).is_err(),
            "{field} {bad}"
        );
    };
    for bad in ["NaN", "1e999", "-1", "101", "null", "\"5\"", "true"] {
        check("cpu", bad);
        check("memory", bad);
    }
    for bad in ["-0.1", "1e300", "[]"] {
        check("free_cores", bad);
    }
    for bad in ["-1", "1.5", "18446744073709551616"] {
        check("memory_free_in_mb", bad);
    }
    let mut odd = information_message();
    odd.usage.cpu_percent = f64::NAN;
    odd.usage.memory_percent = f64::INFINITY;
    let read = information::decode(&information::encode(&odd, [])).unwrap();
    assert!(read.usage.cpu_percent.abs() < f64::EPSILON);

    let mut request = register_request();
    request.facts.allocatable.memory = Bytes(u64::MAX);
    assert!(register::Request::decode(&request.encode()).is_err());
    for bad in ["", "a:b", "ä", &"x".repeat(65)] {
        let request = register::Request {
            boot_id: bad.to_owned(),
            ..register_request()
        };
        assert!(
            register::Request::decode(&request.encode()).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn what_is_no_signature_is_a_part_of_the_payload() {
    for message in [
        &b""[..],
        b"{}",
        b"\n",
        b"{}\n",
        b"{}\nsig1",
        b"{}\nsig2:AA",
        b"{}\nsig1:\xff",
        b"{}\nsig1:AA\n",
        b"sig1:AA",
        b"{}sig1:AA",
    ] {
        let whole = signed::Signed {
            payload: message,
            signature: None,
        };
        assert_eq!(signed::open(message), whole, "{message:?}");
    }
    for (message, payload, signature) in [
        (&b"{}\nsig1:AA"[..], &b"{}"[..], "AA"),
        (b"{\n}\nsig1:AA", b"{\n}", "AA"),
        (b"{}\nsig1:AA\nsig1:BB", b"{}\nsig1:AA", "BB"),
        (b"{}\nsig1:", b"{}", ""),
        (b"\nsig1:AA", b"", "AA"),
    ] {
        let parted = signed::Signed {
            payload,
            signature: Some(signature),
        };
        assert_eq!(signed::open(message), parted, "{message:?}");
    }
}

#[test]
fn parts_that_cannot_be_are_refused() {
    for (part, parts) in [(1, 1), (5, 3), (0, 0), (0, u32::MAX)] {
        let change = Change {
            part,
            parts,
            ..control_change()
        };
        assert!(control::decode(&control::encode(&change, &[])).is_err());
    }
    let report = up(true, vec![instance_report(1, running())], Vec::new());
    let text = String::from_utf8(instances::encode(&report, &held()).remove(0)).unwrap();
    for number in ["\"part\":1", "\"parts\":100000", "\"parts\":0"] {
        let bad = text.replacen("\"whole\"", &format!("{number},\"whole\""), 1);
        assert!(instances::decode(bad.as_bytes()).is_err(), "{number}");
    }
}

#[test]
fn surplus_is_cut_and_long_lists_are_refused() {
    let mut report = failed();
    report.observed = Observed::Failed {
        reason: Reason::new(ReasonCode::StartFailed, "ä".repeat(5_000)),
        next_attempt: None,
    };
    report.last_exit = Some(Exit {
        log_tail: vec!["y".repeat(6_000); 10],
        ..exit()
    });
    let encoded = instances::encode(&up(true, vec![instance_report(1, report)], vec![]), &held());
    let piece = instances::decode(&encoded[0]).unwrap();
    let read = &piece.content.report.states[0].value.report;
    let Observed::Failed { reason, .. } = &read.observed else {
        panic!("it failed");
    };
    assert_eq!(reason.message.len(), 2_048);
    let tail = &read.last_exit.as_ref().unwrap().log_tail;
    assert!(tail.iter().all(|line| line.len() == 4_096));

    let mut standing = standing();
    standing.aggregate.classes = vec![standing.aggregate.classes[0].clone(); 33];
    assert!(uplink::Standing::decode(&standing.encode()).is_err());
}

#[test]
fn a_capacity_that_no_machine_has_is_no_capacity() {
    use model::units::{Bytes, Millicores, Resources};
    let good = standing();
    let reads = |change: &dyn Fn(&mut uplink::Standing)| {
        let mut standing = good.clone();
        change(&mut standing);
        uplink::Standing::decode(&standing.encode()).is_ok()
    };
    let one = Resources::MACHINE;
    assert!(reads(&|it| it.aggregate.room = one.plus(one).plus(one)));
    let absurd: [&dyn Fn(&mut uplink::Standing); 8] = [
        // A million cores in each of three machines, and one more.
        &|it| it.aggregate.room.cpu = Millicores(3 * one.cpu.0 + 1),
        &|it| it.aggregate.allocatable.memory = Bytes(u64::MAX),
        &|it| it.aggregate.allocatable.disk = Bytes(3 * one.disk.0 + 1),
        &|it| it.aggregate.classes[0].total.cpu = Millicores(u64::MAX),
        &|it| it.aggregate.classes[0].holes[0].memory = Bytes(one.memory.0 + 1),
        &|it| it.aggregate.schedulable_nodes = 4,
        &|it| it.aggregate.number_of_nodes = u32::MAX,
        &|it| it.aggregate.number_of_nodes = 0,
    ];
    for (number, change) in absurd.into_iter().enumerate() {
        assert!(!reads(change), "{number}");
    }
    for percent in ["NaN", "1e999", "-1", "101"] {
        let text = good.encode().to_string();
        let text = text.replace(
            "\"cpu_percent\":12.5",
            &format!("\"cpu_percent\":{percent}"),
        );
        assert!(text.contains(percent), "{text}");
        let read = serde_json::from_str(&text);
        let read = read.map(|value| uplink::Standing::decode(&value));
        assert!(!matches!(read, Ok(Ok(_))), "{percent}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(payload in proptest::collection::vec(any::<u8>(), 0..512)) {
        read_all(&payload);
    }

    #[test]
    fn no_damage_to_a_real_message_panics(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        length in 0..8_usize,
        junk in proptest::collection::vec(any::<u8>(), 0..8),
    ) {
        let messages = real_messages();
        let mut message = messages[which.index(messages.len())].clone();
        let start = at.index(message.len());
        let end = (start + length).min(message.len());
        message.splice(start..end, junk);
        read_all(&message);
    }

    #[test]
    fn no_value_of_another_type_panics(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        other in prop::sample::select(vec!["null", "-1", "1e308", "\"\"", "[]", "{}", "true", "99999999999999999999", "[1,2,3]"]),
    ) {
        let messages = real_messages();
        let mut message: Value = serde_json::from_slice(&messages[which.index(messages.len())]).unwrap();
        let fields = message.as_object_mut().unwrap();
        let key = fields.keys().nth(at.index(fields.len())).unwrap().clone();
        fields.insert(key, serde_json::from_str(other).unwrap_or(Value::Null));
        read_all(message.to_string().as_bytes());
    }
}

#[test]
fn a_stream_with_a_bad_id_too_much_credit_or_too_much_text_is_refused() {
    let logs = streams().remove(0);
    let text = String::from_utf8(question::encode_stream(&logs)).unwrap();
    for (from, to) in [
        ("\"l-1\"", "\"\""),
        ("\"l-1\"", "\"../x\""),
        ("\"l-1\"", "\"#\""),
        ("65536", "1048577"),
        ("65536", "-1"),
        ("\"tail\":100", "\"tail\":-100"),
        ("\"logs\"", "\"no word\""),
    ] {
        let bad = text.replace(from, to);
        assert_ne!(bad, text);
        assert!(question::decode(bad.as_bytes()).is_err(), "{bad}");
    }
    let mut chunk = chunks().remove(0);
    chunk.text = "x".repeat(reply::TEXT_LIMIT);
    assert!(reply::decode(&reply::encode(&chunk)).is_ok());
    // What JSON makes longest fits the packet too.
    chunk.text = "\u{1}".repeat(reply::TEXT_LIMIT);
    assert!(reply::encode(&chunk).len() < LARGEST);
    chunk.text.push('x');
    assert!(reply::decode(&reply::encode(&chunk)).is_err());
    let newer = br#"{"version":1,"sequence":3,"text":"","end":"bored"}"#;
    assert_eq!(reply::decode(newer).unwrap().end, Some(reply::End::Unknown));
}

#[test]
fn a_frame_of_a_relayed_connection_is_small_and_of_bytes() {
    use uplink::relay::{CHUNK, Event, Frame, WINDOW};
    let read = |fields: &str| {
        let text = format!("{{\"version\":1,\"connection\":1,{fields}}}");
        Frame::decode(&serde_json::from_str(&text).unwrap())
    };
    let frame = |bytes| Frame {
        connection: 1,
        event: Event::Data(vec![7; bytes]),
    };
    assert_eq!(
        Frame::decode(&frame(CHUNK).encode()).unwrap(),
        Some(frame(CHUNK))
    );
    for bytes in [0, CHUNK + 1, 1 << 20] {
        assert!(Frame::decode(&frame(bytes).encode()).is_err(), "{bytes}");
    }
    for bad in [
        r#""event":"data","data":"%%%""#.to_owned(),
        r#""event":"data","data":"AAA""#.to_owned(),
        r#""event":"data""#.to_owned(),
        r#""event":"open","peer":"nowhere""#.to_owned(),
        r#""event":"open""#.to_owned(),
        r#""event":"credit","bytes":-1"#.to_owned(),
        format!(r#""event":"credit","bytes":{}"#, WINDOW + 1),
        format!(r#""event":"credit","bytes":{}"#, u64::MAX),
        r#""event":"no word""#.to_owned(),
    ] {
        assert!(read(&bad).is_err(), "{bad}");
    }
}
