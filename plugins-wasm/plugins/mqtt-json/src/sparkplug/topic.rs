//! `spBv1.0/GROUP/TYPE/EDGE_NODE[/DEVICE]`.

use serde::Serialize;

/// A topic, taken apart.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Topic {
    group: String,
    message_type: String,
    edge_node: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
}

impl Topic {
    pub(crate) fn parse(topic: &str) -> Result<Self, String> {
        let parts: Vec<&str> = topic.split('/').collect();
        let wrong = |why: &str| format!("the topic `{topic}` is none of Sparkplug B: {why}");
        let (head, device) = match parts[..] {
            ["spBv1.0", group, kind, node] => ([group, kind, node], None),
            ["spBv1.0", group, kind, node, device] => ([group, kind, node], Some(device)),
            _ => return Err(wrong("it is not spBv1.0/GROUP/TYPE/EDGE_NODE[/DEVICE]")),
        };
        let [group, kind, node] = head;
        let fits = match kind {
            "NBIRTH" | "NDEATH" | "NDATA" | "NCMD" => device.is_none(),
            "DBIRTH" | "DDEATH" | "DDATA" | "DCMD" => device.is_some(),
            _ => return Err(wrong("there is no such type of message")),
        };
        if !fits || parts.contains(&"") {
            return Err(wrong("N… is of an edge node, D… of a device, and none is empty"));
        }
        Ok(Self {
            group: group.to_owned(),
            message_type: kind.to_owned(),
            edge_node: node.to_owned(),
            device: device.map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_taken_apart_or_refused() {
        let topic = Topic::parse("spBv1.0/g/DDATA/n/d").map(|t| (t.message_type, t.device));
        assert_eq!(topic, Ok(("DDATA".to_owned(), Some("d".to_owned()))));
        for bad in [
            "spBv1.0/g/NDATA",
            "a/g/NDATA/n",
            "spBv1.0/g/NDATA/n/d",
            "spBv1.0/g/DDATA/n",
            "spBv1.0/g/X/n",
            "spBv1.0//NDATA/n",
            "spBv1.0/g/NDATA/n/d/e",
        ] {
            assert!(Topic::parse(bad).is_err(), "{bad}");
        }
    }
}
