//! Users and applications, as those see it who sign in and call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Client, Response, header};
use serde_json::{Value, json};

use crate::postgres::Postgres;
use crate::process::Pod;

pub(crate) const ADMIN: &str = "admin@example.com";
pub(crate) const PASSWORD: &str = "Passw0rd-of-the-Secret";

pub(crate) async fn pod() -> Pod {
    with_admin(Pod::new().await)
}

fn with_admin(pod: Pod) -> Pod {
    pod.write("admin/username", ADMIN.as_bytes());
    pod.write("admin/password", PASSWORD.as_bytes());
    pod
}

/// Somebody who calls: with a cookie, with a key, or with nothing.
pub(crate) struct Caller<'a> {
    pod: &'a Pod,
    header: Option<(header::HeaderName, String)>,
}

impl<'a> Caller<'a> {
    pub(crate) fn nobody(pod: &'a Pod) -> Self {
        Self { pod, header: None }
    }

    fn with_key(pod: &'a Pod, key: &str) -> Self {
        Self { pod, header: Some((header::AUTHORIZATION, format!("Bearer {key}"))) }
    }

    pub(crate) fn with_cookie(pod: &'a Pod, cookie: &str) -> Self {
        Self { pod, header: Some((header::COOKIE, cookie.to_owned())) }
    }

    /// As soon as the Secret has been taken over.
    pub(crate) async fn signed_in(pod: &'a Pod, email: &str, password: &str) -> Self {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let response = sign_in(pod, email, password).await;
            if response.status() == 200 {
                let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
                let cookie = cookie.split(';').next().unwrap().to_owned();
                return Self { pod, header: Some((header::COOKIE, cookie)) };
            }
            assert!(Instant::now() < deadline, "{response:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// On another replica.
    pub(crate) fn on<'b>(&self, pod: &'b Pod) -> Caller<'b> {
        Caller { pod, header: self.header.clone() }
    }

