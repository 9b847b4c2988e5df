//! Procedures of a guest: the contract that it describes, calls on their way in, and what comes out.

use checkstack_calls::access::{Account, Principal};
use checkstack_calls::contract::{Contract, Offer};
use checkstack_calls::error::{CallError, ErrorCode};
use checkstack_events::Actor;
use checkstack_platform::plugin::ProcedureCall;
use checkstack_plugin_package::PluginId;
use serde_json::Value;

use crate::bindings::exports::checkstack::plugin::procedures::{
    Account as GuestAccount, Call as GuestCall, CallError as GuestCallError, Caller as GuestCaller,
};
use crate::failure::one_line;
use crate::json::json;
use crate::messages::shown;

/// Of the text that `describe` gives: it is read, and compiled into checks, each time that the plugin is loaded.
const MAX_CONTRACT_BYTES: usize = 256 * 1024;
/// Of the message of an error.
const MAX_MESSAGE_CHARACTERS: usize = 1000;

/// What a guest answers to a call: an output, or what the caller is told instead.
pub(crate) type Answer = Result<Option<Value>, CallError>;

/// The contract that a guest describes; the error says what is wrong with it.
pub(crate) fn offer(text: &str, plugin: &PluginId) -> Result<Offer, String> {
    if text.len() > MAX_CONTRACT_BYTES {
        return Err(format!("has {} bytes; at most {MAX_CONTRACT_BYTES} are allowed", text.len()));
    }
    let unusable = |problem: String| format!("cannot be used: {}", one_line(&problem, MAX_MESSAGE_CHARACTERS));
    let contract: Contract = serde_json::from_str(text).map_err(|error| unusable(error.to_string()))?;
    contract.offer(plugin.clone()).map_err(|error| unusable(error.to_string()))
}

/// Lends a call to the guest; `input` is that of the call, as text.
pub(crate) fn guest_call<'a>(call: &'a ProcedureCall, input: Option<&'a str>) -> GuestCall<'a> {
    let account = |account: &'a Account| GuestAccount { id: &account.id, name: &account.name };
    let caller = match &call.principal {
        None => GuestCaller::Anonymous,
        Some(Principal::User(user)) => GuestCaller::User(account(user)),
        Some(Principal::Application(application)) => GuestCaller::Application(account(application)),
        Some(Principal::Service(plugin)) => GuestCaller::Plugin(plugin.as_str()),
    };
    GuestCall { procedure: &call.procedure, input, caller, correlation_id: &call.correlation_id }
}

/// What a guest answered, if it is an answer.
pub(crate) fn answer(result: Result<Option<String>, GuestCallError>, max_bytes: usize) -> Result<Answer, String> {
    Ok(match result {
        Ok(output) => Ok(output.map(|text| json("output", &text, max_bytes)).transpose()?),
        Err(GuestCallError { code, message, data }) => {
            let Some(code) = ErrorCode::parse(&code) else { return Err(format!("'{}' is not the code of an error", shown(&code))) };
            Err(CallError {
                code,
                message: message.map(|message| message.chars().take(MAX_MESSAGE_CHARACTERS).collect()),
                data: data.map(|text| json("data of an error", &text, max_bytes)).transpose()?,
            })
        }
    })
}

/// Who has caused what is done in a call: the person or the program that has made it, or nobody but the plugin itself.
pub(crate) fn actor(principal: Option<&Principal>) -> Option<Actor> {
    match principal? {
        Principal::User(user) => Some(Actor::user(&user.id, &user.name)),
        Principal::Application(application) => Some(Actor::application(&application.id, &application.name)),
        Principal::Service(_) => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use checkstack_calls::access::Permissions;
    use serde_json::json;

    use super::*;

    fn refusal(code: &str, message: Option<&str>, data: Option<&str>) -> Result<Answer, String> {
        answer(Err(GuestCallError { code: code.into(), message: message.map(Into::into), data: data.map(Into::into) }), 10)
    }

    #[test]
    fn what_somebody_outside_has_called_is_their_doing() {
        let account =
            || Arc::new(Account { id: "1".into(), name: "Ada".into(), permissions: Permissions::default(), teams: BTreeSet::new() });
        assert_eq!(actor(Some(&Principal::User(account()))), Some(Actor::user("1", "Ada")));
        assert_eq!(actor(Some(&Principal::Application(account()))), Some(Actor::application("1", "Ada")));
        assert_eq!((actor(Some(&Principal::Service("uptime".parse().unwrap()))), actor(None)), (None, None));
    }

    #[test]
    fn an_output_is_json_of_a_bounded_size() {
        assert_eq!(answer(Ok(None), 10), Ok(Ok(None)));
        assert_eq!(answer(Ok(Some("[1, 2]".into())), 10), Ok(Ok(Some(json!([1, 2])))));
        assert!(answer(Ok(Some("[1, 2".into())), 10).unwrap_err().starts_with("the output is no JSON"));
        assert_eq!(answer(Ok(Some("[1, 2, 3, 4]".into())), 10).unwrap_err(), "the output has 12 bytes; at most 10 are allowed");
        assert!(answer(Ok(Some("[".repeat(100_000))), 1_000_000).is_err(), "no stack is used up");
    }

    #[test]
    fn an_error_is_one_of_those_that_callers_know() {
        let told = refusal("CONFLICT", Some("it is\nthere"), Some("{\"a\":1}")).unwrap().unwrap_err();
        assert_eq!(
            (told.code, told.message.unwrap(), told.data),
            (ErrorCode::Conflict, "it is\nthere".to_owned(), Some(json!({ "a": 1 })))
        );
        assert_eq!(refusal("CONFUSED", None, None).unwrap_err(), "'CONFUSED' is not the code of an error");
        assert!(refusal("CONFLICT", None, Some("{")).unwrap_err().starts_with("the data of an error is no JSON"));
        assert!(refusal("CONFLICT", None, Some("\"0123456789\"")).unwrap_err().contains("12 bytes"));
        let long = refusal("CONFLICT", Some(&"x".repeat(5000)), None).unwrap().unwrap_err();
        assert_eq!(long.message.unwrap().len(), MAX_MESSAGE_CHARACTERS);
    }

    #[test]
    fn a_contract_that_cannot_be_used_says_why() {
        let offer = |text: &str| super::offer(text, &"subject".parse().unwrap());
        assert_eq!(offer("{}").unwrap().procedures.len(), 0);
        assert!(offer("1").unwrap_err().starts_with("cannot be used: invalid type"));
        assert!(offer(r#"{"procedures": {"a b": {"operation": "query"}}}"#).unwrap_err().starts_with("cannot be used: procedure 'a b'"));
        let stream = offer(r#"{"procedures": {"a": {"operation": "query", "eventStream": true}}}"#).unwrap_err();
        assert_eq!(stream, "cannot be used: procedure 'a' has eventStream: only parts of the server can answer with a stream of events");
        assert_eq!(offer(&" ".repeat(MAX_CONTRACT_BYTES + 1)).unwrap_err(), "has 262145 bytes; at most 262144 are allowed");
    }
}
