//! The reasons of conditions.

use std::fmt;
use std::str::FromStr;

/// What a reason means, for the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReasonDocumentation {
    /// The reason as it stands in status.
    pub name: &'static str,
    /// What happened.
    pub meaning: &'static str,
    /// What to do about it.
    pub action: &'static str,
}

/// Text that is no reason of the kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no reason that this release knows")]
pub struct UnknownReason(String);

macro_rules! reasons {
    ($(#[$attribute:meta])* $name:ident { $($variant:ident: $meaning:literal, $action:literal;)+ }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $(#[doc = $meaning] #[doc = ""] #[doc = $action] $variant,)+
        }

        impl $name {
            /// All of them, in the order of the reference.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The reason as it stands in status.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)+
                }
            }

            /// What it means and what to do.
            pub const fn documentation(self) -> ReasonDocumentation {
                let (meaning, action) = match self {
                    $(Self::$variant => ($meaning, $action),)+
                };
                ReasonDocumentation { name: self.as_str(), meaning, action }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownReason;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|reason| reason.as_str() == text).ok_or_else(|| UnknownReason(text.to_owned()))
            }
        }
    };
}

reasons! {
    /// Reasons of a CheckstackPlugin's conditions and of the rows in `status.pods`.
    PluginConditionReason {
        // All is well, or will be.
        Fetched: "The package file was read from the source.", "Nothing.";
        IntegrityMatches: "The file is the one that integrity pins.", "Nothing.";
        DigestRecorded: "The file is a proper package. Without integrity there was nothing to compare it with; its digest is in status.", "Nothing. To accept only this file from now on, set spec.integrity.";
        Compatible: "The package fits this release and the other plugins.", "Nothing.";
        Stored: "The package file is in the artifact store.", "Nothing.";
        Active: "The plugin serves.", "Nothing.";
        Starting: "The plugin is being fetched, compiled, migrated or initialised in a pod.", "Wait.";
        Resolving: "The operator is reading the source or checking the package.", "Wait.";
        Uploading: "The operator is bringing the package file into the artifact store.", "Wait.";
        RollingOut: "The plugin set with this plugin is on its way into the pods.", "Wait.";
        PreviousStepNotDone: "An earlier condition is not True, so this one was not tried.", "Look at the first condition that is not True.";
        WaitingForPod: "No pod of the instance runs, so packages can be neither stored nor run.", "Scale the instance up, or look at its conditions for why it has no pods.";
        Disabled: "spec.enabled is false.", "Set spec.enabled to true to run the plugin.";
        Deleting: "The plugin is being taken out of the pods and, with deletionPolicy Purge, its data deleted.", "Wait. If it takes long, the message says what it waits for.";
        Removed: "A pod is taking the plugin down.", "Wait.";

        // The objects around it.
        InvalidSpec: "The object holds a value that this release of the operator cannot use.", "Correct the field that the message names.";
        InstanceNotFound: "The Checkstack that spec.instanceRef names does not exist in this namespace.", "Create the Checkstack, or create the plugin with the right name.";
        NotSelected: "The instance's spec.plugins.selector does not match the labels of this plugin.", "Add the labels, or widen the selector of the Checkstack.";
        SecretNotFound: "A Secret that the spec names does not exist, lacks the key, or has a value that is not text.", "Create the Secret in this namespace with the key that the message names.";
        ConfigMapNotFound: "The ConfigMap that the source names does not exist or lacks the key in binaryData.", "Create it: kubectl create configmap NAME --from-file=KEY=package.tgz.";
        ConfigKeyConflict: "A config field comes from two places.", "Remove it from spec.config, or take single keys of the Secret with secretRef.key and as.";
        DuplicatePluginId: "Another CheckstackPlugin of the instance has a package with the same plugin id; the older object wins.", "Delete one of the two, or disable one.";

        // Reading the source.
        SourceUnreachable: "The server of the source cannot be reached: the name does not resolve, the connection fails, TLS fails, or it answers with a server error.", "Check the URL and the network. The operator tries again with growing pauses.";
        SourceNotFound: "The server of the source answers that the file does not exist.", "Correct the URL.";
        SourceForbidden: "The server of the source refuses the request (401 or 403).", "Check the headers in the Secret that secretHeadersRef names.";
        SourceTooLarge: "The file is larger than 50 MB.", "Make the package smaller: a plugin needs its component and package.json only.";
        SourceTimeout: "The server of the source did not send the file in time.", "Check the server and the network. The operator tries again with growing pauses.";
        TooManyRedirects: "The server of the source redirects again and again.", "Use the final URL.";

        // Judging the package.
        IntegrityMismatch: "The file is not the one that integrity pins. It was not used.", "If you trust the new file, set spec.integrity to the value in the message; else find out who changed it.";
        InvalidPackage: "The file is no plugin package, or contradicts itself: no package.json, no checkstack block, no component, unreadable migrations.", "Build it with: checkstack plugin pack. The message says what is wrong.";
        UnsafePackage: "The archive holds links, device files, absolute paths or paths that lead out of it. Nothing was unpacked.", "Build it with: checkstack plugin pack, and distrust where it came from.";
        IncompatibleWorld: "The plugin was built for a version of the plugin interface that this release does not have.", "Take a version of the plugin that was built for this release, or upgrade the instance.";

        // Storing it.
        UploadFailed: "No pod took the package file into the artifact store.", "Look at the message and at the instance's condition DatabaseReachable. The operator tries again.";
        ArtifactMissing: "The artifact store does not have the package file.", "Wait: the operator uploads it again. If the source is gone too, make it available.";
        ArtifactCorrupt: "The bytes in the artifact store are not what their digest says.", "Wait: the operator uploads them again. Then look for faults of the database's storage.";

        // Bringing it up in a pod.
        InvalidComponent: "The component does not compile, or wants imports that plugins do not get.", "Build it with the plugin SDK of this release.";
        MigrationFailed: "A migration of the plugin's database schema failed, or one that was applied has been edited.", "The message names the migration. Correct it in a new version of the plugin; the version before goes on serving.";
        InvalidConfig: "The plugin says that its settings are wrong.", "Correct spec.config or the Secrets of spec.configFrom; the message is the plugin's own.";
        InitFailed: "The plugin returned an error while it was initialised.", "The message is the plugin's own. Its log in the pod says more.";
        Trapped: "The plugin crashed while it was starting.", "Report it to the plugin's author with the message.";
        DeadlineExceeded: "The plugin did not come up within its deadline.", "Raise spec.grants.deadline if the plugin has that much to do; else report it to its author.";
        MemoryExceeded: "The plugin wanted more memory than it is granted.", "Raise spec.grants.memory.";
        DependencyMissing: "A plugin that this one needs is not in the instance.", "Create a CheckstackPlugin for the plugin that the message names, or enable it.";
        DependencyVersion: "A plugin that this one needs is there in a version that does not fit.", "Take a version that is in the range of the message.";
        DependencyNotActive: "A plugin that this one needs is not active.", "Look at that plugin's status; this one follows by itself.";
        DependencyCycle: "Plugins need each other in a circle. The message names it.", "Remove one plugin of the circle, or take a version without that dependency.";
        DependentFailed: "A plugin that needs this one does not come up with this version, so the version before goes on serving.", "The message names that plugin and says what is wrong with it. Take a version of either that fits, or disable that plugin.";
        Quarantined: "The plugin is up, but calls to it trap, or end with answers that cannot be passed on, again and again, so that they are refused. After a pause, which grows to a minute, one call is let through; when that is answered, all are again.", "The message says what happens; its log lines in the pod may say more. Use another version, or tell the author.";
        ProbeFailed: "A critical probe of the new version of the plugin is not ok, so the version before goes on serving.", "The message names the probe and what it says. The pods try again.";
        SecretConfigMissing: "The values from Secrets have not reached the pod.", "Wait: the operator delivers them again.";
        SecretMissing: "spec.config refers to a secret that the instance does not have, or cannot decrypt.", "Set the secret that the message names; the pods go on by themselves.";
        DatabaseUnavailable: "The database does not answer the pod.", "Look at the instance's condition DatabaseReachable.";
        PodUnreachable: "The operator cannot ask the pod for its plugins.", "Look at the pod. If it is healthy, a NetworkPolicy may keep the operator away from its port http.";
        Internal: "The server or the operator failed in a way that it should not.", "Report it with the message and the logs.";

        // Taking it away.
        PurgeFailed: "The plugin's data could not be deleted, so the object stays.", "The message says why. To give up the data in place, set spec.deletionPolicy to Retain.";
    }
}

