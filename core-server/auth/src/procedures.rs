//! The procedures of `auth`.

use std::collections::BTreeSet;
use std::sync::Arc;

use checkstack_calls::access::{AccessRule, Level, Permissions, Principal};
use checkstack_calls::contract::InvalidContract;
use checkstack_calls::error::{CallError, ErrorCode};
use checkstack_calls::gate::UserType;
use checkstack_platform::native::{Caller, ProcedureDefinition, Procedures};
use checkstack_plugin_package::PluginId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::credential::ApplicationKey;
use crate::password::{PasswordError, Passwords, check_strength};
use crate::sign_in_attempts::SignInAttempts;
use crate::store::{Actor, Application, AuditRecord, Role, RuleInfo, ServiceKeyInfo, Store, Team, TeamGrant, User};

/// Entries of a list, unless its caller asks for fewer.
const PAGE: u32 = 100;

/// What the procedures work with.
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) passwords: Passwords,
    pub(crate) sign_in_attempts: SignInAttempts,
    /// What people call the provider at which they may sign in.
    pub(crate) provider_name: Option<String>,
}

type Result<T> = std::result::Result<T, CallError>;

/// All of them.
pub(crate) fn procedures(plugin: PluginId) -> std::result::Result<Procedures<State>, InvalidContract> {
    let authenticated = UserType::Authenticated;
    Procedures::new(
        plugin,
        access_rules(),
        vec![
            ProcedureDefinition::query("getSignInMethods", "How one may sign in", get_sign_in_methods).guarded(UserType::Anonymous, &[]),
            ProcedureDefinition::query("whoAmI", "Who the caller is, and what it may do", who_am_i).guarded(authenticated, &[]),
            ProcedureDefinition::mutation("changePassword", "Replaces one's own password and ends one's sessions", change_password)
                .guarded(UserType::User, &[]),
            ProcedureDefinition::query("getUsers", "People, by their addresses", get_users).guarded(authenticated, &["user.read"]),
            ProcedureDefinition::mutation("createUser", "Adds a person", create_user).guarded(authenticated, &["user.manage"]),
            ProcedureDefinition::mutation("deleteUser", "Removes a person and ends all sessions", delete_user)
                .guarded(authenticated, &["user.manage"]),
            ProcedureDefinition::mutation("setUserRoles", "Replaces the roles of a person", set_user_roles)
                .guarded(authenticated, &["user.manage"]),
            ProcedureDefinition::mutation("setUserPassword", "Replaces a person's password and ends all sessions", set_user_password)
                .guarded(authenticated, &["user.manage"]),
            ProcedureDefinition::query("getApplications", "Programs that have a key", get_applications)
                .guarded(authenticated, &["application.read"]),
            ProcedureDefinition::mutation("createApplication", "Adds a program; its key is shown once", create_application)
                .guarded(authenticated, &["application.manage"]),
            ProcedureDefinition::mutation("replaceApplicationKey", "Gives a program another key, which is shown once", replace_key)
                .guarded(authenticated, &["application.manage"]),
            ProcedureDefinition::mutation("setApplicationRoles", "Replaces the roles of a program", set_application_roles)
                .guarded(authenticated, &["application.manage"]),
            ProcedureDefinition::mutation("deleteApplication", "Removes a program; its key no longer counts", delete_application)
                .guarded(authenticated, &["application.manage"]),
            ProcedureDefinition::query("getRoles", "Roles and the access rules in them", get_roles).guarded(authenticated, &["role.read"]),
            ProcedureDefinition::query("getAccessRules", "What plugins let one be permitted to do", get_access_rules)
                .guarded(authenticated, &["role.read"]),
            ProcedureDefinition::mutation("createRole", "Adds a role", create_role).guarded(authenticated, &["role.manage"]),
            ProcedureDefinition::mutation("setRoleAccessRules", "Replaces the access rules in a role", set_role_rules)
                .guarded(authenticated, &["role.manage"]),
            ProcedureDefinition::mutation("deleteRole", "Removes a role", delete_role).guarded(authenticated, &["role.manage"]),
            ProcedureDefinition::query("getTeams", "Teams and who is in them", get_teams).guarded(authenticated, &["team.read"]),
            ProcedureDefinition::mutation("createTeam", "Adds a team", create_team).guarded(authenticated, &["team.manage"]),
            ProcedureDefinition::mutation("setTeamMembers", "Replaces who is in a team", set_team_members)
                .guarded(authenticated, &["team.manage"]),
            ProcedureDefinition::mutation("deleteTeam", "Removes a team and what it was granted", delete_team)
                .guarded(authenticated, &["team.manage"]),
            ProcedureDefinition::query("getObjectGrants", "What teams were granted of one object", get_object_grants)
                .guarded(authenticated, &["team.read"]),
            ProcedureDefinition::mutation("setObjectGrants", "Replaces what teams were granted of one object", set_object_grants)
                .guarded(authenticated, &["team.manage"]),
            ProcedureDefinition::query("getServiceKeys", "Keys that tokens of services are signed with, newest first", get_service_keys)
                .guarded(authenticated, &["service-key.read"]),
            ProcedureDefinition::mutation(
                "revokeServiceKey",
                "Has no token count that was signed with a key; another key signs from then on",
                revoke_service_key,
            )
            .guarded(authenticated, &["service-key.manage"]),
            ProcedureDefinition::query("getAuditRecords", "Who changed what, newest first", get_audit_records)
                .guarded(authenticated, &["audit.read"]),
        ],
    )
}

