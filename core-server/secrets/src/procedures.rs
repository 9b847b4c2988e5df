//! The procedures of `secrets`. None of them answers with a value.

use std::sync::Arc;

use checkstack_calls::access::{AccessRule, Level};
use checkstack_calls::contract::InvalidContract;
use checkstack_calls::error::{CallError, ErrorCode};
use checkstack_calls::gate::UserType;
use checkstack_platform::native::{Caller, ProcedureDefinition, Procedures};
use checkstack_plugin_package::PluginId;
use checkstack_settings::reference::SecretName;
use checkstack_settings::secret::SecretString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::info;

use crate::keeper::Keeper;
use crate::plugin::Announcer;

/// What the procedures work with.
pub(crate) struct State {
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) announcer: Announcer,
}

type Result<T> = std::result::Result<T, CallError>;

/// All of them.
pub(crate) fn procedures(plugin: PluginId) -> std::result::Result<Procedures<State>, InvalidContract> {
    let read = |definition: ProcedureDefinition<State>| definition.guarded(UserType::Authenticated, &["secret.read"]);
    let manage = |definition: ProcedureDefinition<State>| definition.guarded(UserType::Authenticated, &["secret.manage"]);
    let definitions = vec![
        read(ProcedureDefinition::query("listSecrets", "Which secrets there are, without their values", list_secrets)),
        manage(ProcedureDefinition::mutation(
            "setSecret",
            "Makes a secret, or gives it another value; plugins that refer to it are initialised anew",
            set_secret,
        )),
        manage(ProcedureDefinition::mutation(
            "deleteSecret",
            "Deletes a secret; plugins that run go on with the value that they have",
            delete_secret,
        )),
        manage(ProcedureDefinition::mutation(
            "reencryptSecrets",
            "Encrypts all secrets with the current key that are encrypted with another one",
            reencrypt_secrets,
        )),
    ];
    let rule = |level, description: &str| AccessRule {
        resource: "secret".to_owned(),
        level,
        description: description.to_owned(),
        is_default: false,
        is_public: false,
    };
    Procedures::new(
        plugin,
        vec![rule(Level::Read, "See which secrets there are"), rule(Level::Manage, "Set and delete secrets")],
        definitions,
    )
}

/// Where a secret is.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Source {
    /// In the database, encrypted.
    Database,
    /// In a Secret that the instance's spec names.
    Kubernetes,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SecretInfo {
    name: String,
    description: String,
    source: Source,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_by: Option<String>,
    /// One of the same name is in the database, and does not count.
    hides_stored: bool,
}

async fn list_secrets(state: Arc<State>, _: Caller, (): ()) -> Result<Vec<SecretInfo>> {
    let info = |secret: crate::keeper::Shown| {
        let source = if secret.updated.is_some() { Source::Database } else { Source::Kubernetes };
        let (updated_at, updated_by) = secret.updated.unzip();
        let (name, description, hides_stored) = (secret.name, secret.description, secret.hides_stored);
        SecretInfo { name, description, source, updated_at, updated_by, hides_stored }
    };
    Ok(state.keeper.list().await?.into_iter().map(info).collect())
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewSecret {
    /// 1 to 128 of the characters a-z, A-Z, 0-9, _ and -.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]{1,128}$"))]
    name: String,
    /// 64 KiB at most. What plugins write is shown without it, if it has four characters and more.
    value: SecretString,
    /// For people. Left out, it stays as it is.
    #[schemars(length(max = 1024))]
    description: Option<String>,
}

async fn set_secret(state: Arc<State>, caller: Caller, NewSecret { name, value, description }: NewSecret) -> Result<()> {
    let name = parse(&name)?;
    state.keeper.set(&caller, &name, &value, description).await?;
    info!(secret = %name, by = caller.shown(), "a secret was set");
    state.announcer.changed(&name).await;
    Ok(())
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WhichSecret {
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]{1,128}$"))]
    name: String,
}

#[derive(Serialize, JsonSchema)]
struct Deleted {
    /// False: there was none in the database.
    deleted: bool,
}

async fn delete_secret(state: Arc<State>, caller: Caller, WhichSecret { name }: WhichSecret) -> Result<Deleted> {
    let name = parse(&name)?;
    let deleted = state.keeper.delete(&caller, &name).await?;
    if deleted {
        info!(secret = %name, by = caller.shown(), "a secret was deleted");
        state.announcer.changed(&name).await;
    }
    Ok(Deleted { deleted })
}

#[derive(Serialize, JsonSchema)]
struct Failure {
    name: String,
    problem: String,
}

#[derive(Serialize, JsonSchema)]
struct Reencryption {
    /// So many were encrypted with another key.
    reencrypted: u32,
    /// So many were encrypted with the current one.
    unchanged: u32,
    /// These cannot be decrypted, and are as they were.
    failures: Vec<Failure>,
}

async fn reencrypt_secrets(state: Arc<State>, caller: Caller, (): ()) -> Result<Reencryption> {
    let outcome = state.keeper.reencrypt(&caller).await?;
    let failures: Vec<Failure> = outcome.failures.into_iter().map(|(name, problem)| Failure { name, problem }).collect();
    info!(reencrypted = outcome.reencrypted, failures = failures.len(), by = caller.shown(), "secrets were encrypted anew");
    Ok(Reencryption { reencrypted: outcome.reencrypted, unchanged: outcome.unchanged, failures })
}

fn parse(name: &str) -> Result<SecretName> {
    name.parse()
        .map_err(|problem: checkstack_settings::reference::InvalidName| CallError::with_message(ErrorCode::BadRequest, problem.to_string()))
}
