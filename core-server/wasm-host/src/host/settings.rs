//! `settings`: versioned records of what a plugin is told while it runs.

use std::sync::Arc;

use checkstack_platform::plugin::{self as platform, SettingsError, SettingsStore};

use super::HostState;
use crate::bindings::checkstack::plugin::settings::{Error, Host, Setting};

impl From<SettingsError> for Error {
    fn from(error: SettingsError) -> Self {
        match error {
            SettingsError::Invalid(message) => Self::Invalid(message),
            SettingsError::Newer(version) => Self::Newer(version),
            SettingsError::Unavailable(message) => Self::Unavailable(message),
        }
    }
}

impl From<platform::Setting> for Setting {
    fn from(setting: platform::Setting) -> Self {
        let platform::Setting { version, data, revision, original_version, migrated_at } = setting;
        Self { version, data, revision, original_version, migrated_at }
    }
}

impl From<Setting> for platform::Setting {
    fn from(setting: Setting) -> Self {
        let Setting { version, data, revision, original_version, migrated_at } = setting;
        Self { version, data, revision, original_version, migrated_at }
    }
}

impl HostState {
    fn settings(&self) -> Result<Arc<dyn SettingsStore>, Error> {
        self.database(self.plugin.services.settings.as_ref()).map_err(Error::Denied)
    }
}

impl Host for HostState {
    async fn get(&mut self, id: String, version: u32) -> Result<Option<Setting>, Error> {
        Ok(self.settings()?.get(&id, version).await?.map(Setting::from))
    }

    async fn set(&mut self, id: String, version: u32, data: String) -> Result<(), Error> {
        Ok(self.settings()?.set(&id, version, data).await?)
    }

    async fn migrate(&mut self, id: String, source: Setting, version: u32, data: String) -> Result<Option<Setting>, Error> {
        Ok(self.settings()?.migrate(&id, source.into(), version, data).await?.map(Setting::from))
    }

    async fn delete(&mut self, id: String) -> Result<bool, Error> {
        Ok(self.settings()?.delete(&id).await?)
    }

    async fn ids(&mut self, after: Option<String>, limit: u32) -> Result<Vec<String>, Error> {
        Ok(self.settings()?.ids(after.as_deref(), limit).await?)
    }
}
