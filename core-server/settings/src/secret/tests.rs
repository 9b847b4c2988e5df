use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;
use crate::keyring::is_encrypted;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const OTHER_KEY: &str = "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4e3e2e1e0";

pub(super) fn keyring() -> Keyring {
    Keyring::parse(KEY, "").unwrap()
}

pub(super) fn fields(schema: Value) -> SecretFields {
    SecretFields::new("health", &Schema::compile(schema).unwrap()).unwrap()
}

/// Secrets in every place where one can be.
pub(super) fn schema() -> Value {
    let secret = json!({ "type": "string", "x-secret": true });
    json!({
        "type": "object",
        "properties": {
            "url": { "type": "string" },
            "password": secret,
            "nullable": { "anyOf": [{ "type": "null" }, secret] },
            "login": { "anyOf": [{ "$ref": "#/$defs/login" }, { "type": "null" }] },
            "servers": { "items": { "$ref": "#/$defs/server" } },
            "tokens": { "items": secret },
            "env": { "additionalProperties": secret },
            "bundle": { "type": "object", "x-secret": true },
            "tree": { "$ref": "#/$defs/tree" },
        },
        "$defs": {
            "login": { "oneOf": [
                { "properties": { "kind": { "const": "basic" }, "user": {}, "password": secret } },
                { "properties": { "kind": { "const": "token" }, "token": secret } },
            ] },
            "server": { "properties": { "id": {}, "host": {}, "password": secret, "login": { "$ref": "#/$defs/login" } } },
            "tree": { "properties": { "label": {}, "secret": secret, "children": { "items": { "$ref": "#/$defs/tree" } } } },
        },
    })
}

/// Every secret of these values contains this.
const MARK: &str = "S3CR3T";

fn object(fields: Vec<(&str, Option<Value>)>) -> Value {
    Value::Object(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect::<Map<_, _>>())
}

fn plain() -> impl Strategy<Value = Value> {
    "[a-c]{1,2}".prop_map(Value::from)
}

fn a_secret() -> impl Strategy<Value = Value> {
    "S3CR3T[ -~ä🔑]{0,6}".prop_map(Value::from)
}

fn login() -> impl Strategy<Value = Value> {
    (any::<bool>(), option::of(plain()), option::of(a_secret())).prop_map(|(is_basic, user, secret)| match is_basic {
        true => object(vec![("kind", Some(json!("basic"))), ("user", user), ("password", secret)]),
        false => object(vec![("kind", Some(json!("token"))), ("token", secret)]),
    })
}

pub(super) fn server() -> impl Strategy<Value = Value> {
    (option::of(plain()), plain(), option::of(a_secret()), option::of(login()))
        .prop_map(|(id, host, password, login)| object(vec![("id", id), ("host", Some(host)), ("password", password), ("login", login)]))
}

fn tree() -> impl Strategy<Value = Value> {
    let leaf = (plain(), option::of(a_secret())).prop_map(|(label, secret)| object(vec![("label", Some(label)), ("secret", secret)]));
    leaf.prop_recursive(3, 10, 3, |child| {
        (plain(), option::of(a_secret()), vec(child, 0..3)).prop_map(|(label, secret, children)| {
            object(vec![("label", Some(label)), ("secret", secret), ("children", Some(children.into()))])
        })
    })
}

/// Values of the schema.
pub(super) fn value() -> impl Strategy<Value = Value> {
    let flat = (option::of(plain()), option::of(a_secret()), option::of(a_secret()), option::of(login()));
    let deep = (vec(server(), 0..4), vec(a_secret(), 0..3), btree_map("[a-c]", a_secret(), 0..3), option::of(a_secret()), tree());
    (flat, deep).prop_map(|((url, password, nullable, login), (servers, tokens, env, bundle, tree))| {
        let env = Value::Object(env.into_iter().collect());
        let bundle = bundle.map(|secret| json!({ "a": [secret, ""], "b": null }));
        let fields = vec![("url", url), ("password", password), ("nullable", nullable), ("login", login), ("bundle", bundle)];
        let more = vec![("servers", Some(servers.into())), ("tokens", Some(tokens.into())), ("env", Some(env)), ("tree", Some(tree))];
        object(fields.into_iter().chain(more).collect())
    })
}

