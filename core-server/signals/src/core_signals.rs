//! Signals of the server itself, made of its own events: which plugins there are (platform facts §8).

use std::collections::BTreeMap;

use serde_json::json;

use crate::error::SignalError;
use crate::signal::{Signal, SignalId};

const INSTALLED: &str = "plugin.installed";
const DEREGISTERED: &str = "plugin.deregistered";
/// More plugins than this are not remembered.
const MOST: usize = 10_000;

/// What browsers were told last of each plugin. Each replica says when a plugin begins and ceases to serve there; browsers are told once.
#[derive(Debug, Default)]
pub(crate) struct Told(BTreeMap<String, bool>);

impl Told {
    /// What browsers are to be told when a plugin serves somewhere, or somewhere no more. None: they know.
    pub(crate) fn signal(&mut self, plugin_id: &str, serves: bool) -> Result<Option<Signal>, SignalError> {
        if self.0.get(plugin_id) == Some(&serves) {
            return Ok(None);
        }
        if self.0.len() >= MOST && !self.0.contains_key(plugin_id) {
            self.0.clear();
        }
        self.0.insert(plugin_id.to_owned(), serves);
        let id = SignalId::of_core(if serves { INSTALLED } else { DEREGISTERED })?;
        Signal::new(id, json!({ "pluginId": plugin_id })).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_told_once_however_many_replicas_say_it() {
        let mut told = Told::default();
        let mut says =
            |plugin: &str, serves| told.signal(plugin, serves).unwrap().map(|signal| format!("{} {}", signal.signal_id, signal.payload));
        let installed = Some(r#"core.plugin.installed {"pluginId":"mail"}"#.to_owned());
        let deregistered = Some(r#"core.plugin.deregistered {"pluginId":"mail"}"#.to_owned());
        assert_eq!([says("mail", true), says("mail", true), says("mail", true)], [installed.clone(), None, None]);
        assert_eq!([says("mail", false), says("mail", false), says("mail", true)], [deregistered, None, installed]);
        assert!(says("uptime", false).is_some(), "it was there before this replica was");
    }
}
