//! Integrity pins: `sha512-<base64>`, as npm and W3C Subresource Integrity write them.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// What the bytes of an artifact must hash to.
///
/// A pin may have several tokens, separated by white space. Only those of the strongest algorithm
/// count, and one of them must match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Integrity {
    text: String,
    algorithm: Algorithm,
    accepted: Vec<Vec<u8>>,
}

/// From weak to strong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

/// A text that is not an integrity pin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIntegrity {
    /// There is no token in it.
    #[error("the integrity pin is empty; expected for example sha512-<base64>")]
    Empty,
    /// No token has an algorithm that is strong enough.
    #[error("the integrity pin '{0}' has no sha512, sha384 or sha256 token")]
    NoSupportedAlgorithm(String),
    /// A token's hash is not base64, or not as long as the algorithm's hashes are.
    #[error("the integrity token '{token}' is malformed: after '{algorithm}-' it must have {bytes} bytes in base64")]
    MalformedHash {
        /// The token.
        token: String,
        /// Its algorithm.
        algorithm: &'static str,
        /// The length of a hash of that algorithm.
        bytes: usize,
    },
}

/// The content is not what the pin says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("integrity mismatch: pinned {pinned}, but the content is {actual}")]
pub struct IntegrityMismatch {
    /// The pin as it was written.
    pub pinned: String,
    /// The content's token, of the algorithm that was compared.
    pub actual: String,
}

impl Algorithm {
    const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    fn hash(self, content: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(content).to_vec(),
            Self::Sha384 => Sha384::digest(content).to_vec(),
            Self::Sha512 => Sha512::digest(content).to_vec(),
        }
    }
}

impl Integrity {
    /// The pin of `content`: one `sha512` token.
    pub fn of(content: &[u8]) -> Self {
        let hash = Algorithm::Sha512.hash(content);
        Self { text: token(Algorithm::Sha512, &hash), algorithm: Algorithm::Sha512, accepted: vec![hash] }
    }

    /// Compares `content` with the pin.
    pub fn verify(&self, content: &[u8]) -> Result<(), IntegrityMismatch> {
        let actual = self.algorithm.hash(content);
        if self.accepted.contains(&actual) {
            return Ok(());
        }
        Err(IntegrityMismatch { pinned: self.text.clone(), actual: token(self.algorithm, &actual) })
    }
}

impl FromStr for Integrity {
    type Err = InvalidIntegrity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut hashes = Vec::new();
        for token in text.split_ascii_whitespace() {
            // Options after '?' are reserved by the standard and ignored.
            let token = token.split_once('?').map_or(token, |(token, _)| token);
            // Algorithms that we do not know are skipped, so that a pin may name newer ones too.
            let Some((algorithm, hash)) = Algorithm::ALL
                .into_iter()
                .find_map(|algorithm| Some((algorithm, token.strip_prefix(algorithm.name())?.strip_prefix('-')?)))
            else {
                continue;
            };
            let hash = STANDARD.decode(hash).ok().filter(|hash| hash.len() == algorithm.length());
            hashes.push((
                algorithm,
                hash.ok_or_else(|| InvalidIntegrity::MalformedHash {
                    token: shorten(token),
                    algorithm: algorithm.name(),
                    bytes: algorithm.length(),
                })?,
            ));
        }
        let Some(strongest) = hashes.iter().map(|(algorithm, _)| *algorithm).max() else {
            return Err(match text.trim().is_empty() {
                true => InvalidIntegrity::Empty,
                false => InvalidIntegrity::NoSupportedAlgorithm(shorten(text)),
            });
        };
        let accepted = hashes.into_iter().filter(|(algorithm, _)| *algorithm == strongest).map(|(_, hash)| hash).collect();
        Ok(Self { text: text.trim().to_owned(), algorithm: strongest, accepted })
    }
}

impl fmt::Display for Integrity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

fn token(algorithm: Algorithm, hash: &[u8]) -> String {
    format!("{}-{}", algorithm.name(), STANDARD.encode(hash))
}

fn shorten(text: &str) -> String {
    text.chars().take(120).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    // echo -n content | openssl dgst -sha256 -binary | base64, and so on
    const SHA256: &str = "sha256-7XACtDnprIRfIjV9giusFERzD722AW0+yUMil7nsn3M=";

    #[test]
    fn a_pin_of_each_algorithm_is_verified() {
        for algorithm in Algorithm::ALL {
            let pin: Integrity = token(algorithm, &algorithm.hash(b"content")).parse().unwrap();
            assert_eq!(pin.verify(b"content"), Ok(()));
            assert!(pin.verify(b"other").is_err());
        }
        assert_eq!(SHA256.parse::<Integrity>().unwrap().verify(b"content"), Ok(()));
        assert_eq!(Integrity::of(b"content").to_string().parse(), Ok(Integrity::of(b"content")));
    }

    #[test]
    fn only_the_strongest_algorithm_counts() {
        let good = |algorithm: Algorithm| token(algorithm, &algorithm.hash(b"content"));
        let bad = |algorithm: Algorithm| token(algorithm, &algorithm.hash(b"other"));
        let verify = |pin: String| pin.parse::<Integrity>().unwrap().verify(b"content").is_ok();
        assert!(verify(format!("{} {}", bad(Algorithm::Sha256), good(Algorithm::Sha512))));
        assert!(!verify(format!("{} {}", good(Algorithm::Sha256), bad(Algorithm::Sha512))));
        assert!(verify(format!("{}\n\t{}", bad(Algorithm::Sha384), good(Algorithm::Sha384))));
        assert!(verify(format!("md5-AAAA sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk= {}?note", good(Algorithm::Sha256))));
    }

    #[test]
    fn a_mismatch_shows_both_sides() {
        let error = SHA256.parse::<Integrity>().unwrap().verify(b"other").unwrap_err();
        assert_eq!(error.pinned, SHA256);
        assert!(error.actual.starts_with("sha256-2SmKENGw"), "{error}");
    }

    #[test]
    fn other_texts_are_refused_with_the_reason() {
        use InvalidIntegrity::*;
        let parse = |text: &str| text.parse::<Integrity>().unwrap_err();
        assert_eq!(parse(" \n"), Empty);
        assert!(matches!(parse("sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk="), NoSupportedAlgorithm(_)));
        assert!(matches!(parse("content"), NoSupportedAlgorithm(_)));
        for text in
            ["sha512-", "sha512-AAAA", "sha512-****", &SHA256.replace("256", "512"), "sha256-7XACtDnprIRfIjV9giusFERzD722AW0-yUMil7nsn3M="]
        {
            assert!(matches!(parse(text), MalformedHash { .. }), "{text}");
        }
    }
}