fn full() -> Value {
    json!({
        "url": "https://example.com", "password": "S3CR3T1", "nullable": "S3CR3T2",
        "login": { "kind": "basic", "user": "ann", "password": "S3CR3T3", "token": "S3CR3T4" },
        "servers": [{ "host": "a", "password": "S3CR3T5" }, { "host": "b", "login": { "kind": "token", "token": "S3CR3T6" } }],
        "tokens": ["S3CR3T7"], "env": { "A": "S3CR3T8" }, "bundle": { "a": ["S3CR3T9"] },
        "tree": { "children": [{ "children": [{ "label": "x", "secret": "S3CR3T0" }] }] },
    })
}

#[test]
fn secrets_are_found_in_every_place() {
    let paths: Vec<String> = fields(schema()).paths(&full()).iter().map(ToString::to_string).collect();
    let expected = [
        "bundle",
        "env.A",
        "login.password",
        "login.token",
        "nullable",
        "password",
        "servers[0].password",
        "servers[1].login.token",
        "tokens[0]",
        "tree.children[0].children[0].secret",
    ];
    assert_eq!(paths, expected);
}

#[test]
fn a_secret_of_another_alternative_is_one_too() {
    let hidden = fields(schema()).redact(json!({ "login": { "kind": "token", "password": "S3CR3T" } }));
    assert_eq!(hidden, json!({ "login": { "kind": "token" } }));
}

#[test]
fn redaction_takes_fields_out_and_leaves_entries_blank() {
    let expected = json!({
        "url": "https://example.com", "login": { "kind": "basic", "user": "ann" },
        "servers": [{ "host": "a" }, { "host": "b", "login": { "kind": "token" } }],
        "tokens": [""], "env": { "A": "" }, "tree": { "children": [{ "children": [{ "label": "x" }] }] },
    });
    assert_eq!(fields(schema()).redact(full()), expected);
    assert_eq!(fields(json!({ "x-secret": true })).redact(json!("S3CR3T")), json!(""));
    assert_eq!(fields(schema()).redact(json!({ "password": 12, "nullable": null })), json!({}), "of any type");
}

#[test]
fn a_secret_that_cannot_be_decrypted_is_an_error_that_names_field_and_plugin() {
    let stored = fields(schema()).encrypt(full(), &keyring()).unwrap();
    let other = Keyring::parse(OTHER_KEY, "").unwrap();
    let only = json!({ "servers": [{}, { "login": stored.pointer("/servers/1/login").unwrap() }] });
    let error = fields(schema()).decrypt(only, &other).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("`servers[1].login.token`") && text.contains("plugin `health`") && !text.contains(MARK), "{text}");
    assert!(matches!(error, SecretError::Decryption { cause: DecryptionError::NotAuthentic { keys: 1 }, .. }));
    assert!(matches!(fields(schema()).reencrypt(stored, &other), Err(SecretError::Decryption { .. })));
}

#[test]
fn what_looks_like_a_ciphertext_is_encrypted_when_a_user_sends_it() {
    let (fields, keys) = (fields(schema()), keyring());
    let elsewhere = keys.encrypt("of somebody else").unwrap();
    let sent = json!({ "password": elsewhere });
    let stored = fields.update(sent.clone(), &json!({}), &keys).unwrap();
    assert_ne!(stored, sent);
    assert_eq!(fields.decrypt(stored, &keys).unwrap(), sent, "it is what he sent, and nothing more");
}

#[test]
fn only_text_is_encrypted() {
    for (value, found) in [(json!({ "password": 17171717 }), "number"), (json!({ "bundle": { "a": [true] } }), "boolean")] {
        let error = fields(schema()).encrypt(value, &keyring()).unwrap_err();
        assert!(matches!(&error, SecretError::NotText { found: it, .. } if *it == found) && !error.to_string().contains("17171717"));
    }
    let none = json!({ "password": "", "nullable": null, "tokens": ["  "] });
    assert_eq!(fields(schema()).encrypt(none.clone(), &keyring()).unwrap(), none);
    assert_eq!(fields(schema()).decrypt(none.clone(), &keyring()).unwrap(), none);
}

