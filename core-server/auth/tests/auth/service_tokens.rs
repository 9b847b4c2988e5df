//! Tokens of services, on two replicas.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use checkstack_auth::{AuthSettings, ServiceKeySettings};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};

use crate::instance::Instance;
use crate::postgres::{Postgres, execute};
use crate::replica::{Replica, Shown, instance, not_believed_any_more, settings, with_admin};

/// Keys are looked at all the time.
fn attentive(instance: &Instance, rotate_after: Duration) -> AuthSettings {
    let keys = ServiceKeySettings { rotate_after, look_every: Duration::from_millis(50), ..ServiceKeySettings::default() };
    AuthSettings { service_keys: keys, ..settings(instance) }
}

fn key_id(shown: &Shown) -> String {
    jsonwebtoken::decode_header(shown.token()).unwrap().kid.unwrap()
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// As somebody signs who has an RSA key.
fn rs256(key: &KeyPair, kid: &str, claims: &Value) -> String {
    let header = json!({ "alg": "RS256", "typ": "JWT", "kid": kid });
    let message = [&header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&aws_lc_rs::signature::RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
    format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

async fn key_set(replica: &Replica) -> (String, Value) {
    let response = replica.pod.get("/.well-known/jwks.json").await;
    assert_eq!(response.status(), 200);
    (response.headers()["cache-control"].to_str().unwrap().to_owned(), response.json().await.unwrap())
}

fn ids(key_set: &Value) -> BTreeSet<String> {
    key_set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_token_of_one_replica_counts_on_the_other_at_once_also_right_after_a_rotation() {
    let instance = instance().await;
    let first = Replica::start_with(&instance, "first", attentive(&instance, Duration::from_secs(3600))).await;
    let second = Replica::start_with(&instance, "second", settings(&instance)).await;
    let before = first.service("uptime").await;
    assert_eq!(second.who(&before).await, "service uptime");
    assert_eq!(first.who(&before).await, "service uptime");
    assert_eq!(key_id(&second.service("mail").await), key_id(&before), "replicas make one key together");

    // An hour passes, and the first makes another key.
    let aged = "UPDATE plugin_auth.service_keys SET created_at = created_at - interval '61 minutes'";
    execute(&mut instance.database.admin().await, aged).await;
    let begin = Instant::now();
    let after = loop {
        let token = first.service("uptime").await;
        if key_id(&token) != key_id(&before) {
            break token;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "no other key was made");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(second.who(&after).await, "service uptime", "though the second has not heard of the key");
    assert_eq!(second.who(&before).await, "service uptime", "for a day");

    let (cache_control, shown) = key_set(&second).await;
    assert_eq!(cache_control, "public, max-age=60");
    assert_eq!(ids(&shown), [key_id(&before), key_id(&after)].into());
    // Somebody outside, who knows nothing but the public keys.
    let keys: JwkSet = serde_json::from_value(shown.clone()).unwrap();
    let key = DecodingKey::from_jwk(keys.find(&key_id(&after)).unwrap()).unwrap();
    let claims = jsonwebtoken::decode::<Value>(after.token(), &key, &Validation::new(Algorithm::RS256)).unwrap().claims;
    let names: BTreeSet<&str> = claims.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!((names, &claims["service"]), (["exp", "iat", "service"].into(), &json!("uptime")));
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 300);

    // A day passes: the old key is neither shown nor kept.
    let over = "UPDATE plugin_auth.service_keys SET expires_at = expires_at - interval '24 hours' WHERE expires_at IS NOT NULL";
    execute(&mut instance.database.admin().await, over).await;
    assert!(second.until(&before, "401").await < Duration::from_secs(2));
    assert_eq!(ids(&key_set(&second).await.1), [key_id(&after)].into());
    let begin = Instant::now();
    while instance.database.value::<i64>("SELECT count(*) FROM plugin_auth.service_keys").await != 1 {
        assert!(begin.elapsed() < Duration::from_secs(20), "it was not forgotten");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let response = first.pod.client.post(format!("{}/.well-known/jwks.json", first.pod.address)).send().await.unwrap();
    assert_eq!(response.status(), 405);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_rotate_under_load_without_a_failed_call() {
    let instance = instance().await;
    let quick = || attentive(&instance, Duration::from_millis(400));
    let replicas = [Replica::start_with(&instance, "first", quick()).await, Replica::start_with(&instance, "second", quick()).await];
    let replicas = Arc::new(replicas);
    let end = Instant::now() + Duration::from_secs(6);
    let callers = (0..8_usize).map(|number| {
        let replicas = replicas.clone();
        tokio::spawn(async move {
            let (mut calls, mut keys) = (0, BTreeSet::new());
            while Instant::now() < end {
                // Made by one, shown to the other.
                let shown = replicas[number % 2].service("uptime").await;
                assert_eq!(replicas[(number + 1) % 2].who(&shown).await, "service uptime", "call {calls}");
                keys.insert(key_id(&shown));
                calls += 1;
            }
            (calls, keys)
        })
    });
    let (mut calls, mut keys) = (0, BTreeSet::new());
    for caller in futures::future::join_all(callers).await {
        let (made, seen) = caller.unwrap();
        calls += made;
        keys.extend(seen);
    }
    assert!(keys.len() >= 4 && calls > 200, "{calls} calls with {} keys", keys.len());
    // One at a time signs, and all others count on for a day.
    let signing: i64 = instance.database.value("SELECT count(*) FROM plugin_auth.service_keys WHERE expires_at IS NULL").await;
    let in_grace = "SELECT count(*) FROM plugin_auth.service_keys WHERE expires_at > now() + interval '23 hours'";
    assert_eq!(signing, 1);
    assert!(instance.database.value::<i64>(in_grace).await >= 3);
}

#[tokio::test]
async fn a_revoked_key_stops_within_two_seconds_everywhere_and_another_signs() {
    let instance = instance().await;
    let (first, second) = (Replica::start(&instance, "first").await, Replica::start(&instance, "second").await);
    let admin = first.admin().await;
    let token = first.service("uptime").await;
    assert_eq!(second.who(&token).await, "service uptime");
    let listed = first.done(&admin, "getServiceKeys", Value::Null).await;
    let key = &listed["serviceKeys"][0];
    assert_eq!((key["id"].as_str(), &key["expiresAt"], &key["revokedAt"]), (Some(key_id(&token).as_str()), &Value::Null, &Value::Null));
    assert!(!listed.to_string().contains("rivate") && !listed.to_string().contains("sealed"), "{listed}");

    // Nobody may who was not permitted to.
    let helper = json!({ "email": "ada@example.com", "name": "Ada", "password": "Passw0rd-of-Ada" });
    first.done(&admin, "createUser", helper).await;
    let application = first.done(&admin, "createApplication", json!({ "name": "CI" })).await;
    let ci = Shown::bearer(application["key"].as_str().unwrap());
    for procedure in ["getServiceKeys", "revokeServiceKey"] {
        let input = if procedure == "getServiceKeys" { Value::Null } else { json!({ "id": key_id(&token) }) };
        assert_eq!(second.call(&ci, procedure, input.clone()).await.0, 403);
        assert_eq!(second.call(&Shown::nothing(), procedure, input).await.0, 401);
    }
    assert_eq!(second.who(&token).await, "service uptime");

    first.done(&admin, "revokeServiceKey", json!({ "id": key_id(&token) })).await;
    for replica in [&first, &second] {
        assert!(replica.until(&token, "401").await < Duration::from_secs(2));
        assert!(!ids(&key_set(replica).await.1).contains(&key_id(&token)));
    }
    let next = second.service("uptime").await;
    assert_ne!(key_id(&next), key_id(&token));
    assert_eq!((first.who(&next).await, second.who(&next).await), ("service uptime".into(), "service uptime".into()));

    // Once more is no change, and no record.
    first.done(&admin, "revokeServiceKey", json!({ "id": key_id(&token) })).await;
    let unknown = "00000000-0000-0000-0000-000000000000";
    let (status, refused) = first.call(&admin, "revokeServiceKey", json!({ "id": unknown })).await;
    assert_eq!((status, refused["message"].as_str()), (404, Some(format!("there is no service key {unknown}").as_str())));
    let records = first.done(&admin, "getAuditRecords", json!({})).await;
    let revoked: Vec<&Value> =
        records["records"].as_array().unwrap().iter().filter(|record| record["action"] == "service-key.revoke").collect();
    assert_eq!(revoked.len(), 1, "{records}");
    assert_eq!(
        (&revoked[0]["actorName"], revoked[0]["object"].as_str()),
        (&json!("Administrator"), Some(format!("service-key:{}", key_id(&token)).as_str()))
    );
}

#[tokio::test]
async fn what_was_not_signed_by_the_instance_is_nobody_whatever_cookie_is_beside_it() {
    let instance = instance().await;
    let replica = Replica::start(&instance, "pod").await;
    let admin = replica.admin().await;
    let token = replica.service("uptime").await;
    let (_, shown) = key_set(&replica).await;
    let n = shown["keys"][0]["n"].as_str().unwrap().to_owned();
    let id = key_id(&token);
    let claims = json!({ "service": "uptime", "iat": seconds(), "exp": seconds() + 60 });
    let hs256 = |secret: &[u8]| {
        let header = Header { kid: Some(id.clone()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(secret)).unwrap()
    };
    let strangers = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let none = BASE64_URL_SAFE_NO_PAD.encode(json!({ "alg": "none", "kid": id }).to_string());
    let parts: Vec<&str> = token.token().split('.').collect();
    let another = BASE64_URL_SAFE_NO_PAD.encode(json!({ "service": "auth", "iat": seconds(), "exp": seconds() + 60 }).to_string());
    for wrong in [
        hs256(n.as_bytes()),
        hs256(&BASE64_URL_SAFE_NO_PAD.decode(&n).unwrap()),
        rs256(&strangers, &id, &claims),
        rs256(&strangers, "00000000-0000-4000-8000-000000000000", &claims),
        rs256(&strangers, "no uuid", &claims),
        format!("{none}.{}.", parts[1]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{another}.{}", parts[0], parts[2]),
    ] {
        assert_eq!(replica.who(&Shown::bearer(&wrong)).await, "401", "{wrong}");
        assert_eq!(replica.who(&Shown::bearer(&wrong).and(&admin)).await, "401", "{wrong}");
    }
    assert!(replica.who(&admin).await.starts_with("user "));
    assert_eq!(replica.who(&token).await, "service uptime");

    // Tokens whose time is over, of a replica whose time is short.
    let mut short = settings(&instance);
    short.service_keys.token_lifetime = Duration::ZERO;
    let short = Replica::start_with(&instance, "short", short).await;
    let over = short.service("uptime").await;
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(replica.who(&over).await, "401");
}

#[tokio::test]
async fn many_tokens_with_unknown_keys_cost_few_questions_and_hold_nobody_up() {
    let instance = instance().await;
    let replica = Replica::start(&instance, "pod").await;
    let token = replica.service("uptime").await;
    let claims = token.token().split('.').nth(1).unwrap().to_owned();
    let guess = async |round: usize, number: usize| {
        let header = json!({ "alg": "RS256", "kid": format!("00000000-0000-4000-8000-0000000{round:02}{number:03}") });
        let guessed = Shown::bearer(&format!("{}.{claims}.AAAA", BASE64_URL_SAFE_NO_PAD.encode(header.to_string())));
        assert_eq!(replica.who(&guessed).await, "401");
    };
    // Many at once share the questions.
    let begin = Instant::now();
    for round in 0..4 {
        futures::future::join_all((0..100).map(|number| guess(round, number))).await;
        assert_eq!(replica.who(&token).await, "service uptime");
    }
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    // One after the other they have to wait, five a second.
    let begin = Instant::now();
    for number in 0..11 {
        guess(9, number).await;
    }
    assert!(begin.elapsed() >= Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn keys_that_somebody_wrote_into_the_database_do_not_count() {
    let instance = instance().await;
    let replica = Replica::start(&instance, "pod").await;
    let token = replica.service("uptime").await;
    let mut database = instance.database.admin().await;
    // Private keys are not to be read there.
    let sealed: Vec<u8> = instance.database.value("SELECT sealed_private_key FROM plugin_auth.service_keys").await;
    assert!(KeyPair::from_pkcs8(&sealed).is_err() && KeyPair::from_pkcs8(&sealed[13..]).is_err());

    // A key of a stranger under an id of its own, and then in the place of ours.
    let own = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let public = aws_lc_rs::signature::RsaPublicKeyComponents::<Vec<u8>>::from(aws_lc_rs::signature::KeyPair::public_key(&own));
    let forged = "4f1a6c1e-0000-4000-8000-000000000000";
    sqlx::query(
        "INSERT INTO plugin_auth.service_keys (id, modulus, exponent, sealed_private_key, created_at)
         SELECT $1::uuid, $2, $3, sealed_private_key, now() + interval '1 minute' FROM plugin_auth.service_keys",
    )
    .bind(forged)
    .bind(&public.n)
    .bind(&public.e)
    .execute(&mut database)
    .await
    .unwrap();
    let claims = json!({ "service": "uptime", "iat": seconds(), "exp": seconds() + 60 });
    let by_stranger = rs256(&own, forged, &claims);
    assert_eq!(replica.who(&Shown::bearer(&by_stranger)).await, "401");
    not_believed_any_more().await;
    assert!(!ids(&key_set(&replica).await.1).contains(forged));
    assert_eq!(key_id(&replica.service("uptime").await), key_id(&token), "the stranger's does not sign either");

    // As after a restore into an instance with other keys: a new one is made at once.
    execute(&mut database, "UPDATE plugin_auth.service_keys SET sealed_private_key = 'restored'").await;
    let again = Replica::start(&instance, "again").await;
    let fresh = again.service("uptime").await;
    assert_ne!(key_id(&fresh), key_id(&token));
    assert_eq!((again.who(&fresh).await, replica.who(&fresh).await), ("service uptime".into(), "service uptime".into()));
    assert_eq!(again.who(&token).await, "401");
}

#[tokio::test]
async fn while_the_database_is_away_services_are_told_to_come_back() {
    let postgres = Arc::new(Postgres::start());
    let instance = with_admin(Instance::with(&postgres).await);
    let replica = Replica::start(&instance, "pod").await;
    let token = replica.service("uptime").await;
    assert_eq!(replica.who(&token).await, "service uptime");
    postgres.stop();
    replica.until(&token, "503").await;
    let response = replica.pod.get("/.well-known/jwks.json").await;
    assert_eq!((response.status().as_u16(), response.headers().contains_key("retry-after")), (503, true));
    assert!(replica.identity.credentials(&"mail".parse().unwrap()).await.is_err());
    postgres.run();
    replica.until(&token, "service uptime").await;
    assert_eq!(replica.who(&replica.service("mail").await).await, "service mail");
}
