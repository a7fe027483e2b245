//! Bounds that only the engine cares about. Those shared with other parts are in
//! [`openclaw_protocol::limits`].

/// Steps launched and scopes ended because of one fact. What is left over goes on with the next
/// decision, so a long loop of pure steps neither blocks the device nor makes one huge commit.
pub const TASKS_PER_FACT: u32 = 1_000;
/// Runs whose deadlines are looked at in one decision; the rest follow in the next one.
pub const RUNS_PER_DECISION: usize = 256;
/// Values that are kept because the next run may have the same, and bytes of JSON of each.
pub const ALIKE: usize = 8;
/// See [`ALIKE`].
pub const ALIKE_BYTES: usize = 512;
/// Runs that one decision tells that the agent was restarted.
pub const RESTARTED_PER_DECISION: usize = 2_048;
/// Runs that are not settled, over all workflows.
pub const LIVE_RUNS: usize = 100_000;
/// Operators' wishes whose outcome is remembered, so that a repeated wish does nothing again.
pub const REQUESTS: usize = 4_096;
/// The message of a remembered refusal, in bytes; the rest is cut.
pub const REQUEST_MESSAGE_BYTES: usize = 256;
/// Failed runs that are listed for a re-drive; the oldest are forgotten first.
pub const FAILED_RUNS: usize = 1_000;
/// Data that triggers with a `for` would fire with, over all of them, in bytes of JSON.
pub const HOLD_DATA_BYTES: usize = 4 * 1024 * 1024;
/// How long a `for` for whose run there was no room waits at least before it fires again: each time
/// is a commit.
pub const HOLD_ANEW_MS: u64 = 60_000;
/// How late a cron slot may be seen and still count as on time with `catch_up: skip`.
pub const CRON_LATE_MS: i64 = 60_000;
/// A cron mark that lies this far ahead of a synchronised clock was made by a wrong clock.
pub const CRON_AHEAD_MS: i64 = 32 * 24 * 60 * 60 * 1_000;
/// Deaths of the process during one attempt, within one boot, until the attempt is given up.
pub const CRASHES_IN_ONE_BOOT: u8 = 3;
/// Deaths of the machine during one attempt until the attempt is given up.
pub const CRASHES_OF_MACHINE: u8 = 10;
/// A message of an error, in bytes; longer ones are cut.
pub const MESSAGE_BYTES: usize = 2_048;
/// A run's plugin variables, in bytes.
pub const PLUGIN_VARS_BYTES: usize = 256 * 1024;
/// Errors that are kept beside another.
pub const CAUSES: usize = 8;
/// Signals that a run keeps for waits that have not begun.
pub const SIGNALS: usize = 100;
/// The data of one signal, message, event or decision, in bytes of JSON.
pub const MESSAGE_DATA_BYTES: usize = 64 * 1024;
/// Events on the device's own bus that are delivered in one decision; what comes beyond it, as of
/// workflows that set each other off, is dropped, and counted.
pub const EVENTS_PER_DECISION: usize = 1_000;
/// Compensations that one scope keeps.
pub const COMPENSATIONS: usize = 1_000;
/// Steps that become true because of one fact, one after the other.
pub const UNTIL_ROUNDS: usize = 1_000;
/// How often a deadline of the wall clock is looked at, in milliseconds: a step of the clock is
/// noticed no later.
pub const WALL_LOOK_MS: u64 = 60_000;
/// An idempotency key that an author gives, in bytes.
pub const KEY_BYTES: usize = 255;
/// Runs that one listing of files starts; further files wait for the next.
pub const FILES_PER_DECISION: usize = 100;
/// Facts in one decision after which no further waiting run begins in it.
pub const FACTS_PER_DECISION: usize = 1_000;
