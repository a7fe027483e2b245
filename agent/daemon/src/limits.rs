//! The daemon's own bounds, in one place. What several parts must agree on is in
//! `openclaw_protocol::limits`.

use std::time::Duration;

/// Events that may wait for the brain; senders wait (workers) or try again (tasks) beyond it.
pub const EVENTS_WAITING: usize = 256;
/// Events that one commit covers at most.
pub const EVENTS_PER_TURN: usize = 128;
/// How long the brain gathers further results before a commit while other calls are under way.
/// A sync to flash costs more than this, so a shared one is won by waiting.
pub const GATHER: Duration = Duration::from_millis(1);
/// Calls are waited for so when they have been under way for less than this, milliseconds.
pub const GATHER_FOR_MS: u64 = 50;
/// Records that may wait in memory for a commit to ride along with.
pub const LAZY_RECORDS: usize = 512;
/// How long records may wait in memory for a commit to ride along with, milliseconds.
pub const LAZY_MS: u64 = 5_000;
/// The longest sleep of the brain, so that a suspend does not delay a deadline for longer.
pub const SLEEP: Duration = Duration::from_secs(30);

/// How long the control plane's commands wait on a device with a new database for what it shall run,
/// milliseconds; then those for a workflow that has not come are refused.
pub const EARLY_MS: u64 = 10 * 60 * 1_000;
/// How often it is written down meanwhile how long they have waited, milliseconds.
pub const EARLY_NOTE_MS: u64 = 60_000;
/// Frames that may wait for the link; more are dropped, and sent again by the session.
pub const FRAMES_WAITING: usize = 64;
/// The shortest wait before a new connection, milliseconds.
pub const BACKOFF_MIN_MS: u64 = 1_000;
/// The longest wait before a new connection where the configuration names none, milliseconds.
pub const BACKOFF_MAX_MS: u64 = 60_000;
/// MQTT keep-alive.
pub const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// An MQTT packet: a frame, its topic and the headers.
pub const PACKET_BYTES: usize = openclaw_protocol::limits::FRAME_BYTES + 1_024;

/// Messages for the site's broker that wait in the store; beyond it the oldest are dropped.
pub const PUBLICATIONS: usize = 10_000;
/// Bytes of their topics and payloads; beyond it the oldest are dropped.
pub const PUBLICATIONS_BYTES: usize = 4 * 1024 * 1024;
/// Messages for the site's broker that are on their way at once.
pub const PUBLICATIONS_SENT: usize = 16;
/// Connections that a message may cost, one after the other and each without any other answer of
/// the broker, until it is given up: a broker that refuses a message has no other way to say so.
pub const PUBLICATION_STRIKES: u32 = 10;
/// A message is not given up before it has cost connections for this long.
pub const PUBLICATION_STRIKE_TIME: Duration = Duration::from_secs(3_600);
/// An MQTT packet of the site's broker, bytes; a larger one costs the connection.
pub const MESSAGE_PACKET_BYTES: usize = 1024 * 1024;
/// Bytes of delivered messages that may wait for the brain.
pub const MESSAGES_WAITING_BYTES: usize = 512 * 1024;
/// What a waiting message counts at least, bytes, so that small ones leave room in the queue of
/// events for everything else.
pub const MESSAGE_LEAST_BYTES: usize = MESSAGES_WAITING_BYTES / (EVENTS_WAITING / 2);
/// How long a delivered message waits for room before it is dropped.
pub const MESSAGE_WAIT: Duration = Duration::from_secs(1);
/// Topic filters that the agent subscribes to at the site's broker.
pub const FILTERS: usize = 4_096;
/// Topic filters in one packet.
pub const FILTERS_AT_ONCE: usize = 32;

/// Native stack of a worker thread. The interpreter needs it (see the sandbox's own limits).
pub const WORKER_STACK_BYTES: usize = 8 * 1024 * 1024;
/// Worker slots where the configuration names none. A slot costs a thread only while its call waits
/// for something outside or computes for long; as many results as there are slots share one sync.
pub const SLOTS: u16 = 64;
/// The most worker slots a configuration may ask for.
pub const SLOTS_MAX: u16 = 256;
/// How long a call may keep others from computing before it has to share, milliseconds.
pub const PLACE_MS: u64 = 10;
/// How far a thread steps back behind the others that has computed for so long (`nice(2)`).
pub const LONG_NICE: i32 = 10;
/// Calls that go on so at once: each holds its memory and a thread's stack.
pub const LONG_CALLS: usize = 14;
/// Calls that may wait for a worker (given-up ones may still occupy theirs).
pub const CALLS_WAITING: usize = 4_096;
/// How long a stop waits for calls that are under way.
pub const DRAIN: Duration = Duration::from_secs(5);

