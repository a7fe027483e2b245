//! Every bound that more than one part must agree on, in one place.
//!
//! A bound that only one crate cares about lives in that crate's own `limits.rs`.

/// A workflow document, in bytes of UTF-8.
pub const DOCUMENT_BYTES: usize = 256 * 1024;
/// Steps in one workflow, nested ones included.
pub const STEPS: usize = 1_000;
/// Nesting of scopes.
pub const NESTING: usize = 16;
/// Depth of any JSON or YAML value we accept.
pub const VALUE_DEPTH: usize = 64;
/// One value kept by a run (a step's output, a variable), in bytes of JSON.
pub const VALUE_BYTES: usize = 64 * 1024;
/// All values of one run together, in bytes of JSON.
pub const RUN_STATE_BYTES: usize = 1024 * 1024;
/// Branches of a `parallel` step.
pub const PARALLEL_BRANCHES: usize = 64;
/// Items of a `foreach`; more are the error `limit.payload`.
pub const FOREACH_ITEMS: usize = 10_000;
/// Iterations of a `foreach` that may run at once.
pub const FOREACH_CONCURRENCY: u32 = 64;
/// Cases of a `switch`, and `catch`es of a `try`.
pub const CASES: usize = 256;
/// Runs that `call` one another; a deeper one is the error `limit.depth`.
pub const CALL_DEPTH: u32 = 8;
/// Messages that one `wait` may ask for.
pub const WAIT_MESSAGES: u32 = 1_000;
/// How often a `wait` with `until` asks again where the author names no `poll`.
pub const POLL_MS: u64 = 10_000;
/// The shortest `poll`.
pub const POLL_LEAST_MS: u64 = 1_000;
/// Bound of a `finally` where the author names none.
pub const FINALLY_TIMEOUT_MS: u64 = 30_000;
/// Answers that one `approval` may offer.
pub const CHOICES: usize = 16;
/// Bytes of an MQTT topic or topic filter.
pub const TOPIC_BYTES: usize = 1_024;
/// Bytes of the name of an event or signal.
pub const EVENT_NAME_BYTES: usize = 128;
/// Secrets that one workflow may declare.
pub const SECRETS: usize = 64;
/// The shortest value of a secret, in bytes: a shorter one is guessed in no time, and could not be
/// masked without masking what is none.
pub const SECRET_LEAST_BYTES: usize = 4;
/// The longest value of a secret, in bytes.
pub const SECRET_BYTES: usize = 16 * 1024;
/// Secrets that one device may hold.
pub const DEVICE_SECRETS: usize = 256;
/// Keys that the `dedupe` of one trigger remembers; the oldest goes first.
pub const DEDUPE_KEYS: usize = 4_096;
/// How long a `dedupe` remembers a key where the author names no `window`.
pub const DEDUPE_WINDOW_MS: u64 = 86_400_000;
/// Iterations of a `loop` where the author names no bound.
pub const LOOP_ITERATIONS: u32 = 1_000;
/// Settled step instances in one run; the next one ends it with `limit.history`.
pub const SETTLED_STEPS: u32 = 100_000;
/// A run as shown, in bytes of JSON. Beyond it the outputs of the oldest settled steps are left
/// out, then those steps themselves; both are counted in the view.
pub const RUN_VIEW_BYTES: usize = 512 * 1024;
/// Step instances of a run as shown; beyond it the oldest settled ones are left out.
pub const RUN_VIEW_STEPS: usize = 2_000;
/// Triggers of one workflow.
pub const TRIGGERS: usize = 32;
/// Missed cron slots that `catch_up: all` makes up for where the author names no `max_catch_up`.
pub const CATCH_UP_RUNS: u32 = 10;
/// The most that `max_catch_up` may say.
pub const CATCH_UP_RUNS_MAX: u32 = 100;
/// The longest `jitter` of a `cron` trigger.
pub const JITTER_MS: u64 = 3_600_000;
/// Topics of one trigger for which its `for` counts at the same time.
pub const HOLDS: usize = 1_024;
/// The path of a `webhook`, in bytes.
pub const WEBHOOK_PATH_BYTES: usize = 256;
/// The body of a request to a `webhook`, in bytes.
pub const WEBHOOK_BODY_BYTES: usize = 64 * 1024;
/// The `path` of a `file` trigger, in bytes.
pub const FILE_PATH_BYTES: usize = 256;
/// How long a file must not have changed where a `file` trigger names no `settle`.
pub const FILE_SETTLE_MS: u64 = 2_000;
/// Files that all `file` triggers of a device know together.
pub const FILES: usize = 4_096;
/// How often they are looked for, in milliseconds.
pub const FILE_LOOK_MS: u64 = 2_000;
/// Entries of directories that one look for one trigger's files goes through.
pub const FILE_ENTRIES: usize = 20_000;
/// Directories that it goes down.
pub const FILE_DEPTH: usize = 16;
/// Waiting runs of one workflow before `max_exceeded` decides, by default.
pub const QUEUED_RUNS: u32 = 10;