reasons! {
    /// Reasons of a Checkstack's conditions.
    InstanceConditionReason {
        // All is well, or will be.
        Ready: "Every wanted pod serves, with the plugin set that is wanted.", "Nothing.";
        Connected: "The pods can use the database.", "Nothing.";
        PodsReady: "Every wanted pod is ready.", "Nothing.";
        RolloutComplete: "Every pod has what spec asks for.", "Nothing.";
        OidcSecretsFound: "The Secrets that spec.signIn.oidc names are there, with their keys.", "Nothing. What the provider says to it is in the pods' logs.";
        RolloutInProgress: "Pods are being replaced, or are taking over a new plugin set.", "Wait.";
        ScaledToZero: "spec.replicas is 0: nothing runs and nothing serves. What was stored stays.", "Scale up to serve: kubectl scale checkstack NAME --replicas=1.";
        WaitingForPod: "No pod has reported yet.", "Wait, or look at the pods of the instance.";

        // The objects around it.
        InvalidSpec: "The object holds a value that this release of the operator cannot use.", "Correct the field that the message names.";
        DatabaseSecretNotFound: "The Secret that spec.database.urlSecretRef names does not exist or lacks the key.", "Create it in this namespace with a PostgreSQL URL under the key.";
        OidcSecretNotFound: "A Secret that spec.signIn.oidc names does not exist or lacks the key, so that nobody can sign in at the provider.", "Create it in this namespace with the key that the message names. Pods have it within about a minute.";
        ResourceConflict: "An object that the operator needs to own exists and belongs to somebody else.", "Delete or rename the object that the message names, or rename the instance.";
        ResourceRejected: "The API server refuses an object that the operator makes for the instance.", "The message is the API server's. Correct the part of spec that leads to it, or the quota or policy that forbids it.";
        PluginSetTooLarge: "The plugins' settings together are larger than a ConfigMap or Secret can be.", "Make spec.config of the plugins smaller.";
        KeysInvalid: "The Secret with the instance's keys was edited and cannot be used.", "Delete the Secret that the message names: the operator makes a new one and restarts the pods.";

        // What pods say.
        DatabaseUnreachable: "The pods cannot use the database.", "Check that PostgreSQL runs, that the URL in the Secret is right, and that its user may log in. The pods try again by themselves.";
        PodsNotReady: "Not all wanted pods are ready.", "The message says what the pods wait for; else look at them with kubectl describe.";
        PodsUnreachable: "The operator cannot ask the pods for their state.", "If the pods are healthy, a NetworkPolicy may keep the operator away from their port http.";
        PluginRolledBack: "A new form of a plugin did not come up in every pod, and the form before was put back into all of them.", "Look at the plugins that the message names. They are tried again when their spec, their package or a Secret of theirs changes, or when you set the annotation checkstack.io/retry of the plugin to a new value.";
        PluginsNotReady: "The pods serve, but a plugin of the instance does not.", "Look at the plugins that the message names.";
        RolloutStuck: "A change did not become active in every pod within spec.rollout.progressDeadlineSeconds.", "The message names the first pod that is behind and why. Pods with the state before go on serving.";
        Internal: "The operator failed in a way that it should not.", "Report it with the message and the logs.";
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::conditions::{InstanceConditionType, PluginConditionType};

    #[test]
    fn reasons_survive_the_way_through_text() {
        for reason in PluginConditionReason::ALL {
            assert_eq!(reason.to_string().parse(), Ok(*reason));
        }
        for reason in InstanceConditionReason::ALL {
            assert_eq!(reason.to_string().parse(), Ok(*reason));
        }
        assert_eq!("Wormhole".parse::<PluginConditionReason>(), Err(UnknownReason("Wormhole".into())));
    }

    #[test]
    fn every_reason_says_what_it_means_and_what_to_do() {
        let plugin = PluginConditionReason::ALL.iter().map(|reason| reason.documentation());
        let instance = InstanceConditionReason::ALL.iter().map(|reason| reason.documentation());
        for ReasonDocumentation { name, meaning, action } in plugin.chain(instance) {
            // What the API server asks of a reason.
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric()) && name.starts_with(|c: char| c.is_ascii_uppercase()), "{name}");
            assert!(meaning.len() > 15 && meaning.ends_with('.'), "{name}: {meaning}");
            assert!(action.ends_with('.'), "{name}: {action}");
            assert!(!meaning.contains('|') && !action.contains('|'), "{name} would break the table of the reference");
        }
    }

    #[test]
    fn types_are_what_the_api_promises() {
        let names = |types: &[&'static str]| types.join(" ");
        assert_eq!(
            names(&PluginConditionType::ALL.iter().map(|t| t.as_str()).collect::<Vec<_>>()),
            "Resolved Verified Compatible Materialized Loaded Ready RolledBack Reconciling Stalled"
        );
        assert_eq!(
            names(&InstanceConditionType::ALL.iter().map(|t| t.as_str()).collect::<Vec<_>>()),
            "DatabaseReachable Available Progressing Ready SignInConfigured RolledBack Reconciling Stalled"
        );
    }
}
