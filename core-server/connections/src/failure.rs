//! What an error of the driver means.

/// Whether the same may work later: there was no answer, or the database says that it cannot serve at the moment. A statement that changes
/// something may have done so.
pub fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(refusal) => means_later(&refusal.code().unwrap_or_default()),
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}

/// 08: connection exception. 40: the transaction was undone, a deadlock among others. 53: out of resources. 55P03: a lock was not
/// there in time. 57: shutting down, starting up, out of time. 58: its disk fails it. 25006: a standby after a failover.
fn means_later(code: &str) -> bool {
    ["08", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class)) || matches!(code, "55P03" | "25006")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_pass_are_told_from_those_that_do_not() {
        for code in ["08006", "40P01", "53300", "57P03", "55P03", "25006"] {
            assert!(means_later(code), "{code}");
        }
        for code in ["42501", "23505", "28P01", "25001", ""] {
            assert!(!means_later(code), "{code}");
        }
    }
}
