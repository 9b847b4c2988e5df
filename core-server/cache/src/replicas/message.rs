//! What replicas tell each other: what to forget. Nothing that is said can make anybody keep what it would not have kept by itself.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::backplane::MAX_MESSAGE_BYTES;

/// One message, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Message {
    /// Which store says it; it does not listen to itself.
    pub(crate) from: Uuid,
    pub(crate) forget: Forget,
}

/// What to forget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Forget {
    /// Everything.
    All,
    /// Something of one owner.
    Some {
        scope: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        prefixes: Vec<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keys: Vec<KeyNews>,
    },
}

/// An entry that was set or deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyNews {
    pub(crate) key: String,
    /// What there is now: who has the same value need not forget it. Else two replicas that compute the same would make each other forget it
    /// for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) now: Option<ValueNews>,
}

/// A value that was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ValueNews {
    /// [`digest`] of it
    pub(crate) digest: String,
    /// How long it lives on, in milliseconds; none: until there is no room for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ttl_ms: Option<u64>,
}

/// Tells values apart. It is cut to 128 bits: a plugin that finds two values with the same harms itself alone.
pub(crate) fn digest(value: &[u8]) -> String {
    let digest = Sha256::digest(value);
    hex::encode(digest.get(..16).unwrap_or_default())
}

impl Message {
    /// None: it is of a release that says things of which this one knows nothing.
    pub(crate) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// Puts news of one owner into as few messages as they fit into.
pub(crate) struct Packer {
    from: Uuid,
    messages: Vec<String>,
}

impl Packer {
    pub(crate) fn new(from: Uuid) -> Self {
        Self { from, messages: Vec::new() }
    }

    pub(crate) fn all(&mut self) {
        self.push(Forget::All);
    }

    pub(crate) fn add(&mut self, scope: &str, prefixes: Vec<String>, keys: Vec<KeyNews>) {
        let room = MAX_MESSAGE_BYTES.saturating_sub(self.envelope(scope));
        for prefixes in chunks(prefixes, room) {
            self.push(Forget::Some { scope: scope.to_owned(), prefixes, keys: Vec::new() });
        }
        for keys in chunks(keys, room) {
            self.push(Forget::Some { scope: scope.to_owned(), prefixes: Vec::new(), keys });
        }
    }

    pub(crate) fn finish(self) -> Vec<String> {
        self.messages
    }

    /// What a message takes without what it is about, and some more.
    fn envelope(&self, scope: &str) -> usize {
        scope.len() + 150
    }

    fn push(&mut self, forget: Forget) {
        // It has no map whose keys are no text, which is all that can go wrong.
        if let Ok(text) = serde_json::to_string(&Message { from: self.from, forget }) {
            debug_assert!(text.len() <= MAX_MESSAGE_BYTES, "{} bytes", text.len());
            self.messages.push(text);
        }
    }
}

/// Runs of items that take `room` bytes at most as JSON, with commas. One alone always fits: a key has 512 bytes, which are 3,072 at most.
fn chunks<T: Serialize>(items: Vec<T>, room: usize) -> Vec<Vec<T>> {
    let mut chunks: Vec<Vec<T>> = Vec::new();
    let mut left = 0;
    for item in items {
        let bytes = serde_json::to_string(&item).map_or(0, |text| text.len() + 1);
        match chunks.last_mut() {
            Some(chunk) if bytes <= left => chunk.push(item),
            _ => {
                left = room;
                chunks.push(vec![item]);
            }
        }
        left = left.saturating_sub(bytes);
    }
    chunks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::entry::MAX_KEY_BYTES;

    fn news(key: &str, ttl_ms: Option<u64>) -> KeyNews {
        KeyNews { key: key.into(), now: Some(ValueNews { digest: digest(b"v"), ttl_ms }) }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn everything_arrives_in_messages_that_are_short_enough(
            prefixes in prop::collection::vec("\\PC{0,60}|[\0-\x1f]{0,512}", 0..12),
            keys in prop::collection::vec(("\\PC{1,100}|[\0-\x1f]{1,512}", prop::option::of(0..u64::MAX)), 0..60),
        ) {
            let keys: Vec<KeyNews> = keys.iter().map(|(key, ttl)| news(key, *ttl)).collect();
            let mut packer = Packer::new(Uuid::max());
            packer.add(&"s".repeat(63), prefixes.clone(), keys.clone());
            let (mut seen_prefixes, mut seen_keys) = (Vec::new(), Vec::new());
            for text in packer.finish() {
                prop_assert!(text.len() <= MAX_MESSAGE_BYTES);
                match Message::read(&text).unwrap().forget {
                    Forget::Some { prefixes, keys, .. } => {
                        seen_prefixes.extend(prefixes);
                        seen_keys.extend(keys);
                    }
                    Forget::All => prop_assert!(false, "nobody said so"),
                }
            }
            prop_assert_eq!((seen_prefixes, seen_keys), (prefixes, keys));
        }
    }

    #[test]
    fn the_longest_key_fits_and_short_ones_share_a_message() {
        let mut packer = Packer::new(Uuid::max());
        packer.add(&"s".repeat(63), vec!["\0".repeat(MAX_KEY_BYTES)], vec![news(&"\0".repeat(MAX_KEY_BYTES), Some(u64::MAX))]);
        packer.add("a", Vec::new(), (0..70).map(|number| news(&format!("key-{number}"), None)).collect());
        packer.all();
        let messages = packer.finish();
        assert_eq!(messages.len(), 4);
        assert_eq!(Message::read(&messages[3]), Some(Message { from: Uuid::max(), forget: Forget::All }));
    }

    #[test]
    fn what_is_not_understood_is_not_guessed_at() {
        for text in ["", "{}", r#"{"from":"x","forget":"all"}"#, r#"{"from":"00000000-0000-0000-0000-000000000000","forget":"some"}"#] {
            assert_eq!(Message::read(text), None, "{text}");
        }
        assert_ne!(digest(b"a"), digest(b"b"));
    }
}
