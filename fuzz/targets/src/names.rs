//! Topics, filters, ids, names and times.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use model::id::{ClusterId, InstanceId, JobId, NodeId};
use model::name::Name;
use mqtt::filter::Filter;
use protocol::topic::Topic;
use protocol::{stored, time};

/// Reads the text as everything short that comes in a topic, a path or a field.
///
/// What is read and printed is read again as the same; a topic and an id have one spelling.
pub fn names(data: &[u8]) {
    let _ = stored::key::read_id(data);
    let _ = stored::key::read_event(data);
    let _ = stored::key::read_slot(data);
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    one_spelling::<Topic>(text);
    again::<NodeId>(text);
    again::<ClusterId>(text);
    again::<JobId>(text);
    again::<InstanceId>(text);
    if let Ok(name) = Name::new(text) {
        assert_eq!(name.as_str(), text);
    }
    let _ = time::parse_duration(text);
    let _ = time::parse_wall(text);
    filter(text);
}

fn again<T: FromStr + Display + Debug + PartialEq>(text: &str) {
    if let Ok(read) = text.parse::<T>() {
        assert_eq!(read.to_string().parse().ok(), Some(read));
    }
}

fn one_spelling<T: FromStr + Display>(text: &str) {
    if let Ok(read) = text.parse::<T>() {
        assert_eq!(read.to_string(), text);
    }
}

/// The first line is a filter, the second a topic. A filter without wildcards matches itself and nothing else.
fn filter(text: &str) {
    let (filter, topic) = text.split_once('\n').unwrap_or((text, text));
    if let Ok(read) = Filter::parse(filter) {
        let matches = read.matches(topic);
        if !filter.contains(['+', '#']) {
            assert_eq!(matches, filter == topic, "{filter:?} on {topic:?}");
        }
    }
}