/// Threads that may be left where they panicked; what they hold of memory (a plugin's, at most) is
/// lost. With the next one the process starts anew.
pub const THREADS_LEFT: usize = 4;
/// The shortest wait before a start after the store has failed, or after a panic.
pub const RESTART_MIN: Duration = Duration::from_millis(500);
/// The longest wait before a first start is tried again for which the disk had no room.
pub const FIRST_START_MAX: Duration = Duration::from_secs(4);
/// The longest wait before a start after the store has failed, or after a panic.
pub const RESTART_MAX: Duration = Duration::from_secs(30);

/// Starts in a row, of one boot, that came to no end while they opened the database, after which its
/// file is set aside unread. More than a storm of kills does by chance.
pub const OPENINGS: u32 = 8;
/// Lives in a row that the database ended, although all its checksums were right at the start, after
/// which its file is set aside unread.
pub const FAILED_LIVES: u32 = 3;
/// Starts in a row that the disk could not read the database, after which what it can read is copied.
/// With the waits between them (0.5 s, then twice as long each time, up to 30 s) that is about a minute,
/// in which a cable or a controller may come back.
pub const UNREAD_STARTS: u32 = 8;
/// Bytes that are read at once of a file with places that cannot be read, and are zero in the copy where
/// they cannot: a page of the database.
pub const RESCUE_BYTES: usize = 4_096;
/// Damaged databases that are kept beside the agent's own; then the last one gives way.
pub const DAMAGED_KEPT: u32 = 3;
/// Cache of the store where the configuration names none, bytes.
pub const CACHE_BYTES: usize = 1024 * 1024;
/// Rows that retention removes with one commit at most, so that no commit grows without bound.
pub const PRUNED_PER_COMMIT: usize = 64;
/// How long acknowledged records are kept, hours.
pub const RETENTION_HOURS: u32 = 24;
/// How long journals of settled runs are kept, hours.
pub const JOURNAL_HOURS: u32 = 7 * 24;
/// Bytes of one lane in the outbox.
pub const LANE_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of the journals of settled runs, and of facts of others that snapshots stand for.
pub const JOURNAL_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of one row of the journal, after which its run's next fact begins another.
pub const JOURNAL_ROW_BYTES: usize = 256 * 1024;
/// Facts of a run after which a snapshot of it is written.
pub const SNAPSHOT_FACTS: u32 = 256;
/// Bytes of the facts of a run after which a snapshot of it is written; or as many as the snapshot
/// before had, where that is more, so that snapshots never cost the flash more than the facts.
pub const SNAPSHOT_TAIL_BYTES: u64 = 64 * 1024;
/// A snapshot, bytes; a run that comes to more keeps all its facts instead.
pub const SNAPSHOT_BYTES: usize = 4 * 1024 * 1024;
/// Settled runs that the local command line can show.
pub const RECENT_RUNS: usize = 200;
/// Bytes of one settled run's view; a larger one is kept without its outputs.
pub const RECENT_BYTES: usize = 32 * 1024;
/// Bytes of a settled run's view from which on it is packed.
pub const VIEW_PACKED_BYTES: usize = 512;
/// Bytes of packed events of an open run that are kept as they were told; then they are folded.
pub const VIEW_TOLD_BYTES: usize = 16 * 1024;
/// Parts of wanted blobs that may wait in memory for a commit, bytes.
pub const CHUNKS_WAITING_BYTES: usize = 256 * 1024;

/// Local connections at once.
pub const LOCAL_CONNECTIONS: usize = 16;
/// One line of the local protocol, bytes.
pub const LOCAL_LINE_BYTES: usize = 1024 * 1024;
// One answer shows a whole run.
const _: () = assert!(openclaw_protocol::limits::RUN_VIEW_BYTES + 1_024 <= LOCAL_LINE_BYTES);
/// How long a local request may wait for its answer (`run --wait` asks again).
pub const LOCAL_WAIT: Duration = Duration::from_secs(60);
/// A name in which an approval is answered on the device, bytes.
pub const LOCAL_NAME_BYTES: usize = 128;
/// Runs a local list may hold.
pub const LOCAL_RUNS: usize = 1_000;
/// Settled runs that `results` may list; with their frame they stay below one line.
pub const LOCAL_RESULTS: usize = 10_000;
/// People who may wait for the end of runs at once.
pub const WAITERS: usize = 64;
/// Plugin log lines kept in memory, bytes.
pub const LOG_BYTES: usize = 256 * 1024;
/// One plugin log line, bytes; the rest is cut.
pub const LOG_LINE_BYTES: usize = 4 * 1024;