#[test]
fn what_was_stored_before_its_field_was_secret_is_read_and_encrypted_when_it_is_saved() {
    let (fields, keys) = (fields(schema()), keyring());
    let before = json!({ "password": "S3CR3T" });
    assert_eq!(fields.decrypt(before.clone(), &keys).unwrap(), before);
    let kept = fields.update(json!({ "url": "a" }), &before, &keys).unwrap();
    let after = fields.reencrypt(before, &keys).unwrap().unwrap();
    for stored in [kept, after] {
        assert!(is_encrypted(stored["password"].as_str().unwrap()));
        assert_eq!(fields.decrypt(stored, &keys).unwrap()["password"], "S3CR3T");
    }
}

#[test]
fn a_schema_that_could_hide_a_secret_is_refused() {
    let refused = |schema: Value| SecretFields::new("health", &Schema::compile(schema).unwrap()).unwrap_err();
    let dynamic = json!({ "$dynamicRef": "#a", "$defs": { "a": { "$dynamicAnchor": "a", "x-secret": true } } });
    let anchor = json!({ "properties": { "a": { "$ref": "#a" } }, "$defs": { "a": { "$anchor": "a", "x-secret": true } } });
    let id = json!({ "$ref": "https://example.com/a", "$defs": { "a": { "$id": "https://example.com/a", "x-secret": true } } });
    for schema in [dynamic, anchor, id] {
        assert!(Schema::compile(schema.clone()).is_err(), "{schema}");
    }
    let both = json!({ "properties": { "body": { "type": "string", "x-secret": true, "x-templatable": true } } });
    assert!(refused(both).to_string().contains("(body)"));
    // A field may be called like a keyword.
    fields(json!({ "$id": "https://example.com", "properties": { "$anchor": { "type": "string" }, "$id": { "type": "string" } } }));
}

#[test]
fn the_schema_of_a_rust_type_has_its_secrets() {
    #[derive(schemars::JsonSchema, serde::Serialize)]
    struct Settings {
        name: String,
        targets: Vec<Target>,
    }
    #[derive(schemars::JsonSchema, serde::Serialize)]
    #[serde(tag = "kind")]
    enum Target {
        Basic { password: Option<SecretString> },
        Headers { headers: std::collections::BTreeMap<String, SecretString> },
    }
    let settings = Settings {
        name: "a".into(),
        targets: vec![
            Target::Basic { password: Some("S3CR3T1".into()) },
            Target::Headers { headers: [("x".to_owned(), "S3CR3T2".into())].into() },
        ],
    };
    let fields = fields(schemars::schema_for!(Settings).to_value());
    let plain = to_plain_value(&settings).unwrap();
    let paths: Vec<String> = fields.paths(&plain).iter().map(ToString::to_string).collect();
    assert_eq!(paths, ["targets[0].password", "targets[1].headers.x"]);
    assert!(!fields.redact(plain).to_string().contains(MARK));
}

/// Puts one more schema around a schema, and what it describes around a value. Definitions are added to the list.
fn wrap(kind: u8, schema: Value, value: Value, definitions: &mut Map<String, Value>) -> (Value, Value) {
    let field = |schema: &Value| json!({ "type": "object", "properties": { "a": schema } });
    match kind {
        0 => (field(&schema), json!({ "a": value, "b": 1 })),
        1 => (json!({ "type": "array", "items": schema }), json!([value])),
        2 => (json!({ "additionalProperties": schema }), json!({ "any": value })),
        3 => (json!({ "anyOf": [{ "type": "null" }, schema] }), value),
        4 => (json!({ "allOf": [{ "description": "all" }, schema], "default": null }), value),
        5 => (json!({ "oneOf": [{ "properties": { "a": { "const": 1 } } }, field(&schema)] }), json!({ "a": value })),
        6 => (json!({ "if": { "required": ["a"] }, "then": field(&schema) }), json!({ "a": value })),
        7 => (json!({ "prefixItems": [{}, schema] }), json!([1, value])),
        8 => (json!({ "patternProperties": { "^x": schema } }), json!({ "x-a": value })),
        _ => {
            let name = format!("d{}", definitions.len());
            definitions.insert(name.clone(), schema);
            (json!({ "$ref": format!("#/$defs/{name}") }), value)
        }
    }
}

