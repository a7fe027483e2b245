//! The one row that says which database this is.

use openclaw_protocol::id::Generation;

use super::{Result, Tx, args};

/// The database's generation, or `None` before the first start.
pub(crate) async fn generation(tx: &mut Tx) -> Result<Option<Generation>> {
    let row = tx.row("SELECT generation FROM server WHERE id = 1", args![]).await?;
    row.map(|row| row.hex("generation").map(Generation)).transpose()
}

/// Gives the database a generation: at the first start, and after a restore.
pub(crate) async fn set_generation(tx: &mut Tx, generation: Generation, now_ms: i64) -> Result<()> {
    const SET: &str = "INSERT INTO server (id, generation, created_ms) VALUES (1, $1, $2)
        ON CONFLICT (id) DO UPDATE SET generation = excluded.generation";
    tx.run(SET, args![&generation, now_ms]).await?;
    Ok(())
}