    pub(crate) fn headers(&self) -> header::HeaderMap {
        self.header.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    async fn call(&self, procedure: &str, input: Value) -> (u16, Value) {
        self.call_of("auth", procedure, input).await
    }

    /// A procedure of any plugin.
    pub(crate) async fn call_of(&self, plugin: &str, procedure: &str, input: Value) -> (u16, Value) {
        let request = Client::new().post(self.pod.url(&format!("/api/{plugin}/{procedure}"))).json(&json!({ "json": input }));
        let response = request.headers(self.headers()).send().await.unwrap();
        let status = response.status().as_u16();
        let body: Value = response.json().await.unwrap();
        (status, body["json"].clone())
    }

    pub(crate) async fn done(&self, procedure: &str, input: Value) -> Value {
        let (status, output) = self.call(procedure, input).await;
        assert_eq!(status, 200, "{procedure}: {output}");
        output
    }

    async fn refused(&self, procedure: &str, input: Value) -> (u16, String) {
        let (status, error) = self.call(procedure, input).await;
        (status, error["message"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits until it is refused with a status; how long that took.
    async fn until_refused(&self, status: u16) -> Duration {
        let begin = Instant::now();
        while self.call("whoAmI", Value::Null).await.0 != status {
            assert!(begin.elapsed() < Duration::from_secs(20), "never refused");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        begin.elapsed()
    }
}

pub(crate) async fn sign_in(pod: &Pod, email: &str, password: &str) -> Response {
    let body = json!({ "email": email, "password": password });
    Client::new().post(pod.url("/api/auth/sign-in/email")).json(&body).send().await.unwrap()
}

#[tokio::test]
async fn the_first_admin_comes_from_the_secret_and_a_new_secret_is_the_way_back_in() {
    let pod = pod().await;
    let mut server = pod.serve();
    pod.until_ready().await;
    let admin = Caller::signed_in(&pod, "Admin@Example.com", PASSWORD).await;
    let me = admin.done("whoAmI", Value::Null).await;
    assert_eq!((&me["type"], &me["accessRules"]), (&json!("user"), &json!(["*"])));

    // An admin's own password stays, whatever the Secret says, until the Secret says something else.
    let wrong = json!({ "currentPassword": "Wr0ng-one", "newPassword": "An0ther-one" });
    assert_eq!(admin.refused("changePassword", wrong).await, (403, "the current password is another one".into()));
    admin.done("changePassword", json!({ "currentPassword": PASSWORD, "newPassword": "An0ther-one" })).await;
    assert!(admin.until_refused(401).await < Duration::from_secs(2), "the sessions before are over");
    assert!(server.terminate().success());
    let mut server = pod.serve();
    pod.until_ready().await;
    let admin = Caller::signed_in(&pod, ADMIN, "An0ther-one").await;
    assert_eq!(sign_in(&pod, ADMIN, PASSWORD).await.status(), 401);
    pod.write("admin/password", b"N3w-secret-password");
    let again = Caller::signed_in(&pod, ADMIN, "N3w-secret-password").await;
    assert!(admin.until_refused(401).await < Duration::from_secs(2));
    assert_eq!(sign_in(&pod, ADMIN, "An0ther-one").await.status(), 401);

    let records = again.done("getAuditRecords", json!({})).await;
    let done: Vec<(&str, &str)> = records["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| (record["actorType"].as_str().unwrap(), record["action"].as_str().unwrap()))
        .collect();
    assert_eq!(done.iter().filter(|done| **done == ("system", "user.take-over")).count(), 2, "{done:?}");
    assert!(done.contains(&("user", "user.set-password")) && done.contains(&("user", "session.begin")), "{done:?}");
    assert!(server.terminate().success());
    let log = server.log();
    for secret in [PASSWORD, "An0ther-one", "N3w-secret-password", "argon2"] {
        assert!(!log.contains(secret) && !records.to_string().contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_session_is_a_cookie() {
    let pod = pod().await;
    let _server = pod.serve();
    pod.until_ready().await;
    let admin = Caller::signed_in(&pod, ADMIN, PASSWORD).await;
    let (_, cookie) = admin.header.clone().unwrap();
    let session = async |cookie: &str| {
        let response = Client::new().get(pod.url("/api/auth/get-session")).header(header::COOKIE, cookie).send().await.unwrap();
        response.json::<Value>().await.unwrap()
    };
    let found = session(&cookie).await;
    assert_eq!((&found["user"]["email"], found["session"]["expiresAt"].is_string()), (&json!(ADMIN), true), "{found}");
    assert_eq!(session("checkstack.session_token=of-nobody").await, Value::Null);
    let out = Client::new().post(pod.url("/api/auth/sign-out")).header(header::COOKIE, &cookie).send().await.unwrap();
    assert!(out.headers()[header::SET_COOKIE].to_str().unwrap().contains("Max-Age=0"), "{out:?}");
    assert_eq!(session(&cookie).await, Value::Null);
    assert!(admin.until_refused(401).await < Duration::from_secs(2));
    for (method, path, status) in [("GET", "/sign-in/email", 405), ("POST", "/get-session", 405), ("POST", "/anything", 404)] {
        let response = Client::new().request(method.parse().unwrap(), pod.url(&format!("/api/auth{path}"))).send().await.unwrap();
        assert_eq!(response.status(), status, "{method} {path}");
    }
}

#[tokio::test]
async fn who_guesses_has_to_wait_and_learns_nothing() {
    let pod = pod().await;
    let _server = pod.serve();
    pod.until_ready().await;
    Caller::signed_in(&pod, ADMIN, PASSWORD).await;
    let mut known = Vec::new();
    for (email, told) in [(ADMIN, &mut known), ("nobody@example.com", &mut Vec::new())] {
        for _ in 0..10 {
            let refused = sign_in(&pod, email, "Wr0ng-password").await;
            assert_eq!(refused.status(), 401);
            told.push(refused.json::<Value>().await.unwrap());
        }
        let refused = sign_in(&pod, email, PASSWORD).await;
        assert_eq!((refused.status().as_u16(), refused.headers()[header::RETRY_AFTER].to_str().unwrap()), (429, "300"));
    }
    assert_eq!(known[0], json!({ "code": "INVALID_EMAIL_OR_PASSWORD", "message": "Invalid email or password" }));
    let form =
        Client::new().post(pod.url("/api/auth/sign-in/email")).header(header::CONTENT_TYPE, "text/plain").body("{}").send().await.unwrap();
    assert_eq!(form.status(), 415);
}

#[tokio::test]
async fn a_key_counts_on_every_replica_until_it_is_revoked() {
    let pod = pod().await;
    let other = pod.replica();
    let _servers = (pod.serve(), other.serve());
    pod.until_ready().await;
    other.until_ready().await;
    let admin = Caller::signed_in(&pod, ADMIN, PASSWORD).await;
    let created = admin.done("createApplication", json!({ "name": "CI", "roles": ["admin"] })).await;
    let (id, key) = (created["id"].as_str().unwrap(), created["key"].as_str().unwrap());
    let ci = Caller::with_key(&pod, key);
    for ci in [&ci, &ci.on(&other)] {
        let me = ci.done("whoAmI", Value::Null).await;
        assert_eq!((&me["type"], &me["name"], &me["id"]), (&json!("application"), &json!("CI"), &json!(id)));
        assert_eq!(ci.done("getUsers", json!({})).await["users"].as_array().unwrap().len(), 1);
        // What is for people is not for it.
        let password = json!({ "currentPassword": "a", "newPassword": "b" });
        assert_eq!(ci.refused("changePassword", password).await, (403, "This endpoint is for users only".into()));
    }
    let listed = admin.done("getApplications", Value::Null).await;
    assert!(listed["applications"][0]["lastUsedAt"].is_string() && !listed.to_string().contains(&key[40..]), "{listed}");

    let replaced = admin.on(&other).done("replaceApplicationKey", json!({ "id": id })).await;
    for old in [&ci, &ci.on(&other)] {
        assert!(old.until_refused(401).await < Duration::from_secs(2));
    }
    let ci = Caller::with_key(&pod, replaced["key"].as_str().unwrap());
    ci.done("whoAmI", Value::Null).await;
    ci.on(&other).done("deleteApplication", json!({ "id": id })).await;
    for gone in [&ci, &ci.on(&other)] {
        assert!(gone.until_refused(401).await < Duration::from_secs(2));
    }
    assert_eq!(ci.refused("whoAmI", Value::Null).await, (401, "Authentication required".into()));
    assert_eq!(admin.refused("deleteApplication", json!({ "id": id })).await.0, 404);
}

#[tokio::test]
async fn roles_say_what_one_may_do() {
    let pod = pod().await;
    let _server = pod.serve();
    pod.until_ready().await;
    let admin = Caller::signed_in(&pod, ADMIN, PASSWORD).await;
    assert_eq!(Caller::nobody(&pod).refused("getUsers", json!({})).await, (401, "Authentication required".into()));
    let ada = json!({ "email": "ada@example.com", "name": "Ada", "password": "Passw0rd-of-Ada" });
    let id = admin.done("createUser", ada.clone()).await["id"].clone();
    assert_eq!(admin.refused("createUser", ada.clone()).await, (409, "there is a user with the address ada@example.com already".into()));
    for (field, wrong) in [("email", json!("ada")), ("password", json!("weak")), ("name", json!("")), ("roles", json!(["no such role"]))] {
        let mut input = ada.clone();
        input[field] = wrong;
        assert_eq!(admin.call("createUser", input).await.0, 400, "{field}");
    }
    let mut unknown = ada;
    unknown["roles"] = json!(["unknown"]);
    unknown["email"] = json!("other@example.com");
    assert_eq!(admin.refused("createUser", unknown).await, (404, "there is no role 'unknown'".into()));

    let ada = Caller::signed_in(&pod, "ADA@example.com", "Passw0rd-of-Ada").await;
    assert_eq!(ada.refused("getUsers", json!({})).await, (403, "Missing access: auth.user.read".into()));
    admin.done("createRole", json!({ "id": "helpdesk", "name": "Help desk", "accessRules": ["auth.user.read"] })).await;
    assert_eq!(admin.refused("createRole", json!({ "id": "helpdesk", "name": "x" })).await.0, 409);
    assert_eq!(
        admin.refused("setRoleAccessRules", json!({ "id": "helpdesk", "accessRules": ["auth.no.read"] })).await,
        (404, "there is no access rule 'auth.no.read'".into())
    );
    admin.done("setUserRoles", json!({ "id": id, "roles": ["helpdesk"] })).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let first = ada.done("getUsers", json!({ "limit": 1 })).await;
    assert_eq!((&first["users"][0]["id"], &first["users"][0]["roles"]), (&id, &json!(["helpdesk"])));
    let next = ada.done("getUsers", json!({ "after": first["users"][0]["email"] })).await;
    assert_eq!((&next["users"][0]["email"], &next["users"][1]), (&json!(ADMIN), &Value::Null));
    assert_eq!(ada.refused("deleteUser", json!({ "id": id })).await, (403, "Missing access: auth.user.manage".into()));
    assert_eq!(admin.refused("deleteRole", json!({ "id": "admin" })).await.0, 409);
    admin.done("deleteRole", json!({ "id": "helpdesk" })).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(ada.call("getUsers", json!({})).await.0, 403);

    let rules = admin.done("getAccessRules", Value::Null).await;
    assert!(rules["accessRules"].as_array().unwrap().iter().any(|rule| rule["id"] == "auth.audit.read"), "{rules}");
    let records = admin.done("getAuditRecords", json!({ "limit": 3 })).await;
    let said: Vec<(&str, &str)> = records["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| (record["action"].as_str().unwrap(), record["actorName"].as_str().unwrap()))
        .collect();
    assert_eq!(said, [("role.delete", "Administrator"), ("user.set-roles", "Administrator"), ("role.create", "Administrator")]);
    admin.done("deleteUser", json!({ "id": id })).await;
    assert!(ada.until_refused(401).await < Duration::from_secs(2));
}

#[tokio::test]
async fn nobody_gives_more_than_they_have_or_changes_who_has_more() {
    let pod = pod().await;
    let _server = pod.serve();
    pod.until_ready().await;
    let root = Caller::signed_in(&pod, ADMIN, PASSWORD).await;
    let root_id = root.done("whoAmI", Value::Null).await["id"].clone();
    let rules = ["auth.user.read", "auth.user.manage", "auth.application.manage", "auth.role.manage"];
    root.done("createRole", json!({ "id": "hr", "name": "People", "accessRules": rules })).await;
    root.done("createRole", json!({ "id": "auditor", "name": "Auditors", "accessRules": ["auth.audit.read"] })).await;
    let new = |name: &str, roles: &[&str]| json!({ "email": format!("{name}@example.com"), "name": name, "password": "Passw0rd-of-one", "roles": roles });
    let hr_id = root.done("createUser", new("hr", &["hr"])).await["id"].clone();
    let robot = root.done("createApplication", json!({ "name": "robot", "roles": ["admin"] })).await["id"].clone();
    let hr = Caller::signed_in(&pod, "hr@example.com", "Passw0rd-of-one").await;

    let admin_only = "only an admin gives the role 'admin', and changes who has it";
    let too_much = "'auth.audit.read' is more than you may do yourself";
    for (procedure, input, why) in [
        ("setUserRoles", json!({ "id": hr_id, "roles": ["admin"] }), admin_only),
        ("setUserRoles", json!({ "id": hr_id, "roles": ["auditor"] }), too_much),
        ("setUserRoles", json!({ "id": root_id, "roles": [] }), admin_only),
        ("setUserPassword", json!({ "id": root_id, "password": "An0ther-one" }), admin_only),
        ("deleteUser", json!({ "id": root_id }), admin_only),
        ("createUser", new("eve", &["auditor"]), too_much),
        ("createApplication", json!({ "name": "x", "roles": ["admin"] }), admin_only),
        ("replaceApplicationKey", json!({ "id": robot }), admin_only),
        ("setApplicationRoles", json!({ "id": robot, "roles": [] }), admin_only),
        ("deleteApplication", json!({ "id": robot }), admin_only),
        ("createRole", json!({ "id": "mine", "name": "x", "accessRules": ["auth.audit.read"] }), too_much),
        ("setRoleAccessRules", json!({ "id": "hr", "accessRules": ["auth.audit.read"] }), too_much),
        ("setRoleAccessRules", json!({ "id": "auditor", "accessRules": [] }), too_much),
        ("deleteRole", json!({ "id": "auditor" }), too_much),
    ] {
        assert_eq!(hr.refused(procedure, input.clone()).await, (403, why.into()), "{procedure} {input}");
    }
    // What is within their own is theirs to do.
    let ann = hr.done("createUser", new("ann", &["hr"])).await["id"].clone();
    hr.done("setUserPassword", json!({ "id": ann, "password": "An0ther-one" })).await;
    hr.done("deleteUser", json!({ "id": ann })).await;
    hr.done("createRole", json!({ "id": "mine", "name": "x", "accessRules": ["auth.user.read"] })).await;
    hr.done("deleteRole", json!({ "id": "mine" })).await;
    assert_eq!(root.done("getRoles", Value::Null).await["roles"].as_array().unwrap().len(), 6);
}

#[tokio::test]
async fn teams_and_what_they_were_granted_are_kept() {
    let pod = pod().await;
    let _server = pod.serve();
    pod.until_ready().await;
    let admin = Caller::signed_in(&pod, ADMIN, PASSWORD).await;
    let me = admin.done("whoAmI", Value::Null).await["id"].clone();
    let team = admin.done("createTeam", json!({ "name": "Payments" })).await["id"].clone();
    assert_eq!(admin.refused("createTeam", json!({ "name": "Payments" })).await.0, 409);
    admin.done("setTeamMembers", json!({ "id": team, "users": [me] })).await;
    let nobody = "00000000-0000-0000-0000-000000000000";
    assert_eq!(admin.refused("setTeamMembers", json!({ "id": team, "users": [nobody] })).await, (409, "one of them is no user".into()));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(admin.done("whoAmI", Value::Null).await["teamIds"], json!([team]));
    let object = json!({ "resourceType": "catalog.system", "resourceId": "shop" });
    let granted = json!({ "grants": [{ "teamId": team, "canRead": true, "canManage": false }], "teamOnly": true });
    let mut grant = object.clone();
    grant.as_object_mut().unwrap().extend(granted.as_object().unwrap().clone());
    admin.done("setObjectGrants", grant.clone()).await;
    assert_eq!(admin.done("getObjectGrants", object.clone()).await, granted);
    let one = grant["grants"][0].clone();
    grant["grants"].as_array_mut().unwrap().push(one);
    assert_eq!(admin.refused("setObjectGrants", grant).await, (409, "one team is there twice".into()));
    admin.done("deleteTeam", json!({ "id": team })).await;
    assert_eq!(admin.done("getObjectGrants", object).await, json!({ "grants": [], "teamOnly": true }), "still nobody else's");
}

#[tokio::test]
async fn while_the_database_is_away_callers_are_told_to_come_back_and_then_all_is_as_before() {
    let postgres = Arc::new(Postgres::start());
    let pod = with_admin(Pod::on(&postgres).await);
    let _server = pod.serve();
    pod.until_ready().await;
    let admin = Caller::signed_in(&pod, ADMIN, PASSWORD).await;
    let key = admin.done("createApplication", json!({ "name": "CI" })).await["key"].as_str().unwrap().to_owned();
    let ci = Caller::with_key(&pod, &key);
    ci.done("whoAmI", Value::Null).await;

    postgres.stop();
    for caller in [&admin, &ci] {
        caller.until_refused(503).await;
        let response = Client::new().get(pod.url("/rest/auth/whoAmI")).headers(caller.headers()).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), response.headers().contains_key(header::RETRY_AFTER)),
            (503, true),
            "no key is thrown away"
        );
    }
    let refused = sign_in(&pod, ADMIN, PASSWORD).await;
    assert_eq!((refused.status().as_u16(), refused.headers().contains_key(header::RETRY_AFTER)), (503, true));

    postgres.run();
    for caller in [&admin, &ci] {
        let begin = Instant::now();
        while caller.call("whoAmI", Value::Null).await.0 != 200 {
            assert!(begin.elapsed() < Duration::from_secs(30), "not as before");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    assert_eq!(sign_in(&pod, ADMIN, PASSWORD).await.status(), 200);
}

#[tokio::test]
async fn users_are_nobody_elses_to_read() {
    let pod = pod().await;
    let _server = pod.serve();
    pod.until_ready().await;
    let stranger = format!("stranger_of_{}", pod.database.name);
    let mut admin = pod.database.admin().await;
    crate::postgres::execute(&mut admin, &format!("CREATE ROLE {stranger}")).await;
    let may: bool = pod.database.value(&format!("SELECT has_schema_privilege('{stranger}', 'plugin_auth', 'USAGE')")).await;
    crate::postgres::execute(&mut admin, &format!("DROP ROLE {stranger}")).await;
    assert!(!may, "a plugin's role has no more than this one");
}

#[tokio::test]
async fn keys_that_do_not_count_are_refused_before_they_cost_much_and_known_ones_are_not() {
    let pod = pod().await;
    let _server = pod.serve();
    pod.until_ready().await;
    let admin = Caller::signed_in(&pod, ADMIN, PASSWORD).await;
    let key = admin.done("createApplication", json!({ "name": "CI" })).await["key"].as_str().unwrap().to_owned();
    let ci = Caller::with_key(&pod, &key);
    ci.done("whoAmI", Value::Null).await;
    let client = Client::new();
    let mut refused = 0;
    // As quickly as one can who does not wait for answers.
    for round in 0..30 {
        let guesses = (0..100).map(|number| {
            let guessed = format!("{}{round:02}{number:02}", &key[..key.len() - 4]);
            client.get(pod.url("/rest/auth/whoAmI")).bearer_auth(guessed).send()
        });
        for answer in futures::future::join_all(guesses).await {
            match answer.unwrap().status().as_u16() {
                401 => {}
                429 => refused += 1,
                other => panic!("{other}"),
            }
        }
    }
    assert!(refused > 0, "nobody was told to wait");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    ci.done("whoAmI", Value::Null).await;
}

#[tokio::test]
async fn a_schema_that_an_administrator_has_made_for_everybody_is_closed() {
    let pod = pod().await;
    let (owner, mut admin) = (&pod.database.owner, pod.database.admin().await);
    crate::postgres::execute(&mut admin, &format!("CREATE SCHEMA plugin_auth AUTHORIZATION {owner}")).await;
    crate::postgres::execute(&mut admin, "GRANT ALL ON SCHEMA plugin_auth TO PUBLIC").await;
    let _server = pod.serve();
    pod.until_ready().await;
    let open = "SELECT count(*) FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.nspname = 'plugin_auth' AND a.grantee = 0";
    assert_eq!(pod.database.value::<i64>(open).await, 0);
}
