use std::slice;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::super::tests::{fields, keyring, schema, server};
use super::super::{SecretError, SecretFields};
use super::*;

/// Saves over a stored value, and reads what is stored then.
fn saved(new: Value, stored: Value) -> Result<Value, String> {
    let (fields, keys): (SecretFields, _) = (fields(schema()), keyring());
    let stored = fields.encrypt(stored, &keys).unwrap();
    match fields.update(new, &stored, &keys) {
        Ok(updated) => Ok(fields.decrypt(updated, &keys).unwrap()),
        Err(SecretError::Keep { cause, .. }) => Err(cause.path.to_string()),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_blank_or_missing_secret_is_kept_and_null_takes_it_away() {
    let stored = json!({ "url": "a", "password": "old" });
    for blank in [json!({ "url": "b" }), json!({ "url": "b", "password": "" }), json!({ "url": "b", "password": " \n" })] {
        assert_eq!(saved(blank, stored.clone()), Ok(json!({ "url": "b", "password": "old" })));
    }
    assert_eq!(saved(json!({ "password": "****" }), stored.clone()), Ok(json!({ "password": "old" })));
    assert_eq!(saved(json!({ "password": "new" }), stored.clone()), Ok(json!({ "password": "new" })));
    assert_eq!(saved(json!({ "password": null }), stored), Ok(json!({})));
    let nullable = json!({ "nullable": "old" });
    assert_eq!(saved(json!({ "nullable": null, "env": { "A": null } }), nullable), Ok(json!({ "nullable": null, "env": {} })));
    assert_eq!(saved(json!({ "password": "" }), json!({})), Ok(json!({ "password": "" })));
    assert_eq!(saved(json!({}), json!({ "password": "" })), Ok(json!({})));
    assert_eq!(saved(json!({ "password": "****" }), json!({})), Ok(json!({ "password": "" })), "no mask becomes a password");
}

#[test]
fn what_is_kept_is_the_stored_ciphertext_itself() {
    let (fields, keys) = (fields(schema()), keyring());
    let stored = fields.encrypt(json!({ "password": "old" }), &keys).unwrap();
    assert_eq!(fields.update(json!({ "url": "b", "password": "" }), &stored, &keys).unwrap()["password"], stored["password"]);
}

#[test]
fn an_object_that_is_gone_takes_its_secrets_with_it() {
    let stored = json!({ "login": { "kind": "basic", "user": "ann", "password": "old" }, "env": { "A": "a", "B": "b" } });
    assert_eq!(saved(json!({ "url": "x" }), stored.clone()), Ok(json!({ "url": "x" })));
    assert_eq!(saved(json!({ "login": null, "env": { "B": "" } }), stored.clone()), Ok(json!({ "login": null, "env": { "B": "b" } })));
    let edited = json!({ "login": { "kind": "basic", "user": "bob" } });
    assert_eq!(saved(edited, stored), Ok(json!({ "login": { "kind": "basic", "user": "bob", "password": "old" } })));
}

#[test]
fn a_secret_is_not_kept_for_another_alternative() {
    let stored = json!({ "login": { "kind": "basic", "user": "ann", "password": "old" } });
    for other in [json!({ "kind": "token" }), json!({ "kind": "token", "token": "", "password": "" })] {
        assert_eq!(saved(json!({ "login": other }), stored.clone()), Ok(json!({ "login": other })));
    }
}

#[test]
fn an_alternative_is_told_by_the_values_that_are_fixed() {
    let secret = json!({ "x-secret": true });
    let schema = json!({ "oneOf": [
        { "properties": { "kind": { "enum": ["a"] }, "token": secret } },
        { "properties": { "kind": { "properties": { "name": {}, "token": secret } }, "token": secret } },
    ] });
    let stored = json!({ "kind": { "name": "x", "token": "1" }, "token": "2" });
    let kept = |new| keep_blank(&schema, new, &stored).unwrap();
    assert_eq!(kept(json!({ "kind": { "name": "y" } })), json!({ "kind": { "name": "y", "token": "1" }, "token": "2" }));
    assert_eq!(kept(json!({ "kind": "a" })), json!({ "kind": "a" }));
}

#[test]
fn entries_of_a_secret_object_are_kept_one_by_one() {
    let stored = json!({ "bundle": { "a": "1", "b": ["2", "3"] } });
    let new = json!({ "bundle": { "a": "", "b": ["", "4"], "c": "" } });
    assert_eq!(saved(new, stored.clone()), Ok(json!({ "bundle": { "a": "1", "b": ["2", "4"], "c": "" } })));
    assert_eq!(saved(json!({}), stored.clone()), Ok(stored.clone()));
    assert_eq!(saved(json!({ "bundle": { "b": ["4"] } }), stored.clone()), Ok(json!({ "bundle": { "b": ["4"] } })));
    assert_eq!(saved(json!({ "bundle": { "b": ["4", "3", ""] } }), stored), Err("bundle.b[2]".into()));
}

#[test]
fn elements_with_the_same_content_belong_together() {
    let of = |host: &str, password: &str| json!({ "host": host, "password": password });
    let blank = |host: &str| json!({ "host": host });
    let kept =
        |new: &[Value], stored: &[Value]| saved(json!({ "servers": new }), json!({ "servers": stored })).map(|mut it| it["servers"].take());
    let (a, b, c) = (of("a", "1"), of("b", "2"), of("c", "3"));
    // Moved, removed, added.
    assert_eq!(kept(&[blank("b"), blank("a")], &[a.clone(), b.clone()]), Ok(json!([b, a])));
    assert_eq!(kept(&[blank("b")], &[a.clone(), b.clone()]), Ok(json!([b])));
    assert_eq!(kept(&[c.clone(), blank("a")], slice::from_ref(&a)), Ok(json!([c, a])));
    assert_eq!(kept(&[blank("a"), blank("c")], slice::from_ref(&a)), Ok(json!([a, { "host": "c" }])), "an added one has none to keep");
    // Two that look the same: as many as there were, or as many as are blank.
    let twins = [of("a", "1"), of("a", "2")];
    assert_eq!(kept(&[blank("a"), blank("a")], &twins), Ok(json!(twins)));
    assert_eq!(kept(&[of("a", "0"), blank("a"), of("a", "")], &twins), Ok(json!([of("a", "0"), twins[0], twins[1]])));
    assert_eq!(kept(&[blank("a")], &twins), Err("servers[0].password".into()), "nobody knows which of them went");
}

#[test]
fn an_element_that_was_edited_is_known_by_its_identity_or_not_at_all() {
    let stored = json!({ "servers": [{ "id": 1, "host": "a", "password": "1" }, { "id": 2, "host": "b", "password": "2" }] });
    let edited = json!({ "servers": [{ "id": 2, "host": "B" }, { "id": 1, "host": "A", "password": "" }] });
    let kept = json!({ "servers": [{ "id": 2, "host": "B", "password": "2" }, { "id": 1, "host": "A", "password": "1" }] });
    assert_eq!(saved(edited, stored.clone()), Ok(kept));
    // The secret of one server is never sent to another.
    let stored = json!({ "servers": [{ "host": "a", "password": "1" }] });
    assert_eq!(saved(json!({ "servers": [{ "host": "attacker" }] }), stored.clone()), Err("servers[0].password".into()));
    let entered = json!({ "servers": [{ "host": "other", "password": "new" }] });
    assert_eq!(saved(entered.clone(), stored.clone()), Ok(entered));
    let none = json!({ "servers": [{ "host": "other", "password": null }] });
    assert_eq!(saved(none, stored), Ok(json!({ "servers": [{ "host": "other" }] })));
    // The `id` counts before the `name`, and nobody gets a secret that another has.
    let stored_named = json!({ "servers": [{ "id": 1, "name": "a", "password": "1" }] });
    let renamed = json!({ "servers": [{ "id": 1, "name": "b" }, { "id": 2, "name": "a" }] });
    let kept = json!({ "servers": [{ "id": 1, "name": "b", "password": "1" }, { "id": 2, "name": "a" }] });
    assert_eq!(saved(renamed, stored_named), Ok(kept));
    let twice = json!({ "servers": [{ "id": 1, "host": "x" }, { "id": 1, "host": "y", "password": "new" }] });
    let one = json!({ "servers": [{ "id": 1, "host": "a", "password": "1" }] });
    assert_eq!(saved(twice, one), Err("servers[0].password".into()), "an identity that two have is none");
}

#[test]
fn secrets_of_a_list_are_kept_by_their_places() {
    let kept = |new: Value, stored: Value| saved(json!({ "tokens": new }), json!({ "tokens": stored })).map(|mut it| it["tokens"].take());
    assert_eq!(kept(json!(["", "new"]), json!(["a", "b"])), Ok(json!(["a", "new"])));
    assert_eq!(kept(json!(["", "", "new"]), json!(["a", "b"])), Ok(json!(["a", "b", "new"])));
    assert_eq!(kept(json!([]), json!(["a", "b"])), Ok(json!([])));
    assert_eq!(kept(json!([""]), json!(["a", "b"])), Err("tokens[0]".into()));
}

#[test]
fn nested_lists_are_kept_too() {
    let stored =
        json!({ "tree": { "label": "r", "children": [{ "label": "x", "secret": "1", "children": [{ "label": "y", "secret": "2" }] }] } });
    let new = json!({ "tree": { "label": "changed", "children": [{ "label": "x", "children": [{ "label": "y", "secret": "" }] }] } });
    let mut expected = stored.clone();
    expected["tree"]["label"] = json!("changed");
    assert_eq!(saved(new, stored), Ok(expected));
}

#[test]
fn lists_that_are_too_long_to_compare_are_refused_soon() {
    let of = |kind: &str, secret: Option<&str>, count: usize| -> Value {
        (0..count).map(|it| json!({ "label": format!("{kind}{it}"), "secret": secret, "children": [] })).collect()
    };
    let nested = |kind: &str, secret: Option<&str>| -> Value {
        (0..100).map(|it| json!({ "label": format!("{kind}{it}"), "children": of(kind, secret, 100) })).collect()
    };
    let tree = |children: Value| json!({ "tree": { "children": children } });
    let started = std::time::Instant::now();
    assert!(saved(tree(of("a", None, 1000)), tree(of("b", None, 1000))).is_ok(), "there is nothing to keep");
    assert_eq!(saved(tree(of("a", None, 1000)), tree(of("b", Some("x"), 1000))), Err("tree.children[10]".into()));
    assert_eq!(saved(tree(of("a", Some("x"), 50)), tree(of("b", Some("y"), 50))), Ok(tree(of("a", Some("x"), 50))));
    assert!(saved(tree(nested("a", None)), tree(nested("b", Some("x")))).is_err());
    assert!(saved(tree(nested("a", Some(""))), tree(nested("a", Some("x")))).is_ok());
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

proptest! {
    #[test]
    fn a_secret_stays_with_its_element(new in vec(server(), 0..4), stored in vec(server(), 0..4)) {
        let number = |(place, mut server): (usize, Value)| {
            server["password"] = json!(format!("of {place}"));
            server
        };
        let stored: Vec<Value> = stored.into_iter().enumerate().map(number).collect();
        let new: Vec<Value> = new.into_iter().map(|server| fields(schema()).redact(json!({ "servers": [server] }))["servers"][0].take()).collect();
        if let Ok(kept) = saved(json!({ "servers": new }), json!({ "servers": stored })) {
            let mut places = BTreeSet::new();
            for (kept, new) in kept["servers"].as_array().unwrap().iter().zip(&new) {
                let Some(password) = kept["password"].as_str() else { continue };
                let place: usize = password.strip_prefix("of ").unwrap().parse().unwrap();
                prop_assert!(places.insert(place), "given away twice: {}", place);
                let before = fields(schema()).redact(json!({ "servers": [stored[place]] }))["servers"][0].take();
                prop_assert!(before == *new || (new.get("id").is_some() && before.get("id") == new.get("id")), "{} got that of {}", new, before);
            }
        }
    }
}
