//! Guessing passwords, with two replicas to guess at.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::instance::Instance;
use crate::postgres::{Postgres, execute};
use crate::replica::{ADMIN, PASSWORD, Replica, Shown, instance, not_believed_any_more, with_admin};

async fn status(replica: &Replica, email: &str, password: &str) -> u16 {
    replica.sign_in(email, password).await.status().as_u16()
}

#[tokio::test]
async fn an_address_fails_ten_times_on_all_replicas_together() {
    let instance = instance().await;
    let replicas = [Replica::start(&instance, "first").await, Replica::start(&instance, "second").await];
    replicas[0].admin().await;
    for email in [ADMIN, "nobody@example.com"] {
        for attempt in 0..10_usize {
            assert_eq!(status(&replicas[attempt % 2], email, "Wr0ng-password").await, 401, "{email} {attempt}");
        }
        for replica in &replicas {
            assert_eq!(status(replica, email, "Wr0ng-password").await, 429, "{email}");
            assert_eq!(status(replica, &email.to_uppercase(), PASSWORD).await, 429, "{email}");
        }
    }
    assert_eq!(status(&replicas[1], "other@example.com", "Wr0ng-password").await, 401, "others are not concerned");
    let digests: i64 = instance.database.value("SELECT count(*) FROM plugin_auth.sign_in_attempts WHERE length(address_digest) = 32").await;
    assert_eq!(digests, 3);

    // Those who are refused do not make it longer.
    execute(&mut instance.database.admin().await, "UPDATE plugin_auth.sign_in_attempts SET since = since - interval '5 minutes'").await;
    not_believed_any_more().await;
    assert_eq!(status(&replicas[1], "nobody@example.com", "Wr0ng-password").await, 401);
    assert_eq!(status(&replicas[1], ADMIN, PASSWORD).await, 200);
    let sign_ins = |outcome: &str| format!(r#"checkstack_sign_ins_total{{method="password",outcome="{outcome}"}} "#);
    // Half of them at each, and what came after at the second.
    assert_eq!(replicas[1].counted(&sign_ins("wrong_password")).await, 12);
    assert_eq!(replicas[1].counted(&sign_ins("too_many")).await, 4);
    assert_eq!(replicas[1].counted(&sign_ins("success")).await, 1);
}

#[tokio::test]
async fn what_does_not_count_is_counted() {
    let instance = instance().await;
    let replica = Replica::start(&instance, "one").await;
    let admin = replica.admin().await;
    assert_eq!(replica.sign_in(&"x".repeat(400), PASSWORD).await.status().as_u16(), 400);
    assert_eq!(replica.counted(r#"checkstack_sign_ins_total{method="password",outcome="invalid"} "#).await, 1);
    let refused = |kind: &str| format!(r#"checkstack_credentials_refused_total{{kind="{kind}",reason="unknown"}} "#);
    assert_eq!(replica.who(&admin).await.split(' ').next(), Some("user"));
    assert_eq!(replica.counted(&refused("session")).await, 0);
    let key = format!("Bearer ck_11111111-1111-4111-8111-111111111111_{}", "x".repeat(32));
    for (kind, name, value) in [
        ("application_key", "authorization", key.as_str()),
        ("malformed", "authorization", "Bearer ck_nonsense"),
        ("session", "cookie", "checkstack.session_token=bm9ib2R5LWhhcy10aGlzLXNlc3Npb24tdG9rZW4tYXQtYWxs"),
    ] {
        // Also the second, which is answered from memory.
        for _ in 0..2 {
            assert_eq!(replica.who(&Shown::header(name, value)).await, "401", "{kind}");
        }
        assert_eq!(replica.counted(&refused(kind)).await, 2, "{kind}");
    }
}

#[tokio::test]
async fn many_at_once_are_counted_one_by_one() {
    let instance = instance().await;
    let replicas = [Replica::start(&instance, "first").await, Replica::start(&instance, "second").await];
    replicas[0].admin().await;
    let guesses = (0..60_usize).map(|guess| status(&replicas[guess % 2], ADMIN, "Wr0ng-password"));
    let told = futures::future::join_all(guesses).await;
    let counted = |status: u16| told.iter().filter(|told| **told == status).count();
    assert!(counted(401) <= 10 && counted(401) + counted(429) + counted(503) == 60, "{told:?}");
    assert!(counted(429) >= 50 - counted(503), "{told:?}");
}

#[tokio::test]
async fn a_success_wipes_the_slate_and_so_does_the_secret_of_the_first_admin() {
    let instance = instance().await;
    let replicas = [Replica::start(&instance, "first").await, Replica::start(&instance, "second").await];
    replicas[0].admin().await;
    for _ in 0..2 {
        for _ in 0..9 {
            assert_eq!(status(&replicas[0], ADMIN, "Wr0ng-password").await, 401);
        }
        assert_eq!(status(&replicas[1], ADMIN, PASSWORD).await, 200);
    }
    assert_eq!(instance.database.value::<i64>("SELECT count(*) FROM plugin_auth.sign_in_attempts").await, 0);
    for _ in 0..10 {
        status(&replicas[0], ADMIN, "Wr0ng-password").await;
    }
    assert_eq!(status(&replicas[1], ADMIN, PASSWORD).await, 429);
    instance.write("admin/password", b"N3w-secret-password");
    let begin = std::time::Instant::now();
    while status(&replicas[1], ADMIN, "N3w-secret-password").await != 200 {
        assert!(begin.elapsed() < Duration::from_secs(30), "the way back in is closed");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_session_is_no_way_to_find_out_the_password() {
    let instance = instance().await;
    let replicas = [Replica::start(&instance, "first").await, Replica::start(&instance, "second").await];
    let admin = replicas[0].admin().await;
    let change = |current: &str| json!({ "currentPassword": current, "newPassword": "An0ther-one" });
    for attempt in 0..10_usize {
        assert_eq!(replicas[attempt % 2].call(&admin, "changePassword", change("Wr0ng-one")).await.0, 403);
    }
    for replica in &replicas {
        assert_eq!(replica.call(&admin, "changePassword", change(PASSWORD)).await.0, 429);
    }
    assert_eq!(status(&replicas[0], ADMIN, PASSWORD).await, 200, "signing in is another thing");
    execute(&mut instance.database.admin().await, "UPDATE plugin_auth.sign_in_attempts SET since = since - interval '5 minutes'").await;
    not_believed_any_more().await;
    assert_eq!(replicas[1].call(&admin, "changePassword", change(PASSWORD)).await.0, 200);
}

#[tokio::test]
async fn while_the_database_does_not_answer_nobody_can_guess() {
    let postgres = Arc::new(Postgres::start());
    let instance = with_admin(Instance::with(&postgres).await);
    let replica = Replica::start(&instance, "pod").await;
    replica.admin().await;
    postgres.freeze();
    let guesses = (0..20).map(|_| status(&replica, ADMIN, "Wr0ng-password"));
    let told = futures::future::join_all(guesses).await;
    postgres.thaw();
    assert!(told.iter().all(|status| matches!(status, 503 | 504)), "{told:?}");
    let begin = std::time::Instant::now();
    while status(&replica, ADMIN, PASSWORD).await != 200 {
        assert!(begin.elapsed() < Duration::from_secs(30), "not as before");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