fn access_rules() -> Vec<AccessRule> {
    let rule = |resource: &str, level, description: &str| AccessRule {
        resource: resource.to_owned(),
        level,
        description: description.to_owned(),
        is_default: false,
        is_public: false,
    };
    vec![
        rule("user", Level::Read, "See people"),
        rule("user", Level::Manage, "Add, change and remove people"),
        rule("application", Level::Read, "See programs that have a key"),
        rule("application", Level::Manage, "Add and remove programs, and give them keys"),
        rule("role", Level::Read, "See roles and access rules"),
        rule("role", Level::Manage, "Add, change and remove roles"),
        rule("team", Level::Read, "See teams and what they were granted"),
        rule("team", Level::Manage, "Add, change and remove teams and what they were granted"),
        rule("service-key", Level::Read, "See the keys that tokens of services are signed with"),
        rule("service-key", Level::Manage, "Revoke keys that tokens of services are signed with"),
        rule("audit", Level::Read, "See who changed what"),
    ]
}

/// A name for people to read.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
struct Name(#[schemars(length(min = 1, max = 200), pattern(r"^[^\x00]*$"))] String);

/// A text for people to read.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(transparent)]
struct Description(#[schemars(length(max = 2000), pattern(r"^[^\x00]*$"))] String);

/// An id of a role or of an access rule.
type Names = BTreeSet<ShortName>;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(transparent)]
struct ShortName(#[schemars(length(min = 1, max = 300), pattern(r"^[A-Za-z0-9._-]+$"))] String);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(transparent)]
struct Id(#[schemars(pattern(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"))] String);

#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
struct Email(#[schemars(length(max = 320), pattern(r"^[^@\s\x00]+@[^@\s\x00]+$"))] String);

#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
struct Password(#[schemars(length(max = 128))] String);

impl Id {
    fn uuid(&self) -> Result<Uuid> {
        self.0.parse().map_err(|_| CallError::with_message(ErrorCode::BadRequest, format!("'{}' is no id", self.0)))
    }
}

fn texts(names: Names) -> BTreeSet<String> {
    names.into_iter().map(|name| name.0).collect()
}

fn actor(caller: &Caller) -> Actor {
    Actor::of(caller.principal.as_ref())
}

impl State {
    async fn hashed(&self, password: Password) -> Result<String> {
        check_strength(&password.0).map_err(|weak| CallError::with_message(ErrorCode::BadRequest, weak.to_string()))?;
        Ok(self.passwords.hash(password.0).await?)
    }
}

impl From<PasswordError> for CallError {
    fn from(problem: PasswordError) -> Self {
        match problem {
            PasswordError::Busy => Self::with_message(ErrorCode::ServiceUnavailable, problem.to_string()),
            PasswordError::Internal(problem) => {
                tracing::error!(problem, "a password cannot be hashed or compared");
                Self::internal()
            }
        }
    }
}

#[derive(Serialize, JsonSchema)]
struct SignInMethods {
    methods: Vec<SignInMethod>,
}

#[derive(Serialize, JsonSchema)]
struct SignInMethod {
    /// credential: with a password. oidc: at a provider.
    id: &'static str,
    /// For a button.
    name: String,
    /// Where it begins: to be sent address and password, or to go to with a browser.
    path: &'static str,
}

async fn get_sign_in_methods(state: Arc<State>, _: Caller, (): ()) -> Result<SignInMethods> {
    let password = SignInMethod { id: "credential", name: "Password".to_owned(), path: "/api/auth/sign-in/email" };
    let provider = state.provider_name.clone().map(|name| SignInMethod { id: "oidc", name, path: "/api/auth/sign-in/oauth2" });
    Ok(SignInMethods { methods: provider.into_iter().chain([password]).collect() })
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct WhoAmI {
    /// user, application or service
    r#type: &'static str,
    id: String,
    name: String,
    /// Ids, or `*` for all.
    access_rules: Vec<String>,
    team_ids: Vec<String>,
}

async fn who_am_i(_: Arc<State>, caller: Caller, (): ()) -> Result<WhoAmI> {
    let actor = actor(&caller);
    let (access_rules, team_ids) = match &caller.principal {
        Some(Principal::User(account) | Principal::Application(account)) => {
            let rules = match &account.permissions {
                Permissions::All => vec!["*".to_owned()],
                Permissions::These(rules) => rules.iter().map(ToString::to_string).collect(),
                Permissions::None => Vec::new(),
            };
            (rules, account.teams.iter().cloned().collect())
        }
        Some(Principal::Service(_)) | None => (Vec::new(), Vec::new()),
    };
    Ok(WhoAmI { r#type: actor.kind, id: actor.id, name: actor.name, access_rules, team_ids })
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ChangePassword {
    current_password: Password,
    new_password: Password,
}

async fn change_password(state: Arc<State>, caller: Caller, input: ChangePassword) -> Result<()> {
    let actor = actor(&caller);
    let id = Id(actor.id.clone()).uuid()?;
    // Whoever has somebody's session is not to find out the password with it.
    let too_many = || CallError::with_message(ErrorCode::TooManyRequests, "too many attempts: wait some minutes");
    let attempt = state.sign_in_attempts.begin_change(id).await?.ok_or_else(too_many)?;
    let current = state.store.password_hash(id).await?;
    if !state.sign_in_attempts.check(attempt, &state.passwords, input.current_password.0, current).await? {
        return Err(CallError::with_message(ErrorCode::Forbidden, "the current password is another one"));
    }
    state.sign_in_attempts.succeeded(attempt).await?;
    let hash = state.hashed(input.new_password).await?;
    Ok(state.store.set_password(actor, id, hash).await?)
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UserPage {
    /// The address after which to begin.
    after: Option<Email>,
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u32>,
}

#[derive(Serialize, JsonSchema)]
struct Users {
    users: Vec<User>,
}

async fn get_users(state: Arc<State>, _: Caller, page: UserPage) -> Result<Users> {
    Ok(Users { users: state.store.users(page.after.map(|email| email.0), page.limit.unwrap_or(PAGE)).await? })
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewUser {
    email: Email,
    name: Name,
    password: Password,
    #[serde(default)]
    roles: Names,
}

#[derive(Serialize, JsonSchema)]
struct Created {
    id: String,
}

async fn create_user(state: Arc<State>, caller: Caller, user: NewUser) -> Result<Created> {
    let hash = state.hashed(user.password).await?;
    Ok(Created { id: state.store.create_user(actor(&caller), user.email.0, user.name.0, hash, texts(user.roles)).await? })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ById {
    id: Id,
}

async fn delete_user(state: Arc<State>, caller: Caller, input: ById) -> Result<()> {
    Ok(state.store.delete_user(actor(&caller), input.id.uuid()?).await?)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RolesOf {
    id: Id,
    roles: Names,
}

async fn set_user_roles(state: Arc<State>, caller: Caller, input: RolesOf) -> Result<()> {
    Ok(state.store.set_user_roles(actor(&caller), input.id.uuid()?, texts(input.roles)).await?)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PasswordOf {
    id: Id,
    password: Password,
}

async fn set_user_password(state: Arc<State>, caller: Caller, input: PasswordOf) -> Result<()> {
    let hash = state.hashed(input.password).await?;
    Ok(state.store.set_password(actor(&caller), input.id.uuid()?, hash).await?)
}

#[derive(Serialize, JsonSchema)]
struct Applications {
    applications: Vec<Application>,
}

async fn get_applications(state: Arc<State>, _: Caller, (): ()) -> Result<Applications> {
    Ok(Applications { applications: state.store.applications().await? })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewApplication {
    name: Name,
    #[serde(default)]
    description: Description,
    #[serde(default)]
    roles: Names,
}

/// With the key, which nobody can see again.
#[derive(Serialize, JsonSchema)]
struct WithKey {
    id: String,
    key: String,
}

impl From<ApplicationKey> for WithKey {
    fn from(key: ApplicationKey) -> Self {
        Self { id: key.id.to_string(), key: key.reveal() }
    }
}

async fn create_application(state: Arc<State>, caller: Caller, new: NewApplication) -> Result<WithKey> {
    let key = ApplicationKey::generate(Uuid::new_v4());
    state.store.create_application(actor(&caller), &key, new.name.0, new.description.0, texts(new.roles)).await?;
    Ok(key.into())
}

async fn replace_key(state: Arc<State>, caller: Caller, input: ById) -> Result<WithKey> {
    let key = ApplicationKey::generate(input.id.uuid()?);
    state.store.replace_application_key(actor(&caller), &key).await?;
    Ok(key.into())
}

async fn set_application_roles(state: Arc<State>, caller: Caller, input: RolesOf) -> Result<()> {
    Ok(state.store.set_application_roles(actor(&caller), input.id.uuid()?, texts(input.roles)).await?)
}

async fn delete_application(state: Arc<State>, caller: Caller, input: ById) -> Result<()> {
    Ok(state.store.delete_application(actor(&caller), input.id.uuid()?).await?)
}

#[derive(Serialize, JsonSchema)]
struct Roles {
    roles: Vec<Role>,
}

async fn get_roles(state: Arc<State>, _: Caller, (): ()) -> Result<Roles> {
    Ok(Roles { roles: state.store.roles().await? })
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Rules {
    access_rules: Vec<RuleInfo>,
}

async fn get_access_rules(state: Arc<State>, _: Caller, (): ()) -> Result<Rules> {
    Ok(Rules { access_rules: state.store.access_rules().await? })
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewRole {
    id: ShortName,
    name: Name,
    #[serde(default)]
    description: Description,
    #[serde(default)]
    access_rules: Names,
}

async fn create_role(state: Arc<State>, caller: Caller, new: NewRole) -> Result<()> {
    Ok(state.store.create_role(actor(&caller), new.id.0, new.name.0, new.description.0, texts(new.access_rules)).await?)
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RulesOf {
    id: ShortName,
    access_rules: Names,
}

async fn set_role_rules(state: Arc<State>, caller: Caller, input: RulesOf) -> Result<()> {
    Ok(state.store.set_role_rules(actor(&caller), input.id.0, texts(input.access_rules)).await?)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ByName {
    id: ShortName,
}

async fn delete_role(state: Arc<State>, caller: Caller, input: ByName) -> Result<()> {
    Ok(state.store.delete_role(actor(&caller), input.id.0).await?)
}

#[derive(Serialize, JsonSchema)]
struct Teams {
    teams: Vec<Team>,
}

async fn get_teams(state: Arc<State>, _: Caller, (): ()) -> Result<Teams> {
    Ok(Teams { teams: state.store.teams().await? })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewTeam {
    name: Name,
    #[serde(default)]
    description: Description,
}

async fn create_team(state: Arc<State>, caller: Caller, new: NewTeam) -> Result<Created> {
    Ok(Created { id: state.store.create_team(actor(&caller), new.name.0, new.description.0).await? })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Members {
    id: Id,
    #[serde(default)]
    users: BTreeSet<Id>,
    #[serde(default)]
    applications: BTreeSet<Id>,
}

async fn set_team_members(state: Arc<State>, caller: Caller, input: Members) -> Result<()> {
    let uuids = |ids: &BTreeSet<Id>| ids.iter().map(Id::uuid).collect::<Result<BTreeSet<_>>>();
    Ok(state.store.set_team_members(actor(&caller), input.id.uuid()?, uuids(&input.users)?, uuids(&input.applications)?).await?)
}

async fn delete_team(state: Arc<State>, caller: Caller, input: ById) -> Result<()> {
    Ok(state.store.delete_team(actor(&caller), input.id.uuid()?).await?)
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Object {
    /// `<plugin>.<resource>`
    resource_type: ShortName,
    resource_id: Name,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Grants {
    grants: Vec<TeamGrant>,
    /// Whether only these teams have it, whatever others may do.
    team_only: bool,
}

async fn get_object_grants(state: Arc<State>, _: Caller, object: Object) -> Result<Grants> {
    let (grants, team_only) = state.store.object_grants(object.resource_type.0, object.resource_id.0).await?;
    Ok(Grants { grants, team_only })
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewGrants {
    /// `<plugin>.<resource>`
    resource_type: ShortName,
    resource_id: Name,
    #[schemars(length(max = 1000))]
    grants: Vec<TeamGrant>,
    #[serde(default)]
    team_only: bool,
}

async fn set_object_grants(state: Arc<State>, caller: Caller, new: NewGrants) -> Result<()> {
    Ok(state.store.set_object_grants(actor(&caller), new.resource_type.0, new.resource_id.0, new.grants, new.team_only).await?)
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ServiceKeyInfos {
    service_keys: Vec<ServiceKeyInfo>,
}

async fn get_service_keys(state: Arc<State>, _: Caller, (): ()) -> Result<ServiceKeyInfos> {
    Ok(ServiceKeyInfos { service_keys: state.store.service_key_infos().await? })
}

async fn revoke_service_key(state: Arc<State>, caller: Caller, input: ById) -> Result<()> {
    Ok(state.store.revoke_service_key(actor(&caller), input.id.uuid()?).await?)
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AuditPage {
    /// The id before which to begin.
    before: Option<i64>,
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u32>,
}

#[derive(Serialize, JsonSchema)]
struct AuditRecords {
    records: Vec<AuditRecord>,
}

async fn get_audit_records(state: Arc<State>, _: Caller, page: AuditPage) -> Result<AuditRecords> {
    Ok(AuditRecords { records: state.store.audit_records(page.before, page.limit.unwrap_or(PAGE)).await? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_holds_and_nothing_is_open_to_everybody() {
        let procedures = procedures("auth".parse().unwrap()).unwrap();
        let offer = procedures.offer();
        let open: Vec<(&str, UserType)> = offer
            .procedures
            .iter()
            .filter(|(_, procedure)| procedure.requirement.rules.is_empty())
            .map(|(path, procedure)| (path.as_str(), procedure.requirement.user_type))
            .collect();
        let about_the_caller = [("changePassword", UserType::User), ("whoAmI", UserType::Authenticated)];
        assert_eq!(
            open.iter().filter(|(path, _)| *path != "getSignInMethods").copied().collect::<Vec<_>>(),
            about_the_caller,
            "what needs no rule is about the caller alone"
        );
        assert!(open.contains(&("getSignInMethods", UserType::Anonymous)), "but for what one needs to know to become somebody");
        assert_eq!(offer.access_rules.len(), 11);
    }
}
