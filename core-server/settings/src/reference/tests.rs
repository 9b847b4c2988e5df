use proptest::prelude::*;
use serde_json::json;

use super::*;

fn look_up(name: &SecretName) -> Option<SecretString> {
    match name.as_str() {
        "A" => Some("alpha".into()),
        "B" => Some("${{ secrets.A }}".into()),
        "EMPTY" => Some("".into()),
        "LARGE" => Some("x".repeat(1024 * 1024).into()),
        _ => None,
    }
}

#[test]
fn secrets_are_put_in_everywhere_but_names_of_fields() {
    let value = json!({
        "whole": "${{ secrets.A }}", "part": ["Bearer ${{ secrets.A }}!", { "deep": "${{secrets.A}}${{ secrets.EMPTY }}" }],
        "${{ secrets.A }}": 1, "number": 2, "none": "text",
    });
    let resolved = resolve(value, look_up).unwrap();
    let expected = json!({
        "whole": "alpha", "part": ["Bearer alpha!", { "deep": "alpha" }], "${{ secrets.A }}": 1, "number": 2, "none": "text",
    });
    assert_eq!(resolved.reveal(), &expected);
    assert_eq!(resolved.names().into_iter().map(SecretName::as_str).collect::<Vec<_>>(), ["A", "EMPTY"]);
    assert_eq!(resolved.masker().unwrap().text("got Bearer alpha!"), "got Bearer ****!");
    assert!(!format!("{resolved:?}").contains("alpha"));
    assert_eq!(resolved.into_revealed(), expected);
}

#[test]
fn a_secret_that_looks_like_a_reference_stays_as_it_is() {
    let resolved = resolve(json!("${{ secrets.B }}"), look_up).unwrap();
    assert_eq!(resolved.reveal(), &json!("${{ secrets.A }}"));
    assert_eq!(resolved.names().len(), 1);
}

#[test]
fn a_name_is_looked_up_once() {
    let mut names = Vec::new();
    let remember = |name: &SecretName| {
        names.push(name.to_string());
        look_up(name)
    };
    resolve(json!(["${{ secrets.B }}", "${{ secrets.A }} ${{ secrets.A }}"]), remember).unwrap();
    assert_eq!(names, ["A", "B"]);
}

#[test]
fn what_is_missing_or_malformed_is_named_with_its_place() {
    let missing = resolve(json!({ "a": ["${{ secrets.A }}", { "b": "x ${{ secrets.NONE }}" }] }), look_up).unwrap_err();
    assert_eq!(missing.to_string(), "there is no secret `NONE`, which `a[1].b` refers to: create it, or correct the name");
    let malformed = find(&json!({ "a": "${{ secrets.a b }}" })).unwrap_err();
    assert_eq!(malformed, ReferenceError::Malformed { path: ValuePath::root().then("a") });
    assert!(malformed.to_string().contains("write `${{ secrets.NAME }}`,"), "{malformed}");
}

#[test]
fn the_platforms_own_secrets_are_out_of_reach() {
    let key = SecretKey::Internal("token".into());
    let found = find(&json!(format!("${{{{ secrets.{key} }}}}")));
    assert_eq!(found, Err(ReferenceError::Malformed { path: ValuePath::root() }));
}

#[test]
fn the_result_is_bounded() {
    let many = |count: usize| json!(vec!["${{ secrets.LARGE }}"; count]);
    assert!(resolve(many(16), look_up).is_ok());
    let refused = resolve(many(17), look_up).unwrap_err();
    assert_eq!(refused, ReferenceError::TooLarge { path: ValuePath::root().then(16) });
}

proptest! {
    #[test]
    fn text_without_references_stays(text in any::<String>()) {
        prop_assume!(!text.contains("${{"));
        prop_assert_eq!(resolve(json!({ "a": &text }), |_| None).unwrap().into_revealed(), json!({ "a": text }));
    }

    #[test]
    fn references_are_replaced_and_nothing_else(
        texts in proptest::collection::vec("[^$]{0,6}", 1..6),
        secrets in proptest::collection::vec(any::<String>(), 5),
    ) {
        let references = (1..texts.len()).map(|index| format!("${{{{ secrets.S{index} }}}}"));
        let template: String = texts.iter().cloned().zip(references.chain([String::new()])).map(|(text, reference)| text + &reference).collect();
        let value_of = |name: &SecretName| secrets.get(name.as_str()[1..].parse::<usize>().unwrap() - 1).map(|it| it.as_str().into());
        let expected: String = texts.iter().enumerate().map(|(index, text)| match index + 1 == texts.len() {
            true => text.clone(),
            false => format!("{text}{}", secrets[index]),
        }).collect();
        let resolved = resolve(json!(template), value_of).unwrap();
        prop_assert_eq!(resolved.reveal(), &json!(expected));
        prop_assert_eq!(resolved.names().len(), texts.len() - 1);
    }
}
