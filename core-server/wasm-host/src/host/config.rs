//! `config`: what the admin configured.

use super::HostState;
use crate::bindings::checkstack::plugin::config::Host;

impl Host for HostState {
    fn get(&mut self) -> String {
        self.plugin.config.clone()
    }

    fn version(&mut self) -> u32 {
        self.plugin.services.config_version
    }
}
