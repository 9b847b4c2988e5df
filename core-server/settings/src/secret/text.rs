//! A secret in a Rust type.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer, ser};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::mask::MASK;

thread_local! {
    /// Whether secrets may be serialised now. False but within [`to_plain_value`].
    static IS_REVEALING: Cell<bool> = const { Cell::new(false) };
}

/// A text that is secret: a field of this type is one in the schema too.
///
/// - `Debug` and `Display` show `****`. Its memory is overwritten when it is dropped.
/// - To **serialise** it is an error, so that a type with secrets neither leaks into a log or an answer nor loses them on
///   the way to the database. [`to_plain_value`] is the one way to do it on purpose.
/// - It is not compared in constant time: it is for settings, not for what a caller proves who he is with.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(from = "String")]
pub struct SecretString(Zeroizing<String>);

/// Why a value with secrets was not made into JSON. Has no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a value with secrets has no form in JSON: its type has map keys that are no text, or an error of its own")]
pub struct SerializeError;

impl SecretString {
    /// The secret.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// Serialises a value with the secrets in it. What it returns must be encrypted before it goes anywhere.
///
/// # Errors
/// When the value has no form in JSON.
pub fn to_plain_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, SerializeError> {
    /// Puts things back, also after a panic.
    struct Revealing(bool);
    impl Drop for Revealing {
        fn drop(&mut self) {
            IS_REVEALING.set(self.0);
        }
    }
    let _revealing = Revealing(IS_REVEALING.replace(true));
    // The cause may repeat a part of the value.
    serde_json::to_value(value).map_err(|_| SerializeError)
}

impl From<String> for SecretString {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl From<&str> for SecretString {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl fmt::Debug for SecretString {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(MASK)
    }
}

impl fmt::Display for SecretString {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(MASK)
    }
}

impl Serialize for SecretString {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match IS_REVEALING.get() {
            true => serializer.serialize_str(&self.0),
            false => Err(ser::Error::custom("a secret is serialised with `secret::to_plain_value` only")),
        }
    }
}

impl JsonSchema for SecretString {
    fn schema_name() -> Cow<'static, str> {
        "SecretString".into()
    }

    fn schema_id() -> Cow<'static, str> {
        concat!(module_path!(), "::SecretString").into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", (crate::annotation::SECRET): true })
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
    struct Login {
        user: String,
        #[serde(default)]
        password: SecretString,
        token: Option<SecretString>,
    }

    fn login() -> Login {
        serde_json::from_value(json!({ "user": "ann", "password": "hunter2", "token": "t0ken" })).unwrap()
    }

    #[test]
    fn it_is_shown_nowhere() {
        let shown = format!("{:?} {:#?} {} {:>20}", login(), login(), login().password, login().password);
        assert!(shown.contains("ann") && !shown.contains("hunter2") && !shown.contains("t0ken"), "{shown}");
    }

    #[test]
    fn it_is_serialised_on_purpose_only() {
        let refused = serde_json::to_string(&login()).unwrap_err().to_string();
        assert!(refused.contains("to_plain_value") && !refused.contains("hunter2"), "{refused}");
        let plain = json!({ "user": "ann", "password": "hunter2", "token": "t0ken" });
        assert_eq!(to_plain_value(&login()), Ok(plain));
        assert!(serde_json::to_value(login()).is_err(), "only this once");
        assert_eq!(login().password.reveal(), "hunter2");
    }

    #[test]
    fn after_a_panic_or_an_error_it_is_not_serialised_either() {
        struct Panics;
        impl Serialize for Panics {
            fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                panic!("while secrets are revealed")
            }
        }
        struct Fails;
        impl Serialize for Fails {
            fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(ser::Error::custom("hunter2"))
            }
        }
        assert!(catch_unwind(AssertUnwindSafe(|| to_plain_value(&Panics))).is_err());
        assert!(serde_json::to_value(login()).is_err());
        assert_eq!(to_plain_value(&Fails), Err(SerializeError));
        assert!(serde_json::to_value(login()).is_err());
    }

    #[test]
    fn its_schema_says_that_it_is_secret() {
        let schema = schemars::schema_for!(Login).to_value();
        assert_eq!(schema.pointer("/properties/password"), Some(&json!({ "type": "string", "x-secret": true })));
        assert_eq!(schema.pointer("/properties/token"), Some(&json!({ "type": ["string", "null"], "x-secret": true })));
        assert!(!schema.to_string().contains("$defs"));
    }
}