/// A response body that a plugin may receive, bytes.
pub const HTTP_BODY_BYTES: usize = 1024 * 1024;
/// Response headers that a plugin may receive.
pub const HTTP_HEADERS: usize = 64;
/// One HTTP request, connect included, where the call's own deadline is later.
pub const HTTP_TIME: Duration = Duration::from_secs(30);
/// Addresses of one host that are tried.
pub const HTTP_ADDRESSES: usize = 8;
/// One TCP connection, the look-up of the name included, where neither the plugin nor the call's
/// own deadline asks for less.
pub const TCP_CONNECT_TIME: Duration = Duration::from_secs(30);
/// How often something that waits looks whether it shall stop.
pub const LOOK: Duration = Duration::from_millis(50);
/// What is sent for a plugin once secrets stand where it put their handles, bytes.
pub const FILLED_BYTES: usize = 4 * 1024 * 1024;
/// How long a command may take where its configuration does not say, milliseconds.
pub const EXEC_MS: u32 = 30_000;
/// The end of a command's standard error that a plugin is given, bytes.
pub const STDERR_BYTES: usize = 4 * 1024;
/// A file that a plugin may read, bytes.
pub const FILE_BYTES: usize = 1024 * 1024;
/// A file that a plugin may append to, bytes: what it would be afterwards.
pub const FILE_APPENDED_BYTES: u64 = 64 * 1024 * 1024;
/// What has to be left free on a disk behind what a plugin writes, bytes: the agent itself may live
/// on it.
pub const FILE_ROOM_BYTES: u64 = 2 * 1024 * 1024;
/// Directories that are known to have no temporary files left from before.
pub const FILE_DIRS_CLEANED: usize = 256;
/// Entries of a directory that a plugin may list.
pub const DIR_ENTRIES: usize = 10_000;

/// Connections to the listener for webhooks at once; others wait in the kernel's queue.
pub const WEBHOOK_CONNECTIONS: usize = 32;
/// An address that could not be had is tried again after this.
pub const WEBHOOK_BIND_AGAIN: Duration = Duration::from_secs(5);
/// Requests to it that may wait for the brain at once.
pub const WEBHOOKS_WAITING: usize = 16;
/// The head of a request to it, bytes.
pub const WEBHOOK_HEAD_BYTES: usize = 16 * 1024;
/// How long the head of a request may take.
pub const WEBHOOK_HEAD_TIME: Duration = Duration::from_secs(5);
/// How long its body may take.
pub const WEBHOOK_BODY_TIME: Duration = Duration::from_secs(10);
/// How long a connection may take, answer included.
pub const WEBHOOK_TIME: Duration = Duration::from_secs(30);
/// A request as expressions see it, in bytes of JSON.
pub const WEBHOOK_DATA_BYTES: usize = 128 * 1024;
/// A secret in a file of the site, bytes.
pub const SECRET_BYTES: usize = 16 * 1024;

/// A configuration file, bytes.
pub const CONFIG_BYTES: u64 = 256 * 1024;
/// Workflows and plugins of a standalone agent.
pub const STANDALONE_ENTRIES: usize = 256;
/// An enrolment answer, bytes.
pub const ENROLL_BYTES: usize = 256 * 1024;
/// Databases of former enrolments under one name that are kept beside the agent's own.
pub const ASIDE: u32 = 99;
/// One enrolment call, connect included.
pub const ENROLL_TIME: Duration = Duration::from_secs(30);
/// Definitions that are kept for the replay of settled runs, when nothing else needs them any more.
pub const SETTLED_DEFINITIONS: usize = 16;
/// What plugins were told from outside, of one run, in bytes; the newest calls stay.
pub const RUN_TAPES_BYTES: usize = 64 * 1024;
/// One part of a recording on the local socket, in bytes. As text in a line it takes up to twice as
/// many: what is JSON has no control characters left.
pub const EXPORT_PART_BYTES: usize = 384 * 1024;
const _: () = assert!(2 * EXPORT_PART_BYTES + 1_024 <= LOCAL_LINE_BYTES);

/// What is held on the disk for when it is full, bytes.
pub const RESERVE_BYTES: u64 = 1024 * 1024;
/// What of it is given back at once, bytes. Where less than this is free beside it, no new run comes
/// in; the last such step is not for runs.
pub const RESERVE_STEP_BYTES: u64 = 256 * 1024;
/// What has to be free before a commit, bytes: more than commits take but for large ones, for which
/// the rest of the reserve is there.
pub const COMMIT_ROOM_BYTES: u64 = 64 * 1024;
/// What has to be left free beside a whole reserve before everything goes on, bytes.
pub const ROOM_MARGIN_BYTES: u64 = 512 * 1024;
/// How often a disk that is full is looked at, milliseconds.
pub const ROOM_LOOK_MS: u64 = 1_000;
/// How long a worker waits for a database that failed to be opened again.
pub const REOPEN_WAIT: Duration = Duration::from_secs(5);
/// The longest wait before a database that failed is opened again, milliseconds.
pub const REOPEN_MAX_MS: u64 = 30_000;
/// How long a question waits for a database that failed before it is refused, milliseconds.
pub const QUESTION_WAIT_MS: u64 = 5_000;
