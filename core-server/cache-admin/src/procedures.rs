//! The procedures of `cache`.

use std::sync::Arc;

use checkstack_cache::{CacheManager, EntryQuery, EntrySummary, Scope, ScopeName};
use checkstack_calls::access::{AccessRule, Level};
use checkstack_calls::contract::InvalidContract;
use checkstack_calls::error::CallError;
use checkstack_calls::gate::UserType;
use checkstack_platform::native::backends::{BackendChoice, BackendConfiguration, Backends as _, HasChoice, ProviderInfo};
use checkstack_platform::native::{Caller, ProcedureDefinition, Procedures};
use checkstack_plugin_package::PluginId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::caches::Caches;

/// What the procedures work with.
pub(crate) struct State {
    choice: Arc<BackendChoice<Caches>>,
}

impl State {
    pub(crate) fn new(choice: BackendChoice<Caches>) -> Self {
        Self { choice: Arc::new(choice) }
    }

    fn caches(&self) -> &CacheManager {
        &self.choice.backends().0
    }
}

impl HasChoice for State {
    type Of = Caches;

    fn choice(&self) -> &Arc<BackendChoice<Caches>> {
        &self.choice
    }
}

type Result<T> = std::result::Result<T, CallError>;

/// All of them.
pub(crate) fn procedures(plugin: PluginId) -> std::result::Result<Procedures<State>, InvalidContract> {
    let read = |definition: ProcedureDefinition<State>| definition.guarded(UserType::Authenticated, &["cache.read"]);
    let manage = |definition: ProcedureDefinition<State>| definition.guarded(UserType::Authenticated, &["cache.manage"]);
    let definitions = vec![
        read(ProcedureDefinition::query("getPlugins", "Providers that can keep cache entries", get_plugins)),
        read(ProcedureDefinition::query("getConfiguration", "Which provider keeps cache entries, and how", get_configuration)),
        manage(ProcedureDefinition::mutation(
            "updateConfiguration",
            "Changes the provider, on all replicas; entries are not carried over",
            update_configuration,
        )),
        read(ProcedureDefinition::query("getRuntimeStats", "How many entries there are, and how often one was found", get_runtime_stats)),
        read(ProcedureDefinition::query("listEntries", "Entries by plugin and key, without their values", list_entries)),
    ];
    let rule = |level, description: &str| AccessRule {
        resource: "cache".to_owned(),
        level,
        description: description.to_owned(),
        is_default: false,
        is_public: false,
    };
    Procedures::new(
        plugin,
        vec![rule(Level::Read, "See the keys of caches and how entries are kept"), rule(Level::Manage, "Set how cache entries are kept")],
        definitions,
    )
}

async fn get_plugins(state: Arc<State>, _: Caller, (): ()) -> Result<Vec<ProviderInfo>> {
    Ok(state.choice.providers())
}

async fn get_configuration(state: Arc<State>, _: Caller, (): ()) -> Result<BackendConfiguration> {
    state.choice.configuration().await
}

async fn update_configuration(state: Arc<State>, caller: Caller, asked: BackendConfiguration) -> Result<BackendConfiguration> {
    state.choice.clone().update(caller, asked).await
}

/// Null where the provider has no figures.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct RuntimeStats {
    key_count: Option<u64>,
    /// With keys, and what it costs to keep entries.
    size_bytes: Option<u64>,
    hits: Option<u64>,
    misses: Option<u64>,
    /// Of the replica that answers, or of all.
    scope: Scope,
}

async fn get_runtime_stats(state: Arc<State>, _: Caller, (): ()) -> Result<RuntimeStats> {
    let stats = state.caches().stats().await.map_err(Caches::refusal)?;
    Ok(RuntimeStats {
        key_count: stats.map(|stats| stats.key_count),
        size_bytes: stats.map(|stats| stats.size_bytes),
        hits: stats.map(|stats| stats.hits),
        misses: stats.map(|stats| stats.misses),
        scope: stats.map_or(Scope::Instance, |stats| stats.scope),
    })
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Listing {
    /// Only those of one plugin.
    #[serde(default)]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9-]+$"))]
    plugin_id: Option<String>,
    /// Only those whose keys begin so.
    #[serde(default)]
    #[schemars(length(max = 128))]
    prefix: String,
    #[serde(default)]
    #[schemars(range(max = 1_000_000))]
    offset: u32,
    #[schemars(range(min = 1, max = 200))]
    limit: u32,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct EntryInfo {
    plugin_id: String,
    key: String,
    /// Of the value.
    size_bytes: u64,
    /// How long it lives on; without it, until there is no room.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_ms: Option<u64>,
}

impl From<EntrySummary> for EntryInfo {
    fn from(entry: EntrySummary) -> Self {
        Self {
            plugin_id: entry.scope.to_string(),
            key: entry.key,
            size_bytes: entry.value_bytes as u64,
            expires_in_ms: entry.expires_in.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Entries {
    /// Whether the provider can list its entries.
    supported: bool,
    items: Vec<EntryInfo>,
    total: u64,
    has_more: bool,
}

async fn list_entries(state: Arc<State>, _: Caller, listing: Listing) -> Result<Entries> {
    let scope = listing.plugin_id.map(|id| id.parse::<ScopeName>()).transpose().map_err(Caches::refusal)?;
    let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let query = EntryQuery { scope, prefix: listing.prefix, offset: size(listing.offset), limit: size(listing.limit) };
    let page = state.caches().list(&query).await.map_err(Caches::refusal)?;
    let supported = page.is_some();
    let page = page.unwrap_or_default();
    Ok(Entries { supported, items: page.items.into_iter().map(EntryInfo::from).collect(), total: page.total, has_more: page.has_more })
}
