//! Values of parameters and columns.

use crate::bindings::checkstack::plugin::sql as host;
use crate::clock::Timestamp;

/// A value of a parameter or a column.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// NULL, of whatever type the statement wants.
    Null,
    /// `boolean`
    Boolean(bool),
    /// `bigint`, and the smaller ones
    Integer(i64),
    /// `double precision`
    Float(f64),
    /// `text`
    Text(String),
    /// `bytea`
    Bytes(Vec<u8>),
    /// `timestamptz`
    Timestamp(Timestamp),
    /// `jsonb`, as text
    Json(String),
    /// `uuid`
    Uuid(Uuid),
    /// `numeric`
    Numeric(Numeric),
}

/// A `uuid` in its hyphenated form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Uuid(pub String);

/// A `numeric`, as decimal digits without loss.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Numeric(pub String);

/// A type that a column can be read as.
pub trait FromValue: Sized {
    /// With its article, for messages.
    const EXPECTED: &'static str;

    /// None when the value is of another kind.
    fn from_value(value: &Value) -> Option<Self>;
}

impl Value {
    /// With its article, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Boolean(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Text(_) => "a text",
            Self::Bytes(_) => "bytes",
            Self::Timestamp(_) => "a timestamp",
            Self::Json(_) => "JSON",
            Self::Uuid(_) => "a UUID",
            Self::Numeric(_) => "a numeric",
        }
    }
}

macro_rules! convert {
    ($($type:ty, $kind:ident, $expected:literal;)*) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$kind(value)
            }
        }

        impl FromValue for $type {
            const EXPECTED: &'static str = $expected;

            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::$kind(value) => Some(value.clone()),
                    _ => None,
                }
            }
        }
    )*};
}

convert! {
    bool, Boolean, "a boolean";
    i64, Integer, "an integer";
    f64, Float, "a float";
    Vec<u8>, Bytes, "bytes";
    Timestamp, Timestamp, "a timestamp";
    Uuid, Uuid, "a UUID";
    Numeric, Numeric, "a numeric";
}

macro_rules! convert_smaller_integer {
    ($($type:ty, $expected:literal;)*) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::Integer(value.into())
            }
        }

        impl FromValue for $type {
            const EXPECTED: &'static str = $expected;

            fn from_value(value: &Value) -> Option<Self> {
                i64::from_value(value)?.try_into().ok()
            }
        }
    )*};
}

convert_smaller_integer! {
    i32, "an integer of 32 bits";
    i16, "an integer of 16 bits";
    u32, "an integer of 32 bits, not negative";
    u16, "an integer from 0 to 65535";
    u8, "an integer from 0 to 255";
}

impl FromValue for u64 {
    const EXPECTED: &'static str = "an integer, not negative";

    fn from_value(value: &Value) -> Option<Self> {
        i64::from_value(value)?.try_into().ok()
    }
}

/// Also the text of JSON, a UUID or a numeric.
impl FromValue for String {
    const EXPECTED: &'static str = "a text";

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) | Value::Json(text) | Value::Uuid(Uuid(text)) | Value::Numeric(Numeric(text)) => Some(text.clone()),
            _ => None,
        }
    }
}

impl FromValue for serde_json::Value {
    const EXPECTED: &'static str = "JSON";

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Json(text) => serde_json::from_str(text).ok(),
            _ => None,
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            other => T::from_value(other).map(Some),
        }
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Self {
        Self::Text(value.clone())
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(value.to_owned())
    }
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        Self::Json(value.to_string())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<host::Value> for Value {
    fn from(value: host::Value) -> Self {
        match value {
            host::Value::Null => Self::Null,
            host::Value::Boolean(value) => Self::Boolean(value),
            host::Value::Integer(value) => Self::Integer(value),
            host::Value::Float(value) => Self::Float(value),
            host::Value::Text(value) => Self::Text(value),
            host::Value::Bytes(value) => Self::Bytes(value),
            host::Value::Timestamp(value) => Self::Timestamp(Timestamp::from_unix_microseconds(value)),
            host::Value::Json(value) => Self::Json(value),
            host::Value::Uuid(value) => Self::Uuid(Uuid(value)),
            host::Value::Numeric(value) => Self::Numeric(Numeric(value)),
        }
    }
}

impl From<Value> for host::Value {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Boolean(value) => Self::Boolean(value),
            Value::Integer(value) => Self::Integer(value),
            Value::Float(value) => Self::Float(value),
            Value::Text(value) => Self::Text(value),
            Value::Bytes(value) => Self::Bytes(value),
            Value::Timestamp(value) => Self::Timestamp(value.unix_microseconds()),
            Value::Json(value) => Self::Json(value),
            Value::Uuid(Uuid(value)) => Self::Uuid(value),
            Value::Numeric(Numeric(value)) => Self::Numeric(value),
        }
    }
}
