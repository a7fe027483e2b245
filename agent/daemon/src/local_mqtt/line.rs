//! One connection to the site's broker: what was asked of it, and what it has not answered yet.

use std::collections::VecDeque;

use openclaw_agent_core::limits::MESSAGE_DATA_BYTES;
use openclaw_agent_core::{Message, Publication};
use openclaw_points::{Point, reach};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::ordered::VecMap;
use rumqttc::{AsyncClient, Publish, QoS, SubscribeFilter};

use super::ToSend;
use crate::limits;

/// A topic is in a message's data twice, whole and in parts with their quotes and commas.
const TOPIC_SHARE: usize = 6;
/// What a message's data has beside topic and payload, bytes at most.
const DATA_FRAME: usize = 256;

/// One connection.
pub(super) struct Line {
    pub(super) client: AsyncClient,
    pub(super) number: u64,
    pub(super) is_up: bool,
    /// What has been asked for.
    pub(super) filters: VecMap<String, u8>,
    /// The client had no room for all that is to be asked for.
    pub(super) behind: bool,
    /// Filters in packets that the client has not sent yet, and in those it has, by their number.
    pub(super) asking: VecDeque<Vec<String>>,
    pub(super) asked: VecMap<u16, Vec<String>>,
    /// Messages that the client does not have yet.
    pub(super) queue: VecDeque<ToSend>,
    /// Messages that the client has not sent yet.
    pub(super) sending: VecDeque<u64>,
    /// Messages that the broker has not acknowledged yet, by the number of their packet.
    pub(super) unacknowledged: VecMap<u16, u64>,
    /// Something was published on it.
    pub(super) progress: bool,
}

impl Line {
    pub(super) fn new(client: AsyncClient, number: u64) -> Self {
        Self {
            client,
            number,
            is_up: false,
            filters: VecMap::new(),
            behind: false,
            asking: VecDeque::new(),
            asked: VecMap::new(),
            queue: VecDeque::new(),
            sending: VecDeque::new(),
            unacknowledged: VecMap::new(),
            progress: false,
        }
    }

    /// Gives the client what it has room for; one at a time where one of them is suspected of
    /// having cost a connection.
    pub(super) fn pump(&mut self, one_at_a_time: bool) {
        while let Some(next) = self.queue.pop_front() {
            let idle = self.sending.is_empty() && self.unacknowledged.is_empty();
            let Publication { topic, qos, retain, payload, .. } = &next.publication;
            let given = (idle || !one_at_a_time)
                && self.client.try_publish(topic, qos_of(*qos), *retain, payload.clone()).is_ok();
            if !given {
                return self.queue.push_front(next);
            }
            self.sending.push_back(next.seq);
            reach(Point::MessageGiven);
        }
    }

    /// An error where the client has no room: the rest is asked for later.
    pub(super) fn ask(&mut self, wanted: &VecMap<String, u8>) -> Result<(), rumqttc::ClientError> {
        let gone: Vec<String> =
            self.filters.keys().filter(|known| !wanted.contains_key(*known)).cloned().collect();
        for filter in gone {
            self.client.try_unsubscribe(&filter)?;
            self.filters.remove(&filter);
        }
        let new: Vec<(&String, u8)> = wanted
            .iter()
            .filter(|(filter, qos)| self.filters.get(*filter) != Some(qos))
            .map(|(filter, qos)| (filter, *qos))
            .collect();
        for some in new.chunks(limits::FILTERS_AT_ONCE) {
            let asked = some
                .iter()
                .map(|(filter, qos)| SubscribeFilter::new((*filter).clone(), qos_of(*qos)));
            self.client.try_subscribe_many(asked)?;
            self.asking.push_back(some.iter().map(|(filter, _)| (*filter).clone()).collect());
            self.filters.extend(some.iter().map(|(filter, qos)| ((*filter).clone(), *qos)));
        }
        Ok(())
    }
}

fn qos_of(qos: u8) -> QoS {
    if qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce }
}

/// A message as expressions see it: JSON where the payload reads as such, else its text, else its
/// bytes in base64. `None` where it is too large.
pub(super) fn message_of(publish: &Publish) -> Option<Message> {
    let most = MESSAGE_DATA_BYTES
        .checked_sub(DATA_FRAME + TOPIC_SHARE * publish.topic.len())
        .filter(|most| publish.payload.len() <= *most)?;
    let text = |text: &str| JsonText::of(&serde_json::Value::String(text.to_owned()));
    let payload = match std::str::from_utf8(&publish.payload) {
        Ok(whole) => JsonText::parse(whole).unwrap_or_else(|_| text(whole)),
        Err(_) => text(&data_encoding::BASE64.encode(&publish.payload)),
    };
    (payload.len() <= most).then(|| Message {
        topic: publish.topic.clone(),
        payload,
        qos: publish.qos as u8,
        retained: publish.retain,
    })
}
