//! What kinds and entities are called.

use crate::error::EntityError;

/// Most bytes of the name of a kind.
pub const MAX_KIND_BYTES: usize = 63;
/// Most bytes of the name of a kind of a plugin in the sandbox: its id, a dot, and a name as of any kind.
pub const MAX_PLUGIN_KIND_BYTES: usize = MAX_KIND_BYTES + 1 + MAX_KIND_BYTES;
/// Most bytes of the id of an entity.
pub const MAX_ENTITY_ID_BYTES: usize = 400;

/// Lower-case letters, digits and `-`, beginning with a letter: `satellite-connection`.
///
/// # Errors
/// [`EntityError::Invalid`].
pub fn check_kind(kind: &str) -> Result<(), EntityError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let begins_well = kind.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    match begins_well && kind.len() <= MAX_KIND_BYTES && kind.bytes().all(plain) {
        true => Ok(()),
        false => Err(EntityError::Invalid(format!(
            "{kind:?} is not the name of a kind: 1 to {MAX_KIND_BYTES} lower-case letters, digits and '-', beginning with a letter"
        ))),
    }
}

/// Ids go into logs and tables as they are.
pub(crate) fn check_id(kind: &str, id: &str) -> Result<(), EntityError> {
    match (1..=MAX_ENTITY_ID_BYTES).contains(&id.len()) && !id.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(EntityError::Invalid(format!(
            "the id of an entity of kind '{kind}' has {} bytes or a control character; 1 to {MAX_ENTITY_ID_BYTES} bytes without are allowed",
            id.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_bounded() {
        for good in ["health", "satellite-connection", "a", &"x".repeat(MAX_KIND_BYTES)] {
            assert_eq!(check_kind(good), Ok(()));
        }
        for bad in ["", "Health", "1a", "a.b", "a b", "-a", &"x".repeat(MAX_KIND_BYTES + 1)] {
            assert!(check_kind(bad).is_err(), "{bad}");
        }
        for good in ["1", "7b0c::production", "ä b", &"x".repeat(MAX_ENTITY_ID_BYTES)] {
            assert_eq!(check_id("health", good), Ok(()));
        }
        for bad in ["", "a\0", "a\nb", &"x".repeat(MAX_ENTITY_ID_BYTES + 1)] {
            assert!(check_id("health", bad).is_err(), "{bad:?}");
        }
    }
}
