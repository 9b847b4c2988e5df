//! The address at which people reach the instance.

use std::fmt;
use std::str::FromStr;

use url::Url;

/// `https://checkstack.example.com`: scheme, host and perhaps a port, and nothing more, since paths are the server's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(String);

/// Why a text is no address of an instance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no origin: write it like https://checkstack.example.com, without a path")]
pub struct InvalidBaseUrl(String);

impl BaseUrl {
    /// Whether browsers encrypt what they send there.
    pub fn is_encrypted(&self) -> bool {
        self.0.starts_with("https:")
    }

    /// The address of something below it. `path` begins with `/`.
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }
}

impl FromStr for BaseUrl {
    type Err = InvalidBaseUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_origin = |url: &Url| {
            let has_nothing_more = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
            matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none() && has_nothing_more
        };
        let url = Url::parse(text).ok().filter(is_origin).ok_or_else(|| InvalidBaseUrl(text.to_owned()))?;
        // As browsers write it, or it would never be equal to what they send.
        Ok(Self(url.origin().ascii_serialization()))
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_and_nothing_more() {
        for (text, origin) in [
            ("https://checkstack.example.com", "https://checkstack.example.com"),
            ("https://Checkstack.example.com:443/", "https://checkstack.example.com"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("https://[::1]:8443", "https://[::1]:8443"),
        ] {
            assert_eq!(text.parse::<BaseUrl>().unwrap().to_string(), origin);
        }
        for wrong in [
            "",
            "*",
            "null",
            "checkstack.example.com",
            "https://checkstack.example.com/path",
            "https://checkstack.example.com?a",
            "https://checkstack.example.com#a",
            "https://user@checkstack.example.com",
            "ftp://checkstack.example.com",
        ] {
            assert_eq!(wrong.parse::<BaseUrl>(), Err(InvalidBaseUrl(wrong.to_owned())));
        }
        let url: BaseUrl = "https://a.example".parse().unwrap();
        assert_eq!((url.join("/b").as_str(), url.is_encrypted()), ("https://a.example/b", true));
    }
}
