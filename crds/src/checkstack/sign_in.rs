//! How people sign in to an instance.
#![expect(unreachable_pub, reason = "`KubeSchema` repeats the struct, with its visibility, inside a function")]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::is_default;
use crate::names::{CaBundleReference, ClientSecretReference};
use crate::schemas;

/// How people sign in. A password is always one way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignInSpec {
    /// How long one stays signed in. Left out, a week.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 31_622_400))]
    pub session_lifetime_seconds: Option<i32>,

    /// An OpenID Connect provider whose users may sign in too. Needs spec.baseUrl. Tell the provider the redirect URI: spec.baseUrl
    /// with /api/auth/oauth2/callback/oidc.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oidc: Option<OidcSpec>,
}

/// An OpenID Connect provider: authorization code flow with PKCE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OidcSpec {
    /// What the button says.
    #[serde(default = "OidcSpec::default_name")]
    #[schemars(length(min = 1, max = 64))]
    pub name: String,

    /// The provider's URL, as it names itself: /.well-known/openid-configuration is below it. Users are known by issuer and subject, so
    /// with another issuer they are other users.
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("isURL(self) && url(self).getScheme() == 'https' && url(self).getHostname() != ''").message("must be an absolute URL that begins with https://"))]
    #[x_kube(validation = Rule::new("!self.matches('[?#@[:space:]]')").message("must have no user, query or fragment: it is what the provider calls its issuer"))]
    pub issuer: String,

    /// What the provider calls this instance.
    #[schemars(length(max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^[[:graph:]]+$')").message("must be the id that the provider gave, without spaces"))]
    pub client_id: String,

    /// The secret that the provider gave with the id. A changed value counts within about a minute, without new pods.
    pub client_secret_ref: ClientSecretReference,

    /// Certificates of authorities that the provider's certificate comes from, in PEM, besides those that everybody trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_secret_ref: Option<CaBundleReference>,

    /// What the provider is asked to tell. Many want groups as well before they tell them.
    #[serde(default = "OidcSpec::default_scopes")]
    #[schemars(schema_with = "schemas::scopes")]
    pub scopes: Vec<String>,

    /// The claim with the groups of a user: its name, or a path like realm_access.roles.
    #[serde(default = "OidcSpec::default_groups_claim")]
    #[schemars(length(min = 1, max = 256))]
    pub groups_claim: String,

    /// Which roles the members of groups have. They are given and taken away when somebody signs in; roles that an admin has given by
    /// hand stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["group".into()]))]
    pub group_roles: Vec<GroupRoles>,

    /// Whether somebody whom the instance does not know becomes a user by signing in.
    #[serde(default = "OidcSpec::default_create_users")]
    pub create_users: bool,

    /// Whether somebody whom the instance does not know is taken for the user with the same address, if the provider says that the
    /// address is verified. Only for providers where nobody can choose an address of somebody else.
    #[serde(default, skip_serializing_if = "is_default")]
    pub link_verified_email: bool,
}

/// What the members of one group may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupRoles {
    /// The group, exactly as the provider writes it.
    #[schemars(length(min = 1, max = 256))]
    pub group: String,

    /// Ids of roles of the instance, like admin.
    #[schemars(schema_with = "schemas::role_ids")]
    pub roles: Vec<String>,
}

impl OidcSpec {
    fn default_name() -> String {
        "Single sign-on".to_owned()
    }

    fn default_scopes() -> Vec<String> {
        ["openid", "profile", "email"].map(str::to_owned).into()
    }

    fn default_groups_claim() -> String {
        "groups".to_owned()
    }

    const fn default_create_users() -> bool {
        true
    }
}
