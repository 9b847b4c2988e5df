//! [`SqlValue`] in PostgreSQL's binary form, and back.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo, PgTypeKind, PgValueRef};
use sqlx::{Encode, Postgres, Type, TypeInfo as _, ValueRef as _};
use uuid::Uuid;

use super::numeric;
use crate::plugin::{SqlError, SqlValue};

/// Microseconds from 1970-01-01 to 2000-01-01, where PostgreSQL begins to count.
const EPOCH_MICROSECONDS: i64 = 946_684_800_000_000;
/// The same in days.
const EPOCH_DAYS: i64 = 10_957;

/// Type numbers that are the same in every PostgreSQL.
mod oid {
    pub(super) const UNKNOWN_TO_US: u32 = 0;
    pub(super) const BOOL: u32 = 16;
    pub(super) const BYTEA: u32 = 17;
    pub(super) const CHAR: u32 = 18;
    pub(super) const NAME: u32 = 19;
    pub(super) const INT8: u32 = 20;
    pub(super) const INT2: u32 = 21;
    pub(super) const INT4: u32 = 23;
    pub(super) const TEXT: u32 = 25;
    pub(super) const OID: u32 = 26;
    pub(super) const JSON: u32 = 114;
    pub(super) const FLOAT4: u32 = 700;
    pub(super) const FLOAT8: u32 = 701;
    pub(super) const UNKNOWN: u32 = 705;
    pub(super) const BPCHAR: u32 = 1042;
    pub(super) const VARCHAR: u32 = 1043;
    pub(super) const DATE: u32 = 1082;
    pub(super) const TIMESTAMP: u32 = 1114;
    pub(super) const TIMESTAMPTZ: u32 = 1184;
    pub(super) const NUMERIC: u32 = 1700;
    pub(super) const VOID: u32 = 2278;
    pub(super) const UUID: u32 = 2950;
    pub(super) const JSONB: u32 = 3802;
}

/// A parameter, ready to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parameter {
    /// 0 lets the database find the type: for NULL.
    oid: u32,
    bytes: Option<Vec<u8>>,
}

impl Parameter {
    /// Encodes a value. What is no value of its type is refused as the database would.
    pub(crate) fn new(value: SqlValue) -> Result<Self, SqlError> {
        let (oid, bytes) = match value {
            SqlValue::Null => return Ok(Self { oid: oid::UNKNOWN_TO_US, bytes: None }),
            SqlValue::Boolean(value) => (oid::BOOL, vec![u8::from(value)]),
            SqlValue::Integer(value) => (oid::INT8, value.to_be_bytes().to_vec()),
            SqlValue::Float(value) => (oid::FLOAT8, value.to_be_bytes().to_vec()),
            SqlValue::Text(value) => (oid::TEXT, value.into_bytes()),
            SqlValue::Bytes(value) => (oid::BYTEA, value),
            SqlValue::Timestamp(value) => {
                let since_2000 = value.checked_sub(EPOCH_MICROSECONDS).ok_or_else(|| refused("22008", "timestamp out of range"))?;
                (oid::TIMESTAMPTZ, since_2000.to_be_bytes().to_vec())
            }
            SqlValue::Json(value) => {
                // The version of jsonb's binary form.
                let mut bytes = vec![1];
                bytes.extend_from_slice(value.as_bytes());
                (oid::JSONB, bytes)
            }
            SqlValue::Uuid(value) => {
                let uuid = Uuid::try_parse(&value).map_err(|_| refused("22P02", "not a uuid"))?;
                (oid::UUID, uuid.as_bytes().to_vec())
            }
            SqlValue::Numeric(value) => (oid::NUMERIC, numeric::encode(&value).ok_or_else(|| refused("22P02", "not a decimal number"))?),
        };
        Ok(Self { oid, bytes: Some(bytes) })
    }
}

fn refused(code: &str, message: &str) -> SqlError {
    SqlError::Database { code: code.into(), message: format!("parameter: {message}"), constraint: None }
}

impl Type<Postgres> for Parameter {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(oid::UNKNOWN_TO_US))
    }
}

impl Encode<'_, Postgres> for Parameter {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(match &self.bytes {
            None => IsNull::Yes,
            Some(bytes) => {
                buffer.extend_from_slice(bytes);
                IsNull::No
            }
        })
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(self.oid)))
    }

    fn size_hint(&self) -> usize {
        self.bytes.as_ref().map_or(0, Vec::len)
    }
}

