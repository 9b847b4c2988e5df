//! `cache` as a plugin of the server.

use checkstack_platform::native::backends::{BackendChoice, BackendPlugin};
use checkstack_platform::native::{Migrations, NativePlugin, NativeServices, NativeSettings};
use checkstack_plugin_package::PluginId;

use crate::caches::Caches;
use crate::procedures::{State, procedures};

const ID: &str = "cache";
const MIGRATIONS: Migrations = Migrations { schema: "plugin_cache", steps: &[(1, "cache", include_str!("../migrations/0001_cache.sql"))] };

/// Makes the plugin.
///
/// # Errors
/// A fault of the server: its procedures cannot be offered.
pub fn part(services: NativeServices) -> Result<NativePlugin, String> {
    let id: PluginId = ID.parse().map_err(|problem| format!("{problem}"))?;
    let procedures = procedures(id.clone()).map_err(|problem| problem.to_string())?;
    let settings = NativeSettings::new(services.database, MIGRATIONS);
    Ok(BackendPlugin::part(id, procedures, State::new(BackendChoice::new(settings, Caches(services.caches)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_applied_in_its_order() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        let listed: Vec<_> = MIGRATIONS.steps.iter().map(|(version, name, _)| format!("{version:04}_{name}.sql")).collect();
        assert_eq!(files, listed);
    }
}
