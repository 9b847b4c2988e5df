//! The hooks of the core (platform facts §2.8). Some are for all replicas ([`Hook::emit`]), some for this process alone
//! ([`Hook::emit_local`]); each says which.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::hook::Hook;

/// Distributed: a plugin has registered access rules.
pub const ACCESS_RULES_REGISTERED: Hook<AccessRulesRegistered> = Hook::new("core.accessRules.registered");
/// Distributed: a plugin's setting has changed.
pub const CONFIG_UPDATED: Hook<ConfigUpdated> = Hook::new("core.config.updated");
/// Distributed: a plugin is initialised.
pub const PLUGIN_INITIALIZED: Hook<PluginInitialized> = Hook::new("core.plugin.initialized");
/// For a broadcast: all replicas are to load a plugin.
pub const PLUGIN_INSTALLATION_REQUESTED: Hook<PluginInstallationRequested> = Hook::new("core.plugin.installation-requested");
/// Instance-local: a plugin is about to be loaded.
pub const PLUGIN_INSTALLING: Hook<PluginInstalling> = Hook::new("core.plugin.installing");
/// Distributed: a plugin was loaded.
pub const PLUGIN_INSTALLED: Hook<PluginInstalled> = Hook::new("core.plugin.installed");
/// For a broadcast: all replicas are to unload a plugin.
pub const PLUGIN_DEREGISTRATION_REQUESTED: Hook<PluginDeregistrationRequested> = Hook::new("core.plugin.deregistration-requested");
/// Instance-local: a plugin is about to be unloaded.
pub const PLUGIN_DEREGISTERING: Hook<PluginDeregistering> = Hook::new("core.plugin.deregistering");
/// Distributed: a plugin was unloaded.
pub const PLUGIN_DEREGISTERED: Hook<PluginDeregistered> = Hook::new("core.plugin.deregistered");
/// Distributed: a replica shuts down.
pub const PLATFORM_SHUTDOWN: Hook<PlatformShutdown> = Hook::new("core.platform.shutdown");

/// Of [`ACCESS_RULES_REGISTERED`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessRulesRegistered {
    /// Whose rules
    pub plugin_id: String,
    /// As they were registered (§6.3)
    pub access_rules: Vec<Value>,
}

/// Of [`CONFIG_UPDATED`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigUpdated {
    /// Whose setting
    pub plugin_id: String,
    /// Which
    pub key: String,
    /// What it is now; never a secret
    pub value: Value,
}

macro_rules! about_a_plugin {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $of:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            /// Which plugin
            pub plugin_id: String,
            $($(#[$field_doc])* pub $field: $of,)*
        }
    )*};
}

about_a_plugin! {
    /// Of [`PLUGIN_INITIALIZED`].
    PluginInitialized {}
    /// Of [`PLUGIN_INSTALLATION_REQUESTED`].
    PluginInstallationRequested {
        /// Where it is unpacked; empty: each replica looks for itself.
        plugin_path: String,
    }
    /// Of [`PLUGIN_INSTALLING`].
    PluginInstalling {}
    /// Of [`PLUGIN_INSTALLED`].
    PluginInstalled {}
    /// Of [`PLUGIN_DEREGISTRATION_REQUESTED`].
    PluginDeregistrationRequested {
        /// Whether its data goes, too
        delete_schema: bool,
    }
    /// Of [`PLUGIN_DEREGISTERING`].
    PluginDeregistering {
        /// Why
        reason: DeregistrationReason,
    }
    /// Of [`PLUGIN_DEREGISTERED`].
    PluginDeregistered {}
}

/// Why a plugin is unloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeregistrationReason {
    /// It is no longer wanted.
    Uninstall,
    /// It was turned off.
    Disable,
    /// The process ends.
    Shutdown,
}

/// Of [`PLATFORM_SHUTDOWN`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlatformShutdown {
    /// Why
    pub reason: ShutdownReason,
}

/// Why a replica shuts down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShutdownReason {
    /// It was told to, for example by Kubernetes.
    Signal,
    /// It cannot go on.
    Error,
    /// An admin wants it.
    Manual,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_are_valid() {
        let ids = [
            ACCESS_RULES_REGISTERED.id(),
            CONFIG_UPDATED.id(),
            PLUGIN_INITIALIZED.id(),
            PLUGIN_INSTALLATION_REQUESTED.id(),
            PLUGIN_INSTALLING.id(),
            PLUGIN_INSTALLED.id(),
            PLUGIN_DEREGISTRATION_REQUESTED.id(),
            PLUGIN_DEREGISTERING.id(),
            PLUGIN_DEREGISTERED.id(),
            PLATFORM_SHUTDOWN.id(),
        ];
        assert!(ids.into_iter().all(|id| id.is_ok_and(|id| id.as_str().starts_with("core."))));
    }

    #[test]
    fn payloads_are_written_as_the_original_does() {
        fn of(payload: &impl Serialize) -> Value {
            serde_json::to_value(payload).unwrap()
        }
        assert_eq!(
            of(&PluginDeregistrationRequested { plugin_id: "a".into(), delete_schema: false }),
            json!({"pluginId": "a", "deleteSchema": false})
        );
        assert_eq!(
            of(&PluginInstallationRequested { plugin_id: "a".into(), plugin_path: String::new() }),
            json!({"pluginId": "a", "pluginPath": ""})
        );
        assert_eq!(
            of(&PluginDeregistering { plugin_id: "a".into(), reason: DeregistrationReason::Uninstall }),
            json!({"pluginId": "a", "reason": "uninstall"})
        );
        assert_eq!(of(&PlatformShutdown { reason: ShutdownReason::Signal }), json!({"reason": "signal"}));
        assert_eq!(of(&AccessRulesRegistered { plugin_id: "a".into(), access_rules: vec![] }), json!({"pluginId": "a", "accessRules": []}));
    }
}