proptest! {
    #[test]
    fn a_secret_is_found_whatever_is_around_it(kinds in vec(0_u8..10, 0..12)) {
        let mut definitions = Map::new();
        let secret = (json!({ "type": "string", "x-secret": true }), json!(MARK));
        let (mut schema, value) = kinds.iter().fold(secret, |(schema, value), kind| wrap(*kind, schema, value, &mut definitions));
        schema["$defs"] = Value::Object(definitions);
        let (fields, keys) = (fields(schema), keyring());
        prop_assert_eq!(fields.paths(&value).len(), 1);
        prop_assert!(!fields.redact(value.clone()).to_string().contains(MARK));
        let stored = fields.encrypt(value.clone(), &keys).unwrap();
        prop_assert!(!stored.to_string().contains(MARK));
        let kept = fields.update(fields.redact(stored.clone()), &stored, &keys);
        prop_assert_eq!(kept.as_ref(), Ok(&stored));
        prop_assert_eq!(fields.decrypt(stored, &keys), Ok(value));
    }

    #[test]
    fn decryption_undoes_encryption(value in value()) {
        let (fields, keys) = (fields(schema()), keyring());
        let encrypted = fields.encrypt(value.clone(), &keys).unwrap();
        prop_assert!(!encrypted.to_string().contains(MARK));
        prop_assert_eq!(fields.reencrypt(encrypted.clone(), &keys), Ok(None));
        prop_assert_eq!(fields.decrypt(encrypted, &keys), Ok(value));
    }

    #[test]
    fn nothing_of_a_secret_is_left_by_redaction(value in value()) {
        let (fields, keys) = (fields(schema()), keyring());
        let encrypted = fields.encrypt(value.clone(), &keys).unwrap();
        let redacted = fields.redact(value.clone());
        prop_assert!(!redacted.to_string().contains(MARK));
        prop_assert_eq!(&fields.redact(encrypted.clone()), &redacted, "and nothing of a ciphertext");
        prop_assert_eq!(&fields.redact(redacted.clone()), &redacted);
        prop_assert_eq!(fields.plaintexts(&redacted), []);
    }

    #[test]
    fn all_secrets_are_told_for_masking(value in value()) {
        let plaintexts = fields(schema()).plaintexts(&value);
        prop_assert_eq!(plaintexts.len(), value.to_string().matches(MARK).count());
        prop_assert!(plaintexts.iter().all(|secret| secret.reveal().starts_with(MARK)));
    }

    #[test]
    fn after_an_exchange_of_keys_the_old_one_can_go(value in value()) {
        let fields = fields(schema());
        let stored = fields.encrypt(value.clone(), &keyring()).unwrap();
        let rotating = Keyring::parse(OTHER_KEY, KEY).unwrap();
        prop_assert_eq!(&fields.decrypt(stored.clone(), &rotating).unwrap(), &value);
        let anew = fields.reencrypt(stored.clone(), &rotating).unwrap();
        prop_assert_eq!(anew.is_some(), value.to_string().contains(MARK));
        let new_only = Keyring::parse(OTHER_KEY, "").unwrap();
        prop_assert_eq!(fields.decrypt(anew.unwrap_or(stored), &new_only).unwrap(), value);
    }

    #[test]
    fn what_a_user_sees_and_sends_back_changes_nothing(value in value()) {
        let (fields, keys) = (fields(schema()), keyring());
        let stored = fields.encrypt(value, &keys).unwrap();
        let seen = fields.redact(stored.clone());
        prop_assert_eq!(fields.update(seen, &stored, &keys), Ok(stored));
    }

    #[test]
    fn what_a_user_enters_anew_counts(value in value(), stored in value()) {
        let (fields, keys) = (fields(schema()), keyring());
        // Other secrets than the stored ones.
        let new: Value = serde_json::from_str(&value.to_string().replace(MARK, "N3W")).unwrap();
        let stored = fields.encrypt(stored, &keys).unwrap();
        if let Ok(updated) = fields.update(new.clone(), &stored, &keys) {
            let read = fields.decrypt(updated, &keys).unwrap();
            for path in fields.paths(&new).iter().filter(|path| !path.to_string().starts_with("bundle")) {
                prop_assert_eq!(path.find(&read), path.find(&new), "{}", path);
            }
            prop_assert_eq!(fields.redact(read), fields.redact(new), "nothing but secrets is taken over");
        }
    }
}
