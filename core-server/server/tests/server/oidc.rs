//! Signing in at a provider: a real one, which follows the standards whatever is asked of it.

use std::time::Duration;

use reqwest::{Response, header};
use serde_json::{Value, json};
use url::Url;

use crate::identity::{ADMIN, Caller, PASSWORD, pod, sign_in};
use crate::process::Pod;
use crate::provider::{Browser, CALLBACK, CLIENT_SECRET, Provider, location};

const PENDING: &str = "checkstack.pending_sign_in";
const SESSION: &str = "checkstack.session_token";

fn account(name: &str, groups: &[&str]) -> Value {
    json!({ "email": format!("{name}@example.com"), "email_verified": true, "name": name, "groups": groups })
}

/// The user who has just signed in.
fn caller<'a>(browser: &Browser, pod: &'a Pod) -> Caller<'a> {
    Caller::with_cookie(pod, &format!("{SESSION}={}", browser.cookie(pod, SESSION).expect("a session")))
}

/// Status and code; nobody is signed in by it.
async fn refused(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let cookies: Vec<&str> = response.headers().get_all(header::SET_COOKIE).iter().map(|cookie| cookie.to_str().unwrap()).collect();
    assert!(!cookies.iter().any(|cookie| cookie.starts_with(SESSION)), "{cookies:?}");
    let retry_after = response.headers().contains_key(header::RETRY_AFTER);
    assert_eq!(retry_after, status == 503);
    let body: Value = response.json().await.unwrap();
    (status, body["code"].as_str().unwrap().to_owned())
}

