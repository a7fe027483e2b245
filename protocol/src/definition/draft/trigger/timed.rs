//! Triggers that time sets off: `interval` and `cron`.

use super::super::Draft;
use super::super::fields::Fields;
use super::super::problem::ProblemCode;
use super::super::read::excerpt;
use super::super::tree::Node;
use crate::definition::cron::{Cron, CronError};
use crate::definition::model::{CatchUp, TriggerKind};
use crate::limits;
use crate::time::show_duration;

/// The shortest period of an interval, in milliseconds.
const SHORTEST_MS: u64 = 100;

impl Draft {
    pub(super) fn interval(&mut self, node: &Node) -> Option<TriggerKind> {
        let (mut align, mut jitter) = (None, None);
        let every_ms = if node.map().is_some() {
            let mut fields = Fields::of(node, "`interval`", &mut self.problems)?;
            let every = fields.need("every", "every: 5m", &mut self.problems);
            let every_ms = every.and_then(|node| self.duration(node, "every"));
            let words = ["boot", "clock"];
            align = fields.take_set("align").map(|node| self.choice(node, "align", &words));
            jitter = fields.take_set("jitter");
            fields.finish(&[], &mut self.problems);
            every_ms?
        } else {
            self.duration(node, "interval")?
        };
        if every_ms < SHORTEST_MS {
            let message = format!("an interval is at least {SHORTEST_MS} ms");
            self.problems.add(ProblemCode::Value, node.at, message);
            return None;
        }
        let jitter_ms = jitter.map_or(Some(0), |node| self.jitter(node, every_ms, "the period"));
        let align = align.unwrap_or_else(|| Some(Default::default()));
        Some(TriggerKind::Interval { every_ms, align: align?, jitter_ms: jitter_ms? })
    }

    pub(super) fn cron(&mut self, node: &Node) -> Option<TriggerKind> {
        let (mut tz, mut catch_up, mut most) = (None, None, Some(limits::CATCH_UP_RUNS));
        let (mut dst, mut jitter_ms) = (Some(Default::default()), Some(0));
        let at_node = if node.map().is_some() {
            let mut fields = Fields::of(node, "`cron`", &mut self.problems)?;
            let at = fields.need("at", "at: \"30 2 * * *\"", &mut self.problems);
            if let Some(node) = fields.take_set("tz") {
                tz = Some((node, self.text(node, "tz")?));
            }
            let words = ["skip", "latest", "all"];
            let node = fields.take_set("catch_up");
            catch_up = node.and_then(|node| self.choice(node, "catch_up", &words));
            if let Some(node) = fields.take_set("max_catch_up") {
                most = self.max_catch_up(node, catch_up);
            }
            if let Some(node) = fields.take_set("dst") {
                dst = self.choice(node, "dst", &["run_after", "skip"]);
            }
            if let Some(node) = fields.take_set("jitter") {
                let most = show_duration(limits::JITTER_MS);
                jitter_ms = self.jitter(node, limits::JITTER_MS, &most);
            }
            fields.finish(&[], &mut self.problems);
            at?
        } else {
            node
        };
        let at = self.text(at_node, "at")?;
        let schedule = self.schedule(at_node, &at, tz.as_ref().map(|(node, tz)| (*node, &**tz)));
        Some(TriggerKind::Cron {
            schedule: Box::new(schedule?.with_dst(dst?)),
            catch_up: catch_up.unwrap_or_default(),
            max_catch_up: most?,
            jitter_ms: jitter_ms?,
        })
    }

    fn max_catch_up(&mut self, node: &Node, catch_up: Option<CatchUp>) -> Option<u32> {
        if catch_up != Some(CatchUp::All) {
            let message = "`max_catch_up` bounds what is made up for, which only \
                           `catch_up: all` does";
            let suggestion = "write `catch_up: all`, or remove it";
            self.problems.suggest(ProblemCode::Value, node.at, message, suggestion);
        }
        self.whole(node, "max_catch_up", 1..=limits::CATCH_UP_RUNS_MAX)
    }

    fn jitter(&mut self, node: &Node, most_ms: u64, most: &str) -> Option<u64> {
        let jitter_ms = self.duration(node, "jitter")?;
        if jitter_ms <= most_ms {
            return Some(jitter_ms);
        }
        let message = format!("`jitter` must be at most {most}");
        self.problems.add(ProblemCode::Value, node.at, message);
        None
    }

    fn schedule(&mut self, node: &Node, at: &str, zone: Option<(&Node, &str)>) -> Option<Cron> {
        let error = match Cron::parse(at, zone.map_or("UTC", |(_, tz)| tz)) {
            Ok(schedule) => return Some(schedule),
            Err(error) => error,
        };
        match (error, zone) {
            (CronError::Zone(tz), Some((zone_node, _))) => {
                let message = format!("there is no time zone `{}`", excerpt(&tz));
                let suggestion = "use a name of the IANA database, such as `Europe/Berlin`";
                self.problems.suggest(ProblemCode::Value, zone_node.at, message, suggestion);
                // The fields may be wrong as well.
                self.schedule(node, at, None);
            }
            (error, _) => {
                let message = format!("`{}` is no cron expression: {error}", excerpt(at));
                let suggestion = "write minute, hour, day, month and weekday: `30 2 * * *`";
                self.problems.suggest(ProblemCode::Value, node.at, message, suggestion);
            }
        }
        None
    }
}
