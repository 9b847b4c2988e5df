//! The macros of the `log` crate, and panics, come out of the server's log.

use std::sync::Once;

use log::kv::{Error, Key, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::bindings::checkstack::plugin::log as host;

/// Makes both work. May be called again.
pub(crate) fn set_up() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // The server knows what to keep.
        log::set_max_level(LevelFilter::Trace);
        // Fails only where the plugin has brought a logger of its own, which it may.
        let _ = log::set_logger(&HostLogger);
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            let fields = [host::Field { name: "place".to_owned(), value: place }];
            host::write(host::Level::Error, &format!("panicked: {}", panic.payload_as_str().unwrap_or("without a message")), &fields);
        }));
    });
}

struct HostLogger;

impl Log for HostLogger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut fields = Fields(Vec::new());
        // `Fields` never fails.
        let _ = record.key_values().visit(&mut fields);
        let message = record.args().as_str().map_or_else(|| record.args().to_string(), str::to_owned);
        host::write(level(record.level()), &message, &fields.0);
    }

    fn flush(&self) {}
}

struct Fields(Vec<host::Field>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, name: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        self.0.push(host::Field { name: name.to_string(), value: value.to_string() });
        Ok(())
    }
}

fn level(level: Level) -> host::Level {
    match level {
        Level::Trace => host::Level::Trace,
        Level::Debug => host::Level::Debug,
        Level::Info => host::Level::Info,
        Level::Warn => host::Level::Warn,
        Level::Error => host::Level::Error,
    }
}
