//! Readiness checks that a plugin contributes.

use std::fmt::Display;

type Check<P> = Box<dyn Fn(&P) -> Result<(), String>>;

/// A readiness check. The server shows it as `<plugin id>.<name>` on `/.checkstack/ready`, to
/// everybody: what it says when it fails must be no secret.
pub struct Probe<P> {
    pub(crate) name: &'static str,
    pub(crate) critical: bool,
    pub(crate) check: Check<P>,
}

impl<P> Probe<P> {
    /// A pod is unready while this one fails, if the admin has made the plugin itself critical
    /// (`spec.critical: true` of its CheckstackPlugin). Without that it is as [`Self::informative`].
    pub fn critical<E: Display>(name: &'static str, check: impl Fn(&P) -> Result<(), E> + 'static) -> Self {
        Self { name, critical: true, check: Box::new(move |plugin| check(plugin).map_err(|error| error.to_string())) }
    }

    /// It is shown, and a pod is ready all the same.
    pub fn informative<E: Display>(name: &'static str, check: impl Fn(&P) -> Result<(), E> + 'static) -> Self {
        Self { critical: false, ..Self::critical(name, check) }
    }
}

impl<P> std::fmt::Debug for Probe<P> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Probe").field("name", &self.name).field("critical", &self.critical).finish_non_exhaustive()
    }
}