/// Default per-attempt timeout of a plugin step.
pub const ATTEMPT_TIMEOUT_MS: u64 = 300_000;
/// Default number of retries of a plugin step.
pub const MAX_RETRIES: u32 = 3;
/// Policies in the list of one `retry`.
pub const RETRY_POLICIES: usize = 16;
/// Default (linear) retry delay: the n-th retry waits n times this.
pub const RETRY_DELAY_MS: u64 = 60_000;
/// How long a cancelled attempt may take to notice before its guest is stopped.
pub const CANCEL_GRACE_MS: u64 = 10_000;
/// A waiting attempt rises one priority level each time this passes, so nothing starves.
pub const PRIORITY_AGING_MS: u64 = 30_000;

/// An id: tenant, device, workflow, step, plugin.
pub const ID_BYTES: usize = 64;

/// One sync frame as sent over MQTT.
pub const FRAME_BYTES: usize = 64 * 1024;
/// One batch after unpacking.
pub const BATCH_UNPACKED_BYTES: usize = 1024 * 1024;
/// Records in one batch.
pub const BATCH_RECORDS: usize = 1_000;
/// One record of a lane.
pub const RECORD_BYTES: usize = 256 * 1024;
/// Runs that one wish may have recorded with all that their plugins are told from outside.
pub const RECORD_RUNS: u32 = 100;
/// A recorded run as it goes to the control plane, in bytes of JSON.
pub const RECORDING_BYTES: usize = 8 * 1024 * 1024;
/// The same, deflated.
pub const RECORDING_PACKED_BYTES: usize = 2 * 1024 * 1024;
/// One part of it.
pub const RECORDING_PART_BYTES: usize = 128 * 1024;
/// Batches of one lane that may be unacknowledged at once.
pub const WINDOW_BATCHES: usize = 4;
/// Ranges in one acknowledgement.
pub const ACK_RANGES: usize = 64;
/// Lanes in one hello.
pub const LANES: usize = 16;
/// Bodies read from a lane at once.
pub const LOAD_BYTES: usize = 192 * 1024;
/// Bytes of a plugin in one chunk.
pub const CHUNK_BYTES: usize = 32 * 1024;
/// Chunks of a blob asked for ahead of the one that is due.
pub const CHUNKS_AHEAD: usize = 4;
/// Blobs wanted by one side at once.
pub const WANTS: usize = 1_024;
/// Chunks being read for the peer at once; it asks again for more.
pub const CHUNKS_SERVED: usize = 16;
/// What was recorded before a (re)connect goes out at this rate, in bytes a second as sent, so that
/// a fleet that comes back does not drown the broker. What is recorded from then on is not held up.
pub const BACKLOG_BYTES_PER_S: u64 = 256 * 1024;
/// What may go out of a backlog at once.
pub const BACKLOG_BURST_BYTES: u64 = 512 * 1024;
/// First wait for an answer (acknowledgement, hello, chunk) before it is asked for again; doubles.
pub const RESEND_MS: u64 = 1_000;
/// The longest such wait.
pub const RESEND_MAX_MS: u64 = 60_000;
/// Where the peer stands is asked anew on suspicion at most this often.
pub const RENEW_AFTER_MS: u64 = 10_000;
/// Without a sign that the peer hears us for this long, we ask for one.
pub const PROBE_AFTER_MS: u64 = 40_000;
/// And again after this.
pub const PROBE_AGAIN_MS: u64 = 15_000;
/// Without such a sign for this long the connection counts as dead.
pub const DEAD_AFTER_MS: u64 = 90_000;
/// Records handed over but not committed for this long are taken anew when they come again.
pub const REDELIVER_MS: u64 = 30_000;
/// A blob that the peer does not have is asked for again after this.
pub const MISSING_BLOB_MS: u64 = 30_000;
/// The signed desired-state document of one device, in bytes.
pub const DESIRED_BYTES: usize = 4 * 1024 * 1024;

/// A plugin module, in bytes.
pub const MODULE_BYTES: usize = 8 * 1024 * 1024;
/// A text of a manifest, such as its description.
pub const MANIFEST_TEXT_BYTES: usize = 1_024;
/// Tags of a manifest.
pub const MANIFEST_TAGS: usize = 32;
/// Plugins that one plugin needs.
pub const PLUGIN_DEPENDENCIES: usize = 32;
/// Entries of one kind of permission that a manifest may name.
pub const PERMISSION_ENTRIES: usize = 64;
/// Longest entry of a permission, in bytes.
pub const PERMISSION_BYTES: usize = 256;
/// Default fuel of one plugin call.
pub const PLUGIN_FUEL: u64 = 2_000_000_000;
/// The most fuel a manifest may ask for.
pub const PLUGIN_FUEL_MAX: u64 = 1_000_000_000_000;
/// Default linear memory of a plugin.
pub const PLUGIN_MEMORY_BYTES: u32 = 8 * 1024 * 1024;
/// The most linear memory a manifest may ask for.
pub const PLUGIN_MEMORY_BYTES_MAX: u32 = 64 * 1024 * 1024;
/// Default output of a plugin call.
pub const PLUGIN_OUTPUT_BYTES: u32 = 64 * 1024;
/// The most output a manifest may ask for.
pub const PLUGIN_OUTPUT_BYTES_MAX: u32 = 1024 * 1024;
