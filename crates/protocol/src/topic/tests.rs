use model::id::NodeId;
use proptest::prelude::*;

use super::*;

fn topics() -> impl Strategy<Value = Topic> {
    (any::<u128>(), 0..7_u8, "[A-Za-z0-9._-]{1,64}").prop_map(|(bits, which, request)| {
        let node = NodeId::from_bits(bits);
        match which {
            0 => Topic::Information(node),
            1 => Topic::Instances(node),
            2 => Topic::Sync(node),
            3 => Topic::Connection(node),
            4 => Topic::Control(node),
            5 => Topic::Request(node),
            _ => Topic::Reply { node, request },
        }
    })
}

proptest! {
    #[test]
    fn every_topic_survives_being_printed_and_read(topic in topics()) {
        prop_assert_eq!(topic.to_string().parse::<Topic>(), Ok(topic));
    }

    #[test]
    fn whatever_is_read_prints_as_it_was(text in "(nodes/)?(node_[0-9A-Za-z]{26}|[ -~]{0,8})(/[a-z]{0,12}){0,3}") {
        if let Ok(topic) = text.parse::<Topic>() {
            prop_assert_eq!(topic.to_string(), text);
        }
    }

    #[test]
    fn a_changed_character_gives_another_topic_or_none(topic in topics(), at in any::<prop::sample::Index>(), with in any::<char>()) {
        let before: Vec<char> = topic.to_string().chars().collect();
        let mut after = before.clone();
        after[at.index(before.len())] = with;
        prop_assume!(before != after);
        let text: String = after.iter().collect();
        if let Ok(other) = text.parse::<Topic>() {
            prop_assert_ne!(&other, &topic);
            prop_assert_eq!(other.to_string(), text);
        }
    }
}

#[test]
fn what_is_no_topic_is_refused_with_the_reason() {
    let node = NodeId::from_bits(0x0192_0000_0000_0000_0000_0000_0000_0abc);
    let cases = [
        (String::new(), TopicError::Form),
        ("/".into(), TopicError::Form),
        (format!("/nodes/{node}/sync"), TopicError::Form),
        (format!("nodes/{node}"), TopicError::Form),
        (format!("nodes/{node}/"), TopicError::Leaf),
        (format!("nodes/{node}/sync/"), TopicError::Leaf),
        (format!("nodes/{node}/Sync"), TopicError::Leaf),
        (format!("nodes/{node}/reply"), TopicError::Leaf),
        (format!("nodes/{node}/reply/"), TopicError::Request),
        (format!("nodes/{node}/reply/a/b"), TopicError::Request),
        (format!("nodes/{node}/reply/+"), TopicError::Request),
        (format!("nodes/{node}/reply/é"), TopicError::Request),
        (
            format!("nodes/{node}/reply/{}", "x".repeat(REQUEST_LIMIT + 1)),
            TopicError::Request,
        ),
        (
            format!("nodes/{}/sync", node.to_string().replace("node_", "NODE_")),
            TopicError::Node,
        ),
        (
            format!("nodes/{}/sync", node.to_string().to_lowercase()),
            TopicError::Node,
        ),
        ("nodes/+/sync".into(), TopicError::Node),
        ("nodes/node_1/sync".into(), TopicError::Node),
        (format!("nodes/{node}/#"), TopicError::Leaf),
        (format!("nodes/{node}/sync\0"), TopicError::Leaf),
    ];
    for (text, why) in cases {
        assert_eq!(text.parse::<Topic>(), Err(why), "{text:?}");
    }
}

#[test]
fn only_control_and_request_travel_down() {
    let node = NodeId::from_bits(7);
    assert_eq!(Topic::Control(node).direction(), Direction::Down);
    assert_eq!(Topic::Request(node).direction(), Direction::Down);
    assert_eq!(Topic::Sync(node).direction(), Direction::Up);
    assert_eq!(
        Topic::Reply {
            node,
            request: "r".into()
        }
        .direction(),
        Direction::Up
    );
    assert_eq!(Topic::Sync(node).node(), node);
}