/// The value of a column, and its size for the limit of a result.
pub(crate) fn decode(column: &str, value: PgValueRef<'_>) -> Result<(SqlValue, usize), SqlError> {
    let Ok(bytes) = value.as_bytes() else { return Ok((SqlValue::Null, 0)) };
    let type_info = value.type_info();
    let unsupported = |what: &str| SqlError::UnsupportedType(format!("column '{column}' {what}"));
    let broken = || unsupported(&format!("has a value that is no {}", type_info.name()));
    let text = || String::from_utf8(bytes.to_vec()).map_err(|_| broken());
    let Some(Oid(type_oid)) = type_info.oid() else {
        return Err(unsupported("has a type that the server does not know: cast it, for example ::text"));
    };
    let value = match type_oid {
        oid::BOOL => SqlValue::Boolean(*bytes.first().ok_or_else(broken)? != 0),
        oid::INT2 => SqlValue::Integer(i16::from_be_bytes(array(bytes).ok_or_else(broken)?).into()),
        oid::INT4 => SqlValue::Integer(i32::from_be_bytes(array(bytes).ok_or_else(broken)?).into()),
        oid::INT8 => SqlValue::Integer(i64::from_be_bytes(array(bytes).ok_or_else(broken)?)),
        oid::OID => SqlValue::Integer(u32::from_be_bytes(array(bytes).ok_or_else(broken)?).into()),
        oid::FLOAT4 => SqlValue::Float(f32::from_be_bytes(array(bytes).ok_or_else(broken)?).into()),
        oid::FLOAT8 => SqlValue::Float(f64::from_be_bytes(array(bytes).ok_or_else(broken)?)),
        oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::CHAR | oid::UNKNOWN => SqlValue::Text(text()?),
        oid::BYTEA => SqlValue::Bytes(bytes.to_vec()),
        oid::TIMESTAMP | oid::TIMESTAMPTZ => {
            let since_2000 = i64::from_be_bytes(array(bytes).ok_or_else(broken)?);
            if matches!(since_2000, i64::MIN | i64::MAX) {
                return Err(unsupported("is an infinite timestamp: cast it to text"));
            }
            SqlValue::Timestamp(since_2000.checked_add(EPOCH_MICROSECONDS).ok_or_else(broken)?)
        }
        oid::DATE => {
            let since_2000 = i32::from_be_bytes(array(bytes).ok_or_else(broken)?);
            if matches!(since_2000, i32::MIN | i32::MAX) {
                return Err(unsupported("is an infinite date: cast it to text"));
            }
            SqlValue::Text(date(i64::from(since_2000) + EPOCH_DAYS))
        }
        oid::JSON => SqlValue::Json(text()?),
        oid::JSONB => SqlValue::Json(String::from_utf8(bytes.get(1..).ok_or_else(broken)?.to_vec()).map_err(|_| broken())?),
        oid::UUID => SqlValue::Uuid(Uuid::from_bytes(array(bytes).ok_or_else(broken)?).hyphenated().to_string()),
        oid::NUMERIC => SqlValue::Numeric(numeric::decode(bytes).ok_or_else(broken)?),
        oid::VOID => SqlValue::Null,
        _ if matches!(type_info.kind(), PgTypeKind::Enum(_)) => SqlValue::Text(text()?),
        _ => {
            return Err(unsupported(&format!(
                "has the type {}, which has no counterpart here: cast it, for example ::text",
                type_info.name()
            )));
        }
    };
    Ok((value, bytes.len()))
}

fn array<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

/// The calendar day (proleptic Gregorian) that is `days` after 1970-01-01, as ISO 8601.
fn date(days: i64) -> String {
    // Years begin in March here, so that a leap day is the last day of its year; an era is the 400
    // years after which the calendar repeats.
    const DAYS_OF_ERA: i64 = 146_097;
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(DAYS_OF_ERA), days.rem_euclid(DAYS_OF_ERA));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (EPOCH_DAYS, "2000-01-01"),
            (11_016, "2000-02-29"),
            (20_413, "2025-11-21"),
            (-719_162, "0001-01-01"),
        ] {
            assert_eq!(date(days), expected);
        }
    }

    #[test]
    fn null_has_no_type_and_others_have_theirs() {
        assert_eq!(Parameter::new(SqlValue::Null).unwrap(), Parameter { oid: 0, bytes: None });
        assert_eq!(Parameter::new(SqlValue::Boolean(true)).unwrap(), Parameter { oid: 16, bytes: Some(vec![1]) });
        assert_eq!(Parameter::new(SqlValue::Json("{}".into())).unwrap(), Parameter { oid: 3802, bytes: Some(b"\x01{}".to_vec()) });
    }

    #[test]
    fn values_of_no_type_are_refused_like_the_database_does() {
        for value in [SqlValue::Uuid("x".into()), SqlValue::Numeric("1e".into()), SqlValue::Timestamp(i64::MIN)] {
            assert!(matches!(Parameter::new(value), Err(SqlError::Database { .. })));
        }
    }
}
