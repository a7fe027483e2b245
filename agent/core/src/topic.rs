//! MQTT topic filters, as far as the engine must know which message is for whom (MQTT 3.1.1, 4.7).

use openclaw_protocol::run::RunError;

use crate::fault;

/// The longest filter, in bytes.
const FILTER_BYTES: usize = 1_024;

/// Whether a text is a topic filter.
///
/// # Errors
/// `expr.type`: it is not.
pub(crate) fn check_filter(filter: &str) -> Result<(), RunError> {
    let levels: Vec<&str> = filter.split('/').collect();
    let last = levels.len() - 1;
    let ok = !filter.is_empty()
        && filter.len() <= FILTER_BYTES
        && !filter.contains('\0')
        && levels.iter().enumerate().all(|(place, level)| match *level {
            "#" => place == last,
            "+" => true,
            other => !other.contains(['#', '+']),
        });
    if ok {
        return Ok(());
    }
    let shown = fault::cut_to(filter.to_owned(), 80);
    Err(fault::fault("expr.type", format!("`{shown}` is no topic filter")))
}

/// Whether a text is a topic that can be published to.
///
/// # Errors
/// `expr.type`: it is not.
pub(crate) fn check_name(topic: &str) -> Result<(), RunError> {
    let wrong = topic.is_empty() || topic.len() > FILTER_BYTES || topic.contains(['#', '+', '\0']);
    if !wrong {
        return Ok(());
    }
    let shown = fault::cut_to(topic.to_owned(), 80);
    Err(fault::fault("expr.type", format!("`{shown}` is no topic to publish to")))
}

/// Whether a topic is one of those that a filter means.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    // Topics that begin with `$` are the broker's own and no wildcard means them.
    if topic.starts_with('$') && filter.starts_with(['#', '+']) {
        return false;
    }
    let mut topic = topic.split('/');
    for level in filter.split('/') {
        match (level, topic.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (wanted, Some(found)) if wanted == found => {}
            (_, _) => return false,
        }
    }
    topic.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_mean_what_the_standard_says() {
        for (filter, topic, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/+", "a/b", true),
            ("a/+", "a", false),
            ("a/+", "a/", true),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("#", "a/b", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("+/+", "/finance", true),
            ("+", "/finance", false),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
    }

    #[test]
    fn wrong_filters_and_topics_are_refused() {
        for wrong in ["", "a#", "a/#/b", "+a", "a\0"] {
            assert!(check_filter(wrong).is_err(), "{wrong}");
        }
        assert!(check_filter("site/+/temp/#").is_ok());
        for wrong in ["", "a/+", "#"] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
    }
}
