//! The open database, as the store and those who read blobs see it. It may be closed and opened again
//! underneath them, for after a failed write nothing of it may be used any more.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use redb::{Database, ReadTransaction, ReadableDatabase as _, WriteTransaction};

use super::StoreError;
use crate::limits;

/// The store's own end.
#[derive(Debug)]
pub(super) struct Handle {
    open: Option<Arc<Database>>,
    shown: Arc<Shown>,
}

/// What others see of it.
#[derive(Debug)]
pub(super) struct Shown {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Does not keep the database open.
    db: Weak<Database>,
    /// Counts openings.
    opening: u64,
    /// The store is gone.
    is_gone: bool,
}

impl Handle {
    pub(super) fn new(db: Database) -> Self {
        let db = Arc::new(db);
        let state = State { db: Arc::downgrade(&db), opening: 1, is_gone: false };
        let shown = Shown { state: Mutex::new(state), changed: Condvar::new() };
        Self { open: Some(db), shown: Arc::new(shown) }
    }

    pub(super) fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        Ok(self.database()?.begin_read()?)
    }

    pub(super) fn begin_write(&self) -> Result<WriteTransaction, StoreError> {
        Ok(self.database()?.begin_write()?)
    }

    pub(super) fn shown(&self) -> Arc<Shown> {
        Arc::clone(&self.shown)
    }

    /// Nothing of the file is open any more, but for what somebody is reading just now.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// Goes on with another opening.
    pub(super) fn replace(&mut self, mut by: Self) {
        self.open = by.open.take();
        let mut state = self.shown.lock();
        state.db = self.open.as_ref().map(Arc::downgrade).unwrap_or_default();
        state.opening += 1;
        self.shown.changed.notify_all();
    }

    pub(super) fn database(&self) -> Result<&Database, StoreError> {
        let closed = || StoreError::Database("it waits to be opened again".to_owned());
        self.open.as_deref().ok_or_else(closed)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shown.lock().is_gone = true;
        self.shown.changed.notify_all();
    }
}

impl Shown {
    fn lock(&self) -> MutexGuard<'_, State> {
        // It is whole between any two statements that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The database, and which opening of it this is. Where it is being opened again, and the asker
    /// has time, once it is there.
    pub(super) fn database(&self, has_time: bool) -> Result<(Arc<Database>, u64), StoreError> {
        let mut state = self.lock();
        loop {
            if let Some(db) = state.db.upgrade() {
                return Ok((db, state.opening));
            }
            if state.is_gone || !has_time {
                return Err(StoreError::Database("it is closed".to_owned()));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether it is opened again within a while, after what failed on this opening.
    pub(super) fn is_opened_after(&self, opening: u64) -> bool {
        let is_same = |state: &mut State| state.opening == opening && !state.is_gone;
        let (state, _) = self
            .changed
            .wait_timeout_while(self.lock(), limits::REOPEN_WAIT, is_same)
            .unwrap_or_else(PoisonError::into_inner);
        state.opening != opening
    }
}
