//! The types of conditions.

/// What a condition type is about, for the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConditionTypeDocumentation {
    /// The type as it stands in status.
    pub name: &'static str,
    /// What it means when the status is True.
    pub meaning: &'static str,
}

macro_rules! condition_types {
    ($(#[$attribute:meta])* $name:ident { $($variant:ident: $meaning:literal,)+ }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $(#[doc = $meaning] $variant,)+
        }

        impl $name {
            /// All of them, in the order in which they come true.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The type as it stands in status.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)+
                }
            }

            /// What it means.
            pub const fn documentation(self) -> ConditionTypeDocumentation {
                let meaning = match self {
                    $(Self::$variant => $meaning,)+
                };
                ConditionTypeDocumentation { name: self.as_str(), meaning }
            }
        }
    };
}

condition_types! {
    /// Conditions of a CheckstackPlugin.
    PluginConditionType {
        Resolved: "The source was read and led to one package file.",
        Verified: "The file is what integrity asks for, and a package that is safe to unpack.",
        Compatible: "This release can run the package, and nothing else in the instance stands against it.",
        Materialized: "The package file is in the instance's artifact store; the source is not needed any more.",
        Loaded: "Every pod that should run the plugin reports that it does.",
        Ready: "The plugin serves in every pod, in the version and with the settings of spec. Summary of the others, with the reason of the first that is not True.",
        RolledBack: "What spec asks for did not come up in every pod, and the form before was put back into all of them. Its reason is the one that a pod gave. Present only while True.",
        Reconciling: "The operator or a pod is working on a change. Present only while True.",
        Stalled: "Nothing will happen until somebody changes something. Present only while True.",
    }
}

condition_types! {
    /// Conditions of a Checkstack.
    InstanceConditionType {
        DatabaseReachable: "The pods can use the database.",
        Available: "Enough pods are ready to serve.",
        Progressing: "A new plugin set, release or setting is on its way into the pods.",
        Ready: "Every wanted pod serves, with the plugin set that is wanted. Summary of the others.",
        SignInConfigured: "What spec.signIn.oidc names is there, so that people can sign in at the provider. Does not count for Ready: one can sign in with a password. Present only with spec.signIn.oidc.",
        RolledBack: "A plugin was put back to the form before. Present only while True.",
        Reconciling: "The operator or a pod is working on a change. Present only while True.",
        Stalled: "Nothing will happen until somebody changes something. Present only while True.",
    }
}
