//! Events (platform facts §2.8) for the plugins: what each may emit and hear, and who is told here.
//!
//! The crate `checkstack-events` brings them from replica to replica.

mod announcements;
mod listeners;
mod plugin_events;

use checkstack_control_api::report::PluginReason;
use checkstack_events::{EventBus, EventError};
use checkstack_plugin_package::{PluginEntry, PluginId};

pub(crate) use self::announcements::announce;
pub(crate) use self::listeners::Listeners;
pub use self::plugin_events::PluginEvents;
use crate::plugin::{Delivery, PluginFailure, SubscriptionDescription};

/// What the server calls itself in the names of its events.
pub(crate) const CORE: &str = "core";

/// Forgets what waits for a plugin.
pub(crate) async fn forget(bus: &EventBus, plugin_id: &PluginId) -> Result<(), EventError> {
    bus.forget_plugin(&plugin_id.as_str().parse()?).await.map(drop)
}

/// Whether a plugin may be told of what it has subscribed to: its own events, those of plugins that it depends on, and those of the server.
/// What others say among themselves is not for it.
pub(crate) fn check(entry: &PluginEntry, subscriptions: &[SubscriptionDescription]) -> Result<(), PluginFailure> {
    if !subscriptions.is_empty() && !entry.grants.database {
        let message = "the plugin has subscribed to events, but it is not granted a database: set spec.grants.database to true";
        return Err(PluginFailure::terminal(PluginReason::InvalidConfig, message));
    }
    for subscription @ SubscriptionDescription { event, delivery } in subscriptions {
        let invalid = |problem: String| PluginFailure::terminal(PluginReason::InvalidPackage, problem);
        let topic = subscription.topic().map_err(|problem| invalid(format!("the plugin has subscribed to '{event}': {problem}")))?;
        if topic.kind.is_some() && *delivery == Delivery::InstanceLocal {
            return Err(invalid(format!(
                "the plugin has subscribed to '{event}' as instance-local, and changes of entities are told to all replicas"
            )));
        }
        let source = topic.source();
        let is_dependency = || entry.dependencies.keys().any(|dependency| dependency.as_str() == source);
        let is_core = source == CORE && topic.kind.is_none();
        if !is_core && source != entry.plugin_id.as_str() && !is_dependency() {
            return Err(invalid(format!(
                "the plugin has subscribed to '{event}', but it does not depend on a plugin '{source}': its package.json has to name it under \
                 checkstack.dependencies"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use checkstack_plugin_package::{Digest, Grants};

    use super::*;

    fn entry(database: bool) -> PluginEntry {
        PluginEntry {
            resource: "page".into(),
            plugin_id: "page".parse().unwrap(),
            package: "@acme/page".into(),
            version: "1.0.0".into(),
            digest: Digest::of(b""),
            dependencies: BTreeMap::from([("uptime".parse().unwrap(), "*".into())]),
            critical: false,
            config: serde_json::Map::new(),
            config_version: 1,
            secret_config_hash: None,
            grants: Grants { database, ..Grants::default() },
            unknown: serde_json::Map::new(),
        }
    }

    fn checked(entry: &PluginEntry, event: &str) -> Result<(), (PluginReason, String)> {
        let subscription = SubscriptionDescription { event: event.into(), delivery: Delivery::Broadcast };
        check(entry, &[subscription]).map_err(|failure| (failure.reason, failure.message))
    }

    #[test]
    fn a_plugin_hears_itself_its_dependencies_and_the_server() {
        for event in ["page.rendered", "uptime.target.changed", "core.plugin.initialized"] {
            assert_eq!(checked(&entry(true), event), Ok(()));
        }
        for (event, source) in [("mail.sent", "mail"), ("uptime2.x", "uptime2"), ("uptimes", "uptimes")] {
            let (reason, message) = checked(&entry(true), event).unwrap_err();
            assert!(reason == PluginReason::InvalidPackage && message.contains(&format!("'{source}'")), "{message}");
        }
        for event in ["automation.entity.changed/uptime.target", "automation.entity.changed/page.section"] {
            assert_eq!(checked(&entry(true), event), Ok(()));
        }
        for (event, problem) in [
            ("automation.entity.changed/mail.box", "'mail'"),
            ("automation.entity.changed", "'automation'"),
            ("automation.entity.changed/health", "<plugin-id>.<name>"),
            ("automation.entity.changed/core.x", "'core'"),
            ("automation.entity.changed/uptime.A", "is not the name of a kind"),
            ("uptime.target.changed/uptime.target", "only 'automation.entity.changed'"),
        ] {
            let (reason, message) = checked(&entry(true), event).unwrap_err();
            assert!(reason == PluginReason::InvalidPackage && message.contains(problem), "{message}");
        }
        let local = SubscriptionDescription { event: "automation.entity.changed/uptime.target".into(), delivery: Delivery::InstanceLocal };
        assert!(check(&entry(true), &[local]).is_err());
        let (reason, message) = checked(&entry(false), "page.rendered").unwrap_err();
        assert!(reason == PluginReason::InvalidConfig && message.contains("spec.grants.database"), "{message}");
        assert_eq!(check(&entry(false), &[]), Ok(()));
    }
}
