//! What helps people to write workflows: a formatter, an explanation in sentences, a picture, the
//! list of limits.

pub(crate) mod chart;
pub(crate) mod explain;
pub(crate) mod layout;
pub(crate) mod limits;
pub(crate) mod longest;
