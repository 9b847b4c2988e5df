//! How a ciphertext is written (platform facts §5.3): IV, tag and content in base64 with colons between them.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

const IV_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// The parts.
pub(super) struct Ciphertext {
    pub(super) iv: [u8; IV_BYTES],
    pub(super) tag: [u8; TAG_BYTES],
    /// As long as the plaintext.
    pub(super) content: Vec<u8>,
}

/// It has another form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Whether a text has the form of a ciphertext. Says nothing of who made it: only decryption does.
#[must_use]
pub fn is_encrypted(text: &str) -> bool {
    text.parse::<Ciphertext>().is_ok()
}

impl Ciphertext {
    /// As the cipher wants it.
    pub(super) fn content_and_tag(&self) -> Vec<u8> {
        [self.content.as_slice(), &self.tag].concat()
    }
}

impl FromStr for Ciphertext {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut parts = text.split(':');
        let mut next = || BASE64_STANDARD.decode(parts.next().ok_or(Malformed)?).map_err(|_| Malformed);
        let (iv, tag, content) = (next()?, next()?, next()?);
        if parts.next().is_some() {
            return Err(Malformed);
        }
        Ok(Self { iv: iv.try_into().map_err(|_| Malformed)?, tag: tag.try_into().map_err(|_| Malformed)?, content })
    }
}

impl fmt::Display for Ciphertext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [iv, tag, content] = [self.iv.as_slice(), &self.tag, &self.content].map(|part| BASE64_STANDARD.encode(part));
        write!(formatter, "{iv}:{tag}:{content}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_three_parts_of_exact_lengths() {
        let (iv, tag, content) = ("AAECAwQFBgcICQoL", "2Q0dD8GxyvYmr28rkQ6BmQ==", "L3e4b6CX8A==");
        assert!(is_encrypted(&format!("{iv}:{tag}:{content}")));
        assert!(is_encrypted(&format!("{iv}:{tag}:")), "an empty text has an empty ciphertext");
        for other in [
            String::new(),
            format!("{iv}:{tag}"),
            format!("{iv}:{tag}:{content}:"),
            format!("{iv}:{tag}:{content}:{content}"),
            format!("{tag}:{iv}:{content}"),
            format!("AAECAwQFBgcICQo=:{tag}:{content}"),
            format!("AAECAwQFBgcICQoLDA==:{tag}:{content}"),
            format!("{iv}:2Q0dD8GxyvYmr28rkQ6B:{content}"),
            format!("{iv}:2Q0dD8GxyvYmr28rkQ6BmQ:{content}"),
            format!("{iv}:{tag}:L3e4b6CX8A"),
            format!("{iv}:{tag}:not base64"),
            format!(" {iv}:{tag}:{content}"),
        ] {
            assert!(!is_encrypted(&other), "{other}");
        }
    }

    #[test]
    fn it_is_written_as_it_is_read() {
        let text = "AAECAwQFBgcICQoL:2Q0dD8GxyvYmr28rkQ6BmQ==:L3e4b6CX8A==";
        assert_eq!(text.parse::<Ciphertext>().unwrap().to_string(), text);
    }
}
