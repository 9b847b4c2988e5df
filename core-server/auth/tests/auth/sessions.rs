//! Sessions that are used last on, but not for ever.

use serde_json::{Value, json};

use crate::postgres::execute;
use crate::replica::{ADMIN, PASSWORD, Replica, Shown, instance, not_believed_any_more};

const LEFT: &str = "SELECT (extract(epoch FROM expires_at - now()) / 3600)::float8 FROM plugin_auth.sessions";

#[tokio::test]
async fn a_session_that_is_used_is_prolonged_once_an_hour_up_to_its_end() {
    let instance = instance().await;
    let replica = Replica::start(&instance, "pod").await;
    let admin = replica.admin().await;
    let mut database = instance.database.admin().await;
    let hours_left = async |shown: &Shown| -> f64 {
        not_believed_any_more().await;
        assert!(replica.who(shown).await.starts_with("user "));
        instance.database.value(LEFT).await
    };
    let lifetime = 7.0 * 24.0;
    let latest: f64 =
        instance.database.value("SELECT (extract(epoch FROM ends_at_latest - created_at) / 3600)::float8 FROM plugin_auth.sessions").await;
    assert_eq!(latest, 4.0 * lifetime);

    execute(&mut database, "UPDATE plugin_auth.sessions SET expires_at = now() + interval '7 days' - interval '50 minutes'").await;
    let left = hours_left(&admin).await;
    assert!(left < lifetime - 0.8, "not again within the hour: {left}");
    execute(&mut database, "UPDATE plugin_auth.sessions SET expires_at = now() + interval '7 days' - interval '70 minutes'").await;
    let left = hours_left(&admin).await;
    assert!(left > lifetime - 0.1 && left <= lifetime, "{left}");

    // Towards the end.
    execute(
        &mut database,
        "UPDATE plugin_auth.sessions SET expires_at = now() + interval '1 day', ends_at_latest = now() + interval '2 days'",
    )
    .await;
    let left = hours_left(&admin).await;
    assert!(left > 47.9 && left <= 48.0, "{left}");
    let left = hours_left(&admin).await;
    assert!(left < 48.0, "and not beyond it: {left}");

    // One of the release before, or of a provider.
    execute(&mut database, "UPDATE plugin_auth.sessions SET expires_at = now() + interval '1 day', ends_at_latest = NULL").await;
    let left = hours_left(&admin).await;
    assert!(left <= 24.0, "{left}");
    execute(&mut database, "UPDATE plugin_auth.sessions SET ends_at_latest = expires_at").await;
    let left = hours_left(&admin).await;
    assert!(left <= 24.0, "{left}");

    execute(&mut database, "UPDATE plugin_auth.sessions SET expires_at = now(), ends_at_latest = now() + interval '1 day'").await;
    not_believed_any_more().await;
    assert_eq!(replica.who(&admin).await, "401", "what is over is over");
    assert_eq!(replica.call(&admin, "getUsers", json!({})).await.0, 401);
}

#[tokio::test]
async fn the_browser_keeps_the_cookie_for_as_long_as_it_may_count() {
    let instance = instance().await;
    let replica = Replica::start(&instance, "pod").await;
    replica.admin().await;
    let response = replica.sign_in(ADMIN, PASSWORD).await;
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    assert!(
        cookie.contains(&format!("Max-Age={};", 28 * 24 * 3600)) || cookie.ends_with(&format!("Max-Age={}", 28 * 24 * 3600)),
        "{cookie}"
    );
    let session: Value = replica
        .pod
        .client
        .get(format!("{}/api/auth/get-session", replica.pod.address))
        .header("cookie", cookie.split(';').next().unwrap())
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(session["user"]["email"], ADMIN);
}
