//! Who may do what: nothing but what stands here is allowed.
//!
//! | who | subscribes to | publishes to | will |
//! |---|---|---|---|
//! | a worker | its own `control` and `request`, letter by letter | its own upward topics | on its own `connection` |
//! | a reader | any filter that can match an `information` or `connection`, of which it sees those two | nothing | none |
//!
//! Nobody has anything retained.

use model::id::NodeId;
use protocol::topic::{Direction, Topic};

use super::registry::Down;
use crate::filter::Filter;

/// Which of the worker's own downward topics this filter names.
pub(super) fn own(node: NodeId, filter: &str) -> Option<Down> {
    match filter.parse::<Topic>() {
        Ok(Topic::Control(of)) if of == node => Some(Down::Control),
        Ok(Topic::Request(of)) if of == node => Some(Down::Request),
        Ok(_) | Err(_) => None,
    }
}

/// The topic, if the worker may publish to it; else why not.
pub(super) fn upward(node: NodeId, topic: &str) -> Result<Topic, &'static str> {
    let topic: Topic = topic
        .parse()
        .map_err(|_| "a publish to no topic of edgeIO")?;
    if topic.node() != node || topic.direction() != Direction::Up {
        return Err("a publish to a topic that is not the worker's");
    }
    Ok(topic)
}

/// Whether readers see what is said on a topic: that a worker is there, and what it uses. What it is told to run, and what
/// that says, is between it and its cluster.
pub(super) fn is_shown(topic: &Topic) -> bool {
    match topic {
        Topic::Information(_) | Topic::Connection(_) => true,
        Topic::Instances(_)
        | Topic::Sync(_)
        | Topic::Control(_)
        | Topic::Request(_)
        | Topic::Reply { .. } => false,
    }
}

/// Whether a filter can match a topic that readers see.
pub(super) fn is_readable(filter: &Filter) -> bool {
    let mut levels = filter.as_str().split('/');
    match levels.next() {
        Some("#") => return true,
        Some("nodes" | "+") => {}
        Some(_) | None => return false,
    }
    match levels.next() {
        Some("#") => return true,
        Some(_) => {}
        None => return false,
    }
    match levels.next() {
        Some("#") => return true,
        Some("information" | "connection" | "+") => {}
        Some(_) | None => return false,
    }
    matches!(levels.next(), Some("#") | None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_readable_exactly_if_it_matches_something_that_is_shown() {
        let node = NodeId::from_bits(1);
        let shown = [Topic::Information(node), Topic::Connection(node)];
        let levels = [
            "nodes",
            "information",
            "connection",
            "control",
            "+",
            "#",
            "$SYS",
            "",
        ];
        let id = node.to_string();
        let second = [id.as_str(), "+", "#"];
        let mut readable = 0;
        for first in levels {
            for second in second {
                for rest in levels.iter().flat_map(|a| {
                    let longer = levels.iter().map(move |b| format!("/{a}/{b}"));
                    longer.chain([format!("/{a}"), String::new()])
                }) {
                    let text = format!("{first}/{second}{rest}");
                    let Ok(filter) = Filter::parse(&text) else {
                        continue;
                    };
                    let matches = shown.iter().any(|topic| filter.matches(&topic.to_string()));
                    assert_eq!(is_readable(&filter), matches, "{text}");
                    readable += usize::from(matches);
                }
            }
        }
        assert!(readable > 10, "{readable}");
        for (text, expected) in [
            ("#", true),
            ("+", false),
            ("nodes", false),
            ("$SYS/#", false),
            ("$share/g/nodes/+/information", false),
            ("nodes/+/control", false),
        ] {
            assert_eq!(
                is_readable(&Filter::parse(text).unwrap()),
                expected,
                "{text}"
            );
        }
    }
}
