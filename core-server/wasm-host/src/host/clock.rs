//! `clock`: what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

use super::HostState;
use crate::bindings::checkstack::plugin::clock::Host;

impl Host for HostState {
    fn now(&mut self) -> u64 {
        // A clock before 1970 is not set yet.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    fn monotonic(&mut self) -> u64 {
        u64::try_from(self.plugin.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
