//! Client of the plugin `uptime` for other plugins, made by `checkstack client`: do not edit.
#![cfg_attr(rustfmt, rustfmt_skip)]
#![allow(dead_code, missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::indexing_slicing, reason = "generated")]

pub use ::checkstack_plugin::peers::Error;
/// Its procedures are those of the plugin `uptime`.
pub const PLUGIN_ID: &str = "uptime";
/// Checks all targets that were not checked a moment ago
///
/// Those that have waited longest come first; what there is no time for comes first next time.
///
/// **Authorization.** Everybody may call it whose role permits it; without signing in, the role `anonymous`. Needs `uptime.check.manage`.
pub fn checks_run() -> Result<types::ChecksRunOutput, Error> {
    ::checkstack_plugin::peers::call_procedure(PLUGIN_ID, "checks/run", &())
}
/// How each target is, and how it has been
///
/// **Authorization.** Everybody may call it whose role permits it; without signing in, the role `anonymous`. Needs `uptime.target.read`.
pub fn targets() -> Result<types::TargetsOutput, Error> {
    ::checkstack_plugin::peers::call_procedure(PLUGIN_ID, "targets", &())
}
/// What checks of a target came to, the newest first
///
/// **Authorization.** Everybody may call it whose role permits it; without signing in, the role `anonymous`. Needs `uptime.target.read`.
pub fn targets_history(
    input: &types::TargetsHistoryInput,
) -> Result<types::TargetsHistoryOutput, Error> {
    ::checkstack_plugin::peers::call_procedure(PLUGIN_ID, "targets/history", input)
}
/// What its procedures take and give.
pub mod types {
    /// What a run of checks came to.
    #[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, PartialEq)]
    pub struct ChecksRunOutput {
        pub checked: ::std::vec::Vec<Outcome>,
        /// There was no time left for these; the next run begins with them.
        pub postponed: ::std::vec::Vec<::std::string::String>,
        /// Checked by another request a moment ago.
        pub recent: ::std::vec::Vec<::std::string::String>,
    }
    /// What came of one check.
    #[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, PartialEq)]
    pub struct Outcome {
        #[serde(rename = "checkedAt")]
        pub checked_at: ::std::string::String,
        #[serde(rename = "latencyMs")]
        pub latency_ms: u32,
        /// Why it is not up.
        #[serde(deserialize_with = "::std::option::Option::deserialize")]
        pub problem: ::std::option::Option<::std::string::String>,
        /// None where there was no answer.
        #[serde(deserialize_with = "::std::option::Option::deserialize")]
        pub status: ::std::option::Option<u16>,
        pub target: ::std::string::String,
        pub up: bool,
    }
    /// `State`
    #[derive(
        ::serde::Deserialize,
        ::serde::Serialize,
        Clone,
        Copy,
        Debug,
        Eq,
        Hash,
        Ord,
        PartialEq,
        PartialOrd
    )]
    pub enum State {
        #[serde(rename = "up")]
        Up,
        #[serde(rename = "down")]
        Down,
        #[serde(rename = "unknown")]
        Unknown,
    }
    impl ::std::fmt::Display for State {
        fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
            match *self {
                Self::Up => f.write_str("up"),
                Self::Down => f.write_str("down"),
                Self::Unknown => f.write_str("unknown"),
            }
        }
    }
    impl ::std::str::FromStr for State {
        type Err = self::error::ConversionError;
        fn from_str(
            value: &str,
        ) -> ::std::result::Result<Self, self::error::ConversionError> {
            match value {
                "up" => Ok(Self::Up),
                "down" => Ok(Self::Down),
                "unknown" => Ok(Self::Unknown),
                _ => Err("invalid value".into()),
            }
        }
    }
    impl ::std::convert::TryFrom<&str> for State {
        type Error = self::error::ConversionError;
        fn try_from(
            value: &str,
        ) -> ::std::result::Result<Self, self::error::ConversionError> {
            value.parse()
        }
    }
    impl ::std::convert::TryFrom<::std::string::String> for State {
        type Error = self::error::ConversionError;
        fn try_from(
            value: ::std::string::String,
        ) -> ::std::result::Result<Self, self::error::ConversionError> {
            value.parse()
        }
    }
    /// How a target is, and how it has been.
    #[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, PartialEq)]
    pub struct TargetSummary {
        /// 0 to 1: the part of them that found it up.
        #[serde(deserialize_with = "::std::option::Option::deserialize")]
        pub availability: ::std::option::Option<f64>,
        /// None before the first check, like what follows.
        #[serde(
            rename = "checkedAt",
            deserialize_with = "::std::option::Option::deserialize"
        )]
        pub checked_at: ::std::option::Option<::std::string::String>,
        /// Checks within the window.
        pub checks: u64,
        #[serde(
            rename = "latencyMs",
            deserialize_with = "::std::option::Option::deserialize"
        )]
        pub latency_ms: ::std::option::Option<u32>,
        /// Of those that found it up.
        #[serde(
            rename = "meanLatencyMs",
            deserialize_with = "::std::option::Option::deserialize"
        )]
        pub mean_latency_ms: ::std::option::Option<f64>,
        pub name: ::std::string::String,
        #[serde(deserialize_with = "::std::option::Option::deserialize")]
        pub problem: ::std::option::Option<::std::string::String>,
        pub state: State,
        #[serde(deserialize_with = "::std::option::Option::deserialize")]
        pub status: ::std::option::Option<u16>,
        pub url: ::std::string::String,
    }
    /// Which history.
    #[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, PartialEq)]
    pub struct TargetsHistoryInput {
        /// So many results at most.
        #[serde(skip_serializing_if = "::std::option::Option::is_none")]
        pub limit: ::std::option::Option<u32>,
        /// The name of a target.
        pub target: ::std::string::String,
    }
    /// `TargetsHistoryOutput`
    #[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, PartialEq)]
    pub struct TargetsHistoryOutput {
        pub results: ::std::vec::Vec<Outcome>,
        pub target: ::std::string::String,
    }
    /// `TargetsOutput`
    #[derive(::serde::Deserialize, ::serde::Serialize, Clone, Debug, PartialEq)]
    pub struct TargetsOutput {
        pub targets: ::std::vec::Vec<TargetSummary>,
        /// Seconds over which availability and latency are computed.
        #[serde(rename = "windowSeconds")]
        pub window_seconds: u64,
    }
    /// Error types.
    pub mod error {
        /// Error from a `TryFrom` or `FromStr` implementation.
        pub struct ConversionError(::std::borrow::Cow<'static, str>);
        impl ::std::error::Error for ConversionError {}
        impl ::std::fmt::Display for ConversionError {
            fn fmt(
                &self,
                f: &mut ::std::fmt::Formatter<'_>,
            ) -> Result<(), ::std::fmt::Error> {
                ::std::fmt::Display::fmt(&self.0, f)
            }
        }
        impl ::std::fmt::Debug for ConversionError {
            fn fmt(
                &self,
                f: &mut ::std::fmt::Formatter<'_>,
            ) -> Result<(), ::std::fmt::Error> {
                ::std::fmt::Debug::fmt(&self.0, f)
            }
        }
        impl From<&'static str> for ConversionError {
            fn from(value: &'static str) -> Self {
                Self(value.into())
            }
        }
        impl From<String> for ConversionError {
            fn from(value: String) -> Self {
                Self(value.into())
            }
        }
    }
}
