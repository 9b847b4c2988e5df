//! Whether a socket still belongs to the user who has opened it: somebody who is signed out, or whose session was revoked, hears nothing
//! more after a while.

use std::time::Duration;

use async_trait::async_trait;
use checkstack_sockets::CloseReason;
use tokio::time::{Instant, sleep, timeout};

/// What the session of a socket is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is the same user.
    Same,
    /// The session has ended.
    Ended,
    /// It cannot be found out now.
    Unknown,
}

/// Who has opened a socket, with what they have shown for it.
#[async_trait]
pub trait Holder: Send + Sync {
    /// Asks again.
    async fn standing(&self) -> Standing;
}

/// When it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StandingTimings {
    /// Each time, give or take a quarter, so that sockets that were opened together do not ask together.
    pub ask_every: Duration,
    /// What does not answer within this time, is not known.
    pub answer_within: Duration,
    /// A socket is closed when it was not known for so long.
    pub unknown_for: Duration,
}

impl Default for StandingTimings {
    fn default() -> Self {
        Self { ask_every: Duration::from_secs(60), answer_within: Duration::from_secs(10), unknown_for: Duration::from_secs(300) }
    }
}

/// The session has ended: the client may connect again, as nobody or as somebody else.
pub(crate) const ENDED: CloseReason = CloseReason::new(1008, "the session has ended");
/// Nobody knows.
pub(crate) const UNKNOWN: CloseReason = CloseReason::new(1013, "who is signed in cannot be found out");

/// Waits until a socket has to be closed.
pub(crate) async fn lost(holder: &dyn Holder, timings: &StandingTimings) -> CloseReason {
    let mut known = Instant::now();
    loop {
        sleep(timings.ask_every.mul_f64(0.75 + rand::random::<f64>() / 2.0)).await;
        match timeout(timings.answer_within, holder.standing()).await {
            Ok(Standing::Same) => known = Instant::now(),
            Ok(Standing::Ended) => return ENDED,
            Ok(Standing::Unknown) | Err(_) if known.elapsed() >= timings.unknown_for => return UNKNOWN,
            Ok(Standing::Unknown) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Says one after the other, and then nothing.
    struct Script(Mutex<Vec<Standing>>);

    #[async_trait]
    impl Holder for Script {
        async fn standing(&self) -> Standing {
            let next = self.0.lock().unwrap().pop();
            match next {
                Some(standing) => standing,
                None => std::future::pending().await,
            }
        }
    }

    const TIMINGS: StandingTimings = StandingTimings {
        ask_every: Duration::from_millis(40),
        answer_within: Duration::from_millis(20),
        unknown_for: Duration::from_millis(400),
    };

    async fn lost_after(mut script: Vec<Standing>) -> (CloseReason, Duration) {
        script.reverse();
        let begin = Instant::now();
        let reason = lost(&Script(Mutex::new(script)), &TIMINGS).await;
        (reason, begin.elapsed())
    }

    #[tokio::test]
    async fn a_session_that_has_ended_is_noticed_when_it_is_asked_for() {
        let (reason, after) = lost_after(vec![Standing::Ended]).await;
        assert!(reason == ENDED && after >= TIMINGS.ask_every.mul_f64(0.75), "{after:?}");
        let (reason, after) = lost_after(vec![Standing::Same, Standing::Unknown, Standing::Same, Standing::Ended]).await;
        assert!(reason == ENDED && after >= TIMINGS.ask_every.mul_f64(0.75) * 4, "{after:?}");
    }

    #[tokio::test]
    async fn nobody_is_believed_for_ever_when_nobody_knows() {
        for script in [vec![Standing::Unknown; 100], vec![]] {
            let (reason, after) = lost_after(script).await;
            assert!(reason == UNKNOWN && after >= TIMINGS.unknown_for, "{after:?}");
        }
    }
}
