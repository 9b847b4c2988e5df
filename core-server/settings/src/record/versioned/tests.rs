use proptest::prelude::*;
use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::secret::SecretString;

#[derive(Deserialize)]
struct First {
    seconds: u64,
}

#[derive(Deserialize, Serialize)]
struct Second {
    milliseconds: u64,
}

#[derive(Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
struct Third {
    #[schemars(range(min = 1))]
    milliseconds: u64,
    #[serde(default = "three")]
    attempts: u8,
    #[serde(default)]
    login: Option<Login>,
}

#[derive(Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
struct Login {
    user: String,
    password: SecretString,
}

fn three() -> u8 {
    3
}

fn format() -> Versioned<Third> {
    let steps = Versioned::starting_with::<First>().then("seconds became milliseconds", |old| match old.seconds.checked_mul(1000) {
        Some(milliseconds) => Ok(Second { milliseconds }),
        None => Err("`seconds` is too large".into()),
    });
    steps.then("attempts are limited", |old| Ok(Third { milliseconds: old.milliseconds, attempts: 5, login: None })).build().unwrap()
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

#[test]
fn a_record_of_any_version_is_read() {
    let format = format();
    let read = |version, data| format.parse(Record::new(version, data)).unwrap();
    let third = |milliseconds, attempts| Third { milliseconds, attempts, login: None };
    assert_eq!(format.version(), 3);
    assert_eq!(read(1, json!({ "seconds": 2, "gone": 1 })), third(2000, 5));
    assert_eq!(read(2, json!({ "milliseconds": 2 })), third(2, 5));
    assert_eq!(read(3, json!({ "milliseconds": 2 })), third(2, 3), "a default of the schema");
    let newer = format.parse(Record::new(4, json!({ "milliseconds": 2 }))).unwrap_err();
    assert_eq!(newer, RecordError::Migration(MigrationError::Newer { found: 4, newest: 3 }));
}

#[test]
fn a_migration_is_noted_in_the_wrapper() {
    let format = format();
    let parse = |record: Record| format.parse_record(record, now()).unwrap();
    let current = parse(Record::new(3, json!({ "milliseconds": 2 })));
    assert_eq!((current.version, current.migrated_at, current.original_version), (3, None, None));
    let migrated = parse(Record::new(2, json!({ "milliseconds": 2 })).of_plugin("health"));
    assert_eq!((migrated.version, migrated.migrated_at, migrated.original_version), (3, Some(now()), Some(2)));
    assert_eq!(migrated.plugin_id.as_deref(), Some("health"));
    let again = parse(Record { original_version: Some(1), ..Record::new(2, json!({ "milliseconds": 2 })) });
    assert_eq!(again.original_version, Some(1), "the earliest that is known");
    assert!(format.needs_migration(&Record::new(2, ())) && format.needs_migration(&Record::new(4, ())));
    assert!(!format.needs_migration(&Record::new(3, ())));
}

#[test]
fn data_without_a_version_is_of_the_first_one() {
    let format = format();
    let old = json!({ "seconds": 2 });
    assert_eq!(format.parse_assuming_version_1(old.clone()).unwrap().milliseconds, 2000);
    assert_eq!(format.parse_strict_assuming_version_1(old).unwrap().milliseconds, 2000);
    assert!(format.parse_assuming_version_1(json!({ "milliseconds": 2 })).is_err());
    let one: Versioned<Login> = Versioned::starting_with::<Login>().build().unwrap();
    let unknown = json!({ "user": "ann", "password": "hunter2", "extra": { "a": 1 } });
    assert_eq!(one.parse_assuming_version_1(unknown.clone()).unwrap().user, "ann");
    let refused = one.parse_strict_assuming_version_1(unknown).unwrap_err();
    assert_eq!(refused.to_string(), "the data has unknown fields: `extra`; take them away or correct their names");
    let many: Value = (0..8).map(|number| (format!("f{number}"), json!(1))).collect::<serde_json::Map<_, _>>().into();
    assert!(one.parse_strict_assuming_version_1(many).unwrap_err().to_string().contains("`f4`, and 3 more;"));
}

#[test]
fn unknown_fields_are_left_out_also_where_the_schema_forbids_them() {
    let schema = json!({ "properties": { "a": {} }, "additionalProperties": false });
    let format: Versioned<Value> = Versioned::new(MigrationChain::new(1, vec![]).unwrap(), schema).unwrap();
    assert_eq!(format.parse_assuming_version_1(json!({ "a": 1, "b": 2 })), Ok(json!({ "a": 1 })));
    assert!(matches!(format.validate(json!({ "a": 1, "b": 2 })), Err(RecordError::Invalid(_))));
}

#[test]
fn an_error_tells_fields_and_no_values() {
    let format = format();
    let error = format.validate(json!({ "milliseconds": 0, "login": { "password": 17171717 } })).unwrap_err();
    let RecordError::Invalid(InvalidData { issues }) = &error else { panic!("{error}") };
    assert!(!issues.is_empty() && !format!("{error} {error:?}").contains("17171717"), "{error}");
    assert!(error.to_string().contains("`milliseconds`"), "{error}");
    let narrow: Versioned<u8> = Versioned::new(MigrationChain::new(1, vec![]).unwrap(), json!({ "type": "integer" })).unwrap();
    let error = narrow.validate(json!(17171717)).unwrap_err();
    assert_eq!(error, RecordError::Unreadable { path: "(the whole value)".into() });
    let failed = format.parse(Record::new(1, json!({ "seconds": u64::MAX }))).unwrap_err();
    assert!(failed.to_string().contains("from version 1 to version 2") && failed.to_string().contains("too large"), "{failed}");
}

#[test]
fn a_record_is_made_with_the_newest_version_and_checked() {
    let login = Login { user: "ann".into(), password: "hunter2".into() };
    let data = Third { milliseconds: 1, attempts: 2, login: Some(login) };
    let record = format().create_for_plugin(&data, "health").unwrap();
    let plain = json!({ "milliseconds": 1, "attempts": 2, "login": { "user": "ann", "password": "hunter2" } });
    assert_eq!(record, Record::new(3, plain).of_plugin("health"));
    assert!(matches!(format().create(&Third { milliseconds: 0, ..data }), Err(RecordError::Invalid(_))));
    assert!(!format!("{record:?}").contains("hunter2"));
}

#[test]
fn what_is_no_schema_is_refused() {
    let chain = MigrationChain::new(1, vec![]).unwrap();
    let refused = Versioned::<Value>::new(chain, json!({ "$ref": "https://example.com" })).unwrap_err();
    assert!(matches!(refused, DefinitionError::Schema(_)));
}

proptest! {
    #[test]
    fn what_was_made_is_read_again(milliseconds in 1_u64.., attempts: u8, login in proptest::option::of((".*", ".*"))) {
        let login = login.map(|(user, password)| Login { user, password: SecretString::from(password) });
        let data = Third { milliseconds, attempts, login };
        let record = format().create(&data).unwrap();
        let stored: Record = serde_json::from_str(&serde_json::to_string(&record).unwrap()).unwrap();
        prop_assert_eq!(format().parse(stored).unwrap(), data);
    }
}
