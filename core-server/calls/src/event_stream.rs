//! A stream of events on the wire: server-sent events (platform facts §9.1), `message` for each output, then `done`, or `error`.

use serde_json::Value;

use crate::contract::OfferedProcedure;
use crate::envelope;
use crate::error::CallError;
use crate::route::{self, Mount};

/// Of the answer.
pub const CONTENT_TYPE: &str = "text/event-stream";

/// What shows that the other side is there while nothing happens: a comment.
pub const KEEP_ALIVE: &str = ": \n\n";

/// One output of the procedure.
#[must_use]
pub fn message(procedure: &OfferedProcedure, mount: Mount, output: Option<Value>) -> String {
    let data = match mount {
        Mount::Rpc => envelope::encode(output, procedure.output.as_ref()),
        Mount::Rest => output.unwrap_or_default(),
    };
    event("message", &data)
}

/// The end of a stream that failed.
#[must_use]
pub fn error(mount: Mount, error: &CallError) -> String {
    event("error", &route::error_document(mount, error))
}

/// The end of a stream that has no more to say.
#[must_use]
pub fn done(mount: Mount) -> String {
    let data = match mount {
        Mount::Rpc => envelope::encode(None, None),
        Mount::Rest => Value::Null,
    };
    event("done", &data)
}

/// JSON is written on one line: nothing in the data ends the event.
fn event(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::contract::Contract;
    use crate::error::ErrorCode;

    fn told(mount: Mount, output: Option<Value>) -> String {
        let procedure =
            json!({ "operation": "query", "eventStream": true, "output": { "properties": { "at": { "x-native-type": "date" } } } });
        let contract = serde_json::from_value::<Contract>(json!({ "procedures": { "watch": procedure } })).unwrap();
        let offer = contract.native_offer("catalog".parse().unwrap()).unwrap();
        message(&offer.procedures["watch"], mount, output)
    }

    #[test]
    fn events_are_in_the_form_of_the_mount() {
        let output = || Some(json!({ "at": "2026-01-01T00:00:00.000Z", "text": "a\nb" }));
        assert_eq!(
            told(Mount::Rpc, output()),
            "event: message\ndata: {\"json\":{\"at\":\"2026-01-01T00:00:00.000Z\",\"text\":\"a\\nb\"},\"meta\":[[1,\"at\"]]}\n\n"
        );
        assert_eq!(told(Mount::Rest, output()), "event: message\ndata: {\"at\":\"2026-01-01T00:00:00.000Z\",\"text\":\"a\\nb\"}\n\n");
        assert_eq!(
            (told(Mount::Rpc, None).as_str(), told(Mount::Rest, None).as_str()),
            ("event: message\ndata: {}\n\n", "event: message\ndata: null\n\n")
        );
        assert_eq!((done(Mount::Rpc).as_str(), done(Mount::Rest).as_str()), ("event: done\ndata: {}\n\n", "event: done\ndata: null\n\n"));
        let gone = CallError::new(ErrorCode::NotFound);
        assert!(error(Mount::Rpc, &gone).starts_with("event: error\ndata: {\"json\":{\"code\":\"NOT_FOUND\""));
        assert!(error(Mount::Rest, &gone).starts_with("event: error\ndata: {\"code\":\"NOT_FOUND\""));
    }
}
