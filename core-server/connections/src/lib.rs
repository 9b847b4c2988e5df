//! A pool of connections to PostgreSQL, for statements that are a matter of a millisecond.
//!
//! The pool of `sqlx` asks a connection whether it lives whenever it is given back, which doubles the round trips of a short
//! statement. This one does not: what ended in order goes back as it is, anything else is closed, and a connection is asked only
//! when it has rested. `deadpool` does the bookkeeping; connections, statements and types stay those of `sqlx`.

mod failure;
mod lent;
mod opener;
mod pool;

pub use failure::is_transient;
pub use lent::Lent;
pub use pool::{ConnectionPool, PoolUsage};
