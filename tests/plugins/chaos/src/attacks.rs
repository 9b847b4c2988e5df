//! What a hostile plugin would try. `GET /attack/<name>` does it once.

use checkstack_plugin::{Error, Response, kv, log, params, sql};
use serde::Deserialize;

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Attack {
    /// Computes for ever.
    Loop,
    /// Takes all memory that it gets.
    Memory,
    /// Calls itself for ever.
    Recursion,
    /// Writes to the log for ever.
    Logs,
    /// Answers with more than anybody wants.
    Answer,
    /// Fills the key-value store for ever.
    Entries,
    /// Keeps a connection of the database busy, and its limit off.
    Sleep,
    /// Locks its table against its other calls, and does not let go.
    Lock,
}

impl Attack {
    pub(crate) fn run(self) -> Result<Response, Error> {
        match self {
            Self::Loop => compute_for_ever(),
            Self::Memory => take_all_memory(),
            Self::Recursion => Ok(Response::new(200).with_body(deeper(1).to_string())),
            Self::Logs => loop {
                log::warn!("{}", "flood ".repeat(1000));
            },
            Self::Answer => Ok(Response::new(200).with_body(vec![b'x'; 24 * 1024 * 1024])),
            Self::Entries => {
                for number in 0_u64.. {
                    kv::set(&format!("flood-{number}"), vec![b'x'; 64 * 1024])?;
                }
                Ok(Response::new(200))
            }
            Self::Sleep => {
                sql::execute("SELECT set_config('statement_timeout', '0', false), pg_sleep(60)", params![])?;
                Ok(Response::new(200))
            }
            Self::Lock => {
                sql::execute("CREATE TABLE IF NOT EXISTS prey (id int)", params![])?;
                sql::execute("DO $$ BEGIN LOCK TABLE prey IN ACCESS EXCLUSIVE MODE; PERFORM pg_sleep(60); END $$", params![])?;
                Ok(Response::new(200))
            }
        }
    }
}

pub(crate) fn compute_for_ever() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

pub(crate) fn take_all_memory() -> ! {
    let mut hoard = Vec::new();
    loop {
        hoard.push(std::hint::black_box(vec![1_u8; 1024 * 1024]));
    }
}

#[allow(unconditional_recursion, reason = "this is what it is for")]
fn deeper(depth: u64) -> u64 {
    std::hint::black_box(deeper(std::hint::black_box(depth) + 1)) + 1
}
