//! What secrets are called.

use std::fmt;
use std::str::FromStr;

/// How names of secrets begin that the platform keeps for itself. No user can write such a name.
pub const INTERNAL_PREFIX: &str = "__internal__:";
/// Longest name.
const MAX_CHARACTERS: usize = 255;

/// The name that users give to a secret: letters of ASCII, digits, `_` and `-`, at most 255.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName(String);

/// Why a text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name of a secret has 1 to 255 of the characters a-z, A-Z, 0-9, _ and -")]
pub struct InvalidName;

/// What a secret is stored under.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretKey {
    /// The user's.
    User(SecretName),
    /// The platform's own; what follows [`INTERNAL_PREFIX`].
    Internal(String),
}

impl SecretName {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether names may have this character.
    pub(super) fn has(character: char) -> bool {
        character.is_ascii_alphanumeric() || matches!(character, '_' | '-')
    }
}

impl FromStr for SecretName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let is_name = (1..=MAX_CHARACTERS).contains(&text.len()) && text.chars().all(Self::has);
        if is_name { Ok(Self(text.to_owned())) } else { Err(InvalidName) }
    }
}

impl FromStr for SecretKey {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text.strip_prefix(INTERNAL_PREFIX) {
            Some("") => Err(InvalidName),
            Some(rest) => Ok(Self::Internal(rest.to_owned())),
            None => text.parse().map(Self::User),
        }
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for SecretKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(formatter, "{name}"),
            Self::Internal(rest) => write!(formatter, "{INTERNAL_PREFIX}{rest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_of_a_user_is_one_of_the_platform() {
        for name in ["a", "DB_PASSWORD-2", "__internal__", &"x".repeat(255)] {
            let name: SecretName = name.parse().unwrap();
            assert_eq!(name.to_string().parse(), Ok(SecretKey::User(name)));
        }
        for other in ["", " a", "a b", "a.b", "ü", "__internal__:a", "a:b", &"x".repeat(256)] {
            assert_eq!(other.parse::<SecretName>(), Err(InvalidName), "{other}");
        }
        assert_eq!(INTERNAL_PREFIX.parse::<SecretKey>(), Err(InvalidName));
        let internal = SecretKey::Internal("health/token".into());
        assert_eq!(internal.to_string(), "__internal__:health/token");
        assert_eq!(internal.to_string().parse(), Ok(internal));
    }
}
