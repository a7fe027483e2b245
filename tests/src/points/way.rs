//! How each kill point is reached. The match is exhaustive: a point that nobody knows a way to does
//! not compile.

use openclaw_points::Point;

/// How a program is brought to a point, which it passes at least so many times there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// An agent starts, and runs what is wished for.
    Runs(u64),
    /// An agent starts with a clock that it can trust.
    TrustsItsClock,
    /// An agent has a run that goes on for long.
    LongRun,
    /// An agent that keeps nothing runs what is wished for.
    Forgets,
    /// An agent gets another desired state, with a module that it does not have.
    Swap(u64),
    /// An agent starts with no database and no reserve.
    Blank,
    /// An agent's database is put back to what it was before.
    PutBack,
    /// An agent's database is damaged.
    Damaged,
    /// A run is started on the device itself.
    Local,
    /// An agent is asked to stop.
    Stops,
    /// A device is enrolled as another one.
    Enrols,
    /// The control plane makes its keys, its database and its first admin.
    Begins(u64),
    /// A control plane is restored from a backup.
    Restores,
    /// The control plane starts.
    ServerStarts,
    /// The control plane is asked for runs and a deployment, and takes what comes of them.
    Serves(u64),
    /// A device enrols with the control plane.
    ServerEnrols,
}

/// The way to a point.
pub(super) fn way(point: Point) -> Way {
    match point {
        Point::StoreOpen
        | Point::StoreStart
        | Point::StoreStarted
        | Point::StoreRestored
        | Point::StoreSwept => Way::Runs(1),
        Point::ClockNoted => Way::TrustsItsClock,
        Point::MessageGiven
        | Point::MessageAcknowledged
        | Point::TapeWritten
        | Point::AckTaken
        | Point::CommandTaken => Way::Runs(2),
        Point::CallBegin
        | Point::CallEnded
        | Point::CallSettled
        | Point::EffectsBegin
        | Point::EffectsHanded
        | Point::JournalCommit
        | Point::JournalCommitted
        | Point::FramePublish
        | Point::FramePublished
        | Point::FrameTaken => Way::Runs(4),
        Point::JournalAppended | Point::OutboxAppended => Way::Runs(6),
        Point::SnapshotWritten => Way::LongRun,
        Point::OutboxDeleted | Point::JournalForgotten => Way::Forgets,
        Point::ChunksWritten => Way::Swap(2),
        Point::BlobWritten
        | Point::DesiredTaken
        | Point::ModuleJoined
        | Point::ModuleArrived
        | Point::ModuleChecked
        | Point::DesiredInForce => Way::Swap(1),
        Point::StoreTables | Point::StoreTabled | Point::ReserveTaken => Way::Blank,
        Point::ForkCommit | Point::ForkCommitted => Way::PutBack,
        Point::DatabaseDamaged | Point::DatabaseAside => Way::Damaged,
        Point::ReplyTold => Way::Local,
        Point::StopCommit | Point::StopCommitted => Way::Stops,
        Point::FileWritten
        | Point::FileRenamed
        | Point::EnrollAsk
        | Point::EnrollAnswered
        | Point::EnrollAside
        | Point::EnrollKeyGone
        | Point::EnrollStored => Way::Enrols,
        Point::KeyWritten | Point::KeyRenamed => Way::Begins(4),
        Point::GenerationCommit | Point::AdminCommit | Point::AdminCommitted => Way::Begins(1),
        Point::RestoreCopied | Point::RestoreKeys | Point::RestoreWhole | Point::RestoreNamed => {
            Way::Restores
        }
        Point::SchemaOpen | Point::SchemaMigrated | Point::RetentionCommit => Way::ServerStarts,
        Point::DbCommit | Point::DbCommitted => Way::Serves(8),
        Point::IngestCommit | Point::IngestCommitted | Point::IngestTold => Way::Serves(3),
        Point::WishCommit | Point::WishCommitted => Way::Serves(2),
        Point::DeployCommit | Point::DeployCommitted => Way::Serves(1),
        Point::EnrolCommit | Point::EnrolCommitted => Way::ServerEnrols,
    }
}