fn is(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// With one parameter of the query replaced, or taken out.
fn with(url: &Url, name: &str, value: Option<&str>) -> Url {
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().filter(|(key, _)| key != name).collect();
    let mut changed = url.clone();
    changed.query_pairs_mut().clear().extend_pairs(pairs).extend_pairs(value.map(|value| (name, value)));
    changed
}

#[tokio::test]
async fn groups_at_the_provider_give_roles_until_one_leaves_them() {
    let pod = pod().await;
    // It tells of the user when it is asked, and not in the token.
    let provider = Provider::start(&pod, json!({ "keyType": "RSA", "claimsInToken": false }));
    provider.accounts(json!({ "7": account("ada", &["ops", "other"]) }));
    let mapping = json!({ "groupRoles": { "ops": ["admin"], "dev": ["helpdesk", "of-nobody"] }, "name": "Example" });
    let pod = provider.given_to(pod, mapping);
    let server = pod.serve();
    pod.until_ready().await;
    let admin = Caller::signed_in(&pod, ADMIN, PASSWORD).await;
    admin.done("createRole", json!({ "id": "helpdesk", "name": "Help desk", "accessRules": ["auth.user.read"] })).await;
    let methods = Caller::nobody(&pod).done("getSignInMethods", Value::Null).await;
    assert_eq!(methods["methods"][0], json!({ "id": "oidc", "name": "Example", "path": "/api/auth/sign-in/oauth2" }));

    let mut browser = provider.browser();
    let answer = browser.sign_in(&pod, "7").await;
    assert_eq!((answer.status().as_u16(), location(&answer).as_str()), (303, "/systems"));
    assert_eq!(browser.cookie(&pod, PENDING), None, "it is over");
    let ada = caller(&browser, &pod);
    let me = ada.done("whoAmI", Value::Null).await;
    assert_eq!((&me["name"], &me["accessRules"]), (&json!("ada"), &json!(["*"])));

    // What an admin has given stays; what a group has given goes with it.
    admin.done("setUserRoles", json!({ "id": me["id"], "roles": ["helpdesk"] })).await;
    let roles = async || {
        let users = admin.done("getUsers", json!({})).await["users"].clone();
        assert_eq!(users.as_array().unwrap().len(), 2, "it is always the same user: {users}");
        let user = users.as_array().unwrap().iter().find(|user| user["id"] == me["id"]).unwrap();
        (user["roles"].clone(), user["groupRoles"].clone())
    };
    assert_eq!(roles().await, (json!(["helpdesk"]), json!(["admin"])));
    for (groups, expected) in [(&["dev"][..], json!(["helpdesk"])), (&[], json!([])), (&["ops", "dev"], json!(["admin", "helpdesk"]))] {
        provider.accounts(json!({ "7": account("ada", groups) }));
        assert_eq!(provider.browser().sign_in(&pod, "7").await.status(), 303);
        assert_eq!(roles().await, (json!(["helpdesk"]), expected), "{groups:?}");
    }
    provider.accounts(json!({ "7": account("ada", &[]) }));
    assert_eq!(provider.browser().sign_in(&pod, "7").await.status(), 303);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(ada.done("whoAmI", Value::Null).await["accessRules"], json!(["auth.user.read"]), "in the sessions of before, too");

    let records = admin.done("getAuditRecords", json!({})).await["records"].clone();
    let of = |action: &str| records.as_array().unwrap().iter().filter(|record| record["action"] == action).collect::<Vec<_>>().len();
    assert_eq!((of("user.create"), of("user.set-group-roles")), (1, 5), "{records}");
    assert!(records.to_string().contains(&provider.issuer()));
    let log = server.log();
    assert!(log.contains("gives a role that there is not") && log.contains("of-nobody"), "{log}");
    for secret in [CLIENT_SECRET, &browser.cookie(&pod, SESSION).unwrap()] {
        assert!(!log.contains(secret) && !records.to_string().contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn what_was_not_begun_here_or_was_changed_on_the_way_signs_nobody_in() {
    let pod = pod().await;
    let provider = Provider::start(&pod, json!({ "keyType": "RSA", "claimsInToken": true }));
    provider.accounts(json!({ "7": account("ada", &[]), "8": account("eve", &[]) }));
    let pod = provider.given_to(pod, json!({}));
    let _server = pod.serve();
    pod.until_ready().await;
    let admin = Caller::signed_in(&pod, ADMIN, PASSWORD).await;

    // On the way to the provider.
    for (name, value, expected) in [
        ("nonce", Some("of-another"), is(403, "INVALID_TOKEN")),
        ("code_challenge", Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"), is(403, "PROVIDER_REFUSED")),
        // The provider itself insists on PKCE,
        ("code_challenge", None, is(403, "PROVIDER_REFUSED")),
        ("code_challenge_method", Some("plain"), is(403, "PROVIDER_REFUSED")),
        ("scope", Some("profile email"), is(403, "PROVIDER_REFUSED")),
        ("state", Some("of-another"), is(400, "SIGN_IN_NOT_BEGUN")),
    ] {
        let mut browser = provider.browser();
        let url = with(&browser.begin(&pod, "/").await, name, value);
        let back = browser.at_provider(&pod, url, "7").await;
        assert_eq!(refused(browser.get(back.as_str()).await).await, expected, "{name} {value:?}");
    }
    // On the way back.
    for (name, value, expected) in [
        ("state", Some("of-another"), is(400, "SIGN_IN_NOT_BEGUN")),
        ("state", None, is(400, "SIGN_IN_NOT_BEGUN")),
        ("iss", Some("https://evil.example"), is(403, "INVALID_TOKEN")),
        ("iss", None, is(403, "INVALID_TOKEN")),
        ("code", Some("guessed"), is(403, "PROVIDER_REFUSED")),
        ("code", None, is(403, "PROVIDER_REFUSED")),
    ] {
        let mut browser = provider.browser();
        let url = browser.begin(&pod, "/").await;
        let back = with(&browser.at_provider(&pod, url, "7").await, name, value);
        assert_eq!(refused(browser.get(back.as_str()).await).await, expected, "{name} {value:?}");
    }
    // Who has said no there.
    let mut browser = provider.browser();
    let url = browser.begin(&pod, "/").await;
    let back = browser.at_provider(&pod, url, "").await;
    assert!(back.query().unwrap().contains("error=access_denied"));
    assert_eq!(refused(browser.get(back.as_str()).await).await, is(403, "PROVIDER_REFUSED"));

    // Eve cannot have Ada's browser finish what hers began, nor can hers finish with Ada's code.
    let (mut ada, mut eve) = (provider.browser(), provider.browser());
    let (begun_by_ada, begun_by_eve) = (ada.begin(&pod, "/").await, eve.begin(&pod, "/").await);
    let back_ada = ada.at_provider(&pod, begun_by_ada, "7").await;
    let back_eve = eve.at_provider(&pod, begun_by_eve, "8").await;
    assert_eq!(refused(provider.browser().get(back_eve.as_str()).await).await, is(400, "SIGN_IN_NOT_BEGUN"));
    let cookie_eve = eve.cookie(&pod, PENDING).unwrap();
    assert_eq!(refused(ada.get(back_eve.as_str()).await).await, is(400, "SIGN_IN_NOT_BEGUN"));
    let state = back_eve.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let with_code_of_ada = with(&back_ada, "state", Some(&state));
    assert_eq!(refused(eve.get(with_code_of_ada.as_str()).await).await, is(403, "PROVIDER_REFUSED"));
    assert_eq!(admin.done("getUsers", json!({})).await["users"].as_array().unwrap().len(), 1, "nobody has become a user");

    // A code counts once, and not with a cookie that somebody has written.
    let url = ada.begin(&pod, "//evil.example").await;
    let cookie = ada.cookie(&pod, PENDING).unwrap();
    let back = ada.at_provider(&pod, url, "7").await;
    for forged in [&cookie[1..], &cookie_eve, "x.y", ""] {
        ada.set_cookie(&pod, PENDING, forged);
        assert_eq!(refused(ada.get(back.as_str()).await).await, is(400, "SIGN_IN_NOT_BEGUN"));
    }
    ada.set_cookie(&pod, PENDING, &cookie);
    assert_eq!(location(&ada.get(back.as_str()).await), "/", "and not to another site");
    ada.set_cookie(&pod, PENDING, &cookie);
    assert_eq!(refused(ada.get(back.as_str()).await).await, is(403, "PROVIDER_REFUSED"));

    for (method, path, status) in
        [("POST", CALLBACK, 405), ("DELETE", "/api/auth/sign-in/oauth2", 405), ("POST", "/api/auth/sign-in/oauth2", 415)]
    {
        let response = reqwest::Client::new().request(method.parse().unwrap(), pod.url(path)).send().await.unwrap();
        assert_eq!(response.status(), status, "{method} {path}");
    }
    let begin = reqwest::Client::new().post(pod.url("/api/auth/sign-in/oauth2"));
    let begun = begin.json(&json!({ "providerId": "oidc", "callbackURL": "/systems" })).send().await.unwrap();
    assert!(begun.headers()[header::SET_COOKIE].to_str().unwrap().contains("; Path=/api/auth/oauth2; HttpOnly; SameSite=Lax; Max-Age=600"));
    let begun: Value = begun.json().await.unwrap();
    assert!(begun["url"].as_str().unwrap().starts_with(&provider.issuer()) && begun["redirect"] == true, "{begun}");
}

#[tokio::test]
async fn keys_and_secrets_are_exchanged_and_a_provider_that_is_away_stops_nobody_else() {
    let pod = pod().await;
    let mut provider = Provider::start(&pod, json!({ "keyType": "EC", "claimsInToken": true }));
    provider.accounts(json!({ "7": account("ada", &[]) }));
    let pod = provider.given_to(pod, json!({}));
    let replica = pod.replica();
    let server = pod.serve();
    pod.until_ready().await;
    assert_eq!(provider.browser().sign_in(&pod, "7").await.status(), 303);

    // New keys there.
    tokio::time::sleep(Duration::from_secs(2)).await;
    provider.run(CLIENT_SECRET);
    assert_eq!(provider.browser().sign_in(&pod, "7").await.status(), 303);

    // A new secret there, and then here, while the pod runs.
    provider.run("an0ther-secret");
    assert_eq!(refused(provider.browser().sign_in(&pod, "7").await).await, is(503, "PROVIDER_MISCONFIGURED"));
    std::fs::remove_file(pod.path("oidc/client-secret")).unwrap();
    assert_eq!(refused(provider.browser().sign_in(&pod, "7").await).await, is(503, "PROVIDER_MISCONFIGURED"));
    pod.write("oidc/client-secret", b"an0ther-secret");
    // Its keys are other ones since.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(provider.browser().sign_in(&pod, "7").await.status(), 303);

    // Away, just when somebody comes back from it; and before anybody has been there.
    let mut browser = provider.browser();
    let url = browser.begin(&pod, "/").await;
    let back = browser.at_provider(&pod, url, "7").await;
    provider.stop();
    assert_eq!(refused(browser.get(back.as_str()).await).await, is(503, "PROVIDER_UNAVAILABLE"));
    let _other = replica.serve();
    replica.until_ready().await;
    let begun = provider.browser().get(&replica.url("/api/auth/sign-in/oauth2")).await;
    assert_eq!(refused(begun).await, is(503, "PROVIDER_UNAVAILABLE"));
    assert_eq!(sign_in(&replica, ADMIN, PASSWORD).await.status(), 200, "with a password one can");
    assert_eq!(pod.get("/.checkstack/ready").await.0, 200);

    provider.run("an0ther-secret");
    assert_eq!(provider.browser().get(&replica.url("/api/auth/sign-in/oauth2")).await.status(), 303);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(provider.browser().sign_in(&pod, "7").await.status(), 303);
    let log = server.log();
    assert!(log.contains("it does not take the client's id and secret: invalid_client"), "{log}");
    assert!(!log.contains(CLIENT_SECRET) && !log.contains("an0ther-secret"));
}

#[tokio::test]
async fn an_address_makes_nobody_a_user_unless_that_is_wanted_and_it_is_verified() {
    let pod = pod().await;
    let provider = Provider::start(&pod, json!({ "keyType": "EC", "claimsInToken": true }));
    let unverified = json!({ "email": "admin@example.com", "email_verified": false, "name": "Mallory" });
    let unsaid = json!({ "email": "Admin@example.com", "name": "Mallory" });
    provider.accounts(json!({
        "ada": account("ada", &[]), "root": account("admin", &[]), "other": account("admin", &[]),
        "unverified": unverified, "unsaid": unsaid, "without": { "name": "Bob" },
    }));
    let pod = provider.given_to(pod, json!({ "createUsers": false }));
    let mut server = pod.serve();
    pod.until_ready().await;
    let admin = Caller::signed_in(&pod, ADMIN, PASSWORD).await;
    let root = admin.done("whoAmI", Value::Null).await["id"].clone();
    for stranger in ["ada", "root", "unverified", "without"] {
        assert_eq!(refused(provider.browser().sign_in(&pod, stranger).await).await, is(403, "UNKNOWN_USER"), "{stranger}");
    }
    assert!(server.terminate().success());

    let pod = provider.given_to(pod, json!({}));
    let mut server = pod.serve();
    pod.until_ready().await;
    for (stranger, code) in
        [("root", "ADDRESS_TAKEN"), ("unsaid", "ADDRESS_TAKEN"), ("unverified", "NO_ADDRESS"), ("without", "NO_ADDRESS")]
    {
        assert_eq!(refused(provider.browser().sign_in(&pod, stranger).await).await, is(403, code), "{stranger}");
    }
    assert!(server.terminate().success());

    let pod = provider.given_to(pod, json!({ "linkVerifiedEmail": true }));
    let _server = pod.serve();
    pod.until_ready().await;
    assert_eq!(refused(provider.browser().sign_in(&pod, "unsaid").await).await, is(403, "ADDRESS_TAKEN"));
    let mut browser = provider.browser();
    assert_eq!(browser.sign_in(&pod, "root").await.status(), 303);
    let me = caller(&browser, &pod).done("whoAmI", Value::Null).await;
    assert_eq!((&me["id"], &me["accessRules"]), (&root, &json!(["*"])), "the admin, with what an admin has given");
    assert_eq!(refused(provider.browser().sign_in(&pod, "other").await).await, is(403, "ADDRESS_TAKEN"), "that is somebody already");
    // From then on it is the subject that counts.
    let moved = json!({ "root": account("ada", &[]) });
    provider.accounts(moved);
    let mut browser = provider.browser();
    assert_eq!(browser.sign_in(&pod, "root").await.status(), 303);
    assert_eq!(caller(&browser, &pod).done("whoAmI", Value::Null).await["id"], root);
    let admin = Caller::signed_in(&pod, ADMIN, PASSWORD).await;
    let records = admin.done("getAuditRecords", json!({})).await["records"].to_string();
    assert!(records.contains("user.link") && !records.contains("user.create"), "{records}");
}

#[tokio::test]
async fn settings_of_a_provider_that_cannot_be_are_refused_by_name() {
    for (variable, value, told) in [
        ("CHECKSTACK_OIDC", r#"{"issuer": "http://id.example.com", "clientId": "a"}"#, "has to be an https URL"),
        ("CHECKSTACK_OIDC", r#"{"issuer": "https://id.example.com", "clientId": "a"}"#, "--base-url"),
        ("CHECKSTACK_BASE_URL", "https://a.example/path", "is no origin"),
    ] {
        let pod = Pod::new().await.with(variable, value);
        let output = pod.command("serve").stderr(std::process::Stdio::piped()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains(told), "{said}");
    }
}
