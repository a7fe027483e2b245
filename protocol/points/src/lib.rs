//! Kill points: named moments at which a program of a debug build dies when it is told to, so that
//! tests can show what survives a death at each of them. This file is the list of all.
//!
//! `OPENCLAW_KILL_POINT=NAME:N` makes the program abort as it reaches that point for the N-th time:
//! nothing is written any more, nothing is dropped, no other thread goes on. A release build has
//! none of this: [`reach`] is empty there, and no name is in the binary, which a test looks for.
//!
//! A new `commit` gets a point before and after it; `tests/it/tidy.rs` finds those that have none, and
//! `tests/src/points` says how each point is reached.

/// The variable that says where to die.
pub const VARIABLE: &str = "OPENCLAW_KILL_POINT";

macro_rules! points {
    ($($(#[$doc:meta])* $point:ident = $name:literal;)*) => {
        /// A moment at which a program can be made to die.
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub enum Point {
            $($(#[$doc])* $point,)*
        }

        impl Point {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$point),*];

            /// What it is called.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$point => $name,)* }
            }
        }
    };
}

points! {
    // The agent: its database.
    /// The database is about to be opened.
    StoreOpen = "store.open";
    /// A new database's tables are made, not committed.
    StoreTables = "store.tables";
    /// They are committed.
    StoreTabled = "store.tabled";
    /// Room on the disk is taken for the reserve.
    ReserveTaken = "reserve.taken";
    /// A start is noted, not committed.
    StoreStart = "store.start";
    /// It is committed, and nothing is read yet.
    StoreStarted = "store.started";
    /// Everything that the agent goes on with is read.
    StoreRestored = "store.restored";
    /// A row of facts is in the open transaction.
    JournalAppended = "journal.appended";
    /// Records for the control plane are in the open transaction.
    OutboxAppended = "outbox.appended";
    /// A record that was acknowledged is removed in the open transaction.
    OutboxDeleted = "outbox.deleted";
    /// A settled run is forgotten in the open transaction.
    JournalForgotten = "journal.forgotten";
    /// A run's state is in the open transaction.
    SnapshotWritten = "snapshot.written";
    /// What a plugin was told is in the open transaction.
    TapeWritten = "tape.written";
    /// Parts of a document or module are in the open transaction.
    ChunksWritten = "chunks.written";
    /// A whole module is in the open transaction.
    BlobWritten = "blob.written";
    /// Definitions and modules that nobody needs are removed in the open transaction.
    StoreSwept = "store.swept";
    /// The highest trusted time is in the open transaction.
    ClockNoted = "clock.noted";
    /// Everything is in the open transaction.
    JournalCommit = "journal.commit";
    /// It is committed, and nobody knows.
    JournalCommitted = "journal.committed";
    /// All records have new numbers in the open transaction.
    ForkCommit = "fork.commit";
    /// They are committed, and nobody knows.
    ForkCommitted = "fork.committed";
    /// A damaged database is about to be set aside.
    DatabaseDamaged = "database.damaged";
    /// It is set aside, and no other is begun.
    DatabaseAside = "database.aside";

    // The agent: what it does.
    /// Effects are about to be performed; their decisions are committed.
    EffectsBegin = "effects.begin";
    /// They are handed on.
    EffectsHanded = "effects.handed";
    /// A plugin is about to run.
    CallBegin = "call.begin";
    /// It has run, and nobody knows.
    CallEnded = "call.ended";
    /// What came of it is taken in, not committed.
    CallSettled = "call.settled";
    /// A message for the site's broker is handed to the client.
    MessageGiven = "message.given";
    /// The site's broker has acknowledged it: that is taken in, not committed.
    MessageAcknowledged = "message.acknowledged";
    /// A local request is answered.
    ReplyTold = "reply.told";
    /// The last commit of a stop is about to be made.
    StopCommit = "stop.commit";
    /// It is made.
    StopCommitted = "stop.committed";

    // The agent: its link.
    /// A frame is about to be published.
    FramePublish = "frame.publish";
    /// It is handed to the client.
    FramePublished = "frame.published";
    /// A frame of the control plane is taken in.
    FrameTaken = "frame.taken";
    /// An acknowledgement of records is about to be noted.
    AckTaken = "ack.taken";
    /// A command is decided, not committed.
    CommandTaken = "command.taken";
    /// A desired state is here, whole and verified, not committed.
    DesiredTaken = "desired.taken";
    /// A module's parts are joined, not committed as a whole.
    ModuleJoined = "module.joined";
    /// A module is here and is about to be tried.
    ModuleArrived = "module.arrived";
    /// A module was tried.
    ModuleChecked = "module.checked";
    /// A desired state is about to come into force: decided, not committed.
    DesiredInForce = "desired.in_force";

    // The agent: its identity.
    /// A file is written beside the one that it replaces.
    FileWritten = "file.written";
    /// It has the other's name; the directory is not synced.
    FileRenamed = "file.renamed";
    /// The join code is about to be spent.
    EnrollAsk = "enroll.ask";
    /// It is spent, and the certificate is nowhere but in memory.
    EnrollAnswered = "enroll.answered";
    /// The database of the former identity is set aside.
    EnrollAside = "enroll.aside";
    /// The former key for secrets is gone.
    EnrollKeyGone = "enroll.key_gone";
    /// The new identity is written down.
    EnrollStored = "enroll.stored";

    // The control plane.
    /// The schema is about to be brought up to date.
    SchemaOpen = "schema.open";
    /// It is up to date.
    SchemaMigrated = "schema.migrated";
    /// A transaction of any kind is about to be committed.
    DbCommit = "db.commit";
    /// It is committed, and nobody knows.
    DbCommitted = "db.committed";
    /// Records of devices are in the open transaction.
    IngestCommit = "ingest.commit";
    /// They are committed, and no device knows.
    IngestCommitted = "ingest.committed";
    /// The acknowledgements are handed to the sessions.
    IngestTold = "ingest.told";
    /// A wish of an operator is in the open transaction.
    WishCommit = "wish.commit";
    /// It is committed, and neither operator nor device knows.
    WishCommitted = "wish.committed";
    /// A deployment is in the open transaction.
    DeployCommit = "deploy.commit";
    /// It is committed, and neither operator nor device knows.
    DeployCommitted = "deploy.committed";
    /// A join code is spent and a device made in the open transaction.
    EnrolCommit = "enrol.commit";
    /// They are committed, and the device has no certificate.
    EnrolCommitted = "enrol.committed";
    /// A round of retention is about to be committed.
    RetentionCommit = "retention.commit";
    /// A key or certificate is written beside the one that it replaces.
    KeyWritten = "key.written";
    /// It has the other's name; the directory is not synced.
    KeyRenamed = "key.renamed";
    /// A backup's copy is beside where the database will be.
    RestoreCopied = "restore.copied";
    /// The keys that were in it are where they belong.
    RestoreKeys = "restore.keys";
    /// The restored database is whole and of a new generation, under another name.
    RestoreWhole = "restore.whole";
    /// It has its name; the directory is not synced.
    RestoreNamed = "restore.named";
    /// The generation is in the open transaction.
    GenerationCommit = "generation.commit";
    /// The first admin is in the open transaction.
    AdminCommit = "admin.commit";
    /// The first admin is committed, and nobody has heard the password.
    AdminCommitted = "admin.committed";
}

/// The program is here: the end of it, if this is the passing it was told to die at.
#[cfg(debug_assertions)]
pub fn reach(point: Point) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let wanted = WANTED.get_or_init(|| parse(&std::env::var(VARIABLE).ok()?));
    let Some((name, passing)) = wanted else { return };
    if name == point.name() && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *passing {
        std::process::abort();
    }
}

/// The program is here, and goes on.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn reach(_: Point) {}

/// Takes `NAME:N` apart.
#[cfg(debug_assertions)]
fn parse(text: &str) -> Option<(String, u64)> {
    let (name, passing) = text.split_once(':')?;
    Some((name.to_owned(), passing.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_has_a_name_of_its_own() {
        let mut names: Vec<_> = Point::ALL.iter().map(|point| point.name()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(count >= 30, "{count}");
    }

    #[test]
    fn what_to_die_at_is_a_name_and_a_number() {
        assert_eq!(parse("journal.commit:3"), Some(("journal.commit".to_owned(), 3)));
        for wrong in ["journal.commit", "journal.commit:", "journal.commit:x", ""] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
