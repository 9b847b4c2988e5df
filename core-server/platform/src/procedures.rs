//! Requests that lead to a procedure of a plugin: whether its caller may make it, and whether input and output are what
//! the contract says. The same for calls from outside and between plugins, and for all plugins, whatever they are made of.

mod events;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use checkstack_calls::access::{Permissions, Principal, RuleId};
use checkstack_calls::contract::OfferedProcedure;
use checkstack_calls::error::{CallError, ErrorCode};
use checkstack_calls::files::Input;
use checkstack_calls::gate::{self, Admission, InstanceAccess, TeamGrants, UserType};
use checkstack_calls::instance;
use checkstack_calls::route::{self, Mount, Sent};
use checkstack_plugin_package::PluginId;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tracing::{Instrument as _, error, warn};

use crate::dispatch::Endpoint;
use crate::identity::{Identity, NotIdentified};
use crate::plugin::{CallFailure, Caller, Plugin, PluginRequest, PluginResponse, ProcedureCall, ProcedureEvents, ProcedureFailure};
use crate::trace;
pub(crate) use events::{Events, Next};

/// What a request to a plugin came to.
pub(crate) enum Answer {
    /// All of it.
    Whole(PluginResponse),
    /// What has yet to happen.
    Events(Box<Events>),
}

/// Answers a request to a plugin: by the procedure that it leads to, else as the plugin sees fit.
pub(crate) async fn answer(
    endpoint: &Endpoint,
    identity: &dyn Identity,
    mount: Mount,
    request: PluginRequest,
) -> Result<Answer, CallFailure> {
    let plugin = endpoint.plugin().as_ref();
    let found = plugin.offer().and_then(|offer| Some((offer, route::find(offer, mount, &request.method, &request.path)?)));
    let Some((offer, procedure)) = found else {
        return match mount {
            Mount::Rpc if endpoint.is_native() => plugin.handle(request).await.map(Answer::Whole),
            Mount::Rpc => handle(plugin, identity, request).await.map(Answer::Whole),
            Mount::Rest => Ok(Answer::Whole(response(StatusCode::NOT_FOUND, Some(json!({ "error": "Not Found" }))))),
        };
    };
    trace::leads_to(request.path.trim_start_matches('/'));
    let call = GuardedCall { plugin, plugin_id: &offer.plugin, procedure, identity, mount };
    let result = match procedure.event_stream {
        true => match call.open(&request).await {
            Ok((input, events)) => return Ok(Answer::Events(Box::new(Events::new(events, mount, request, input)))),
            Err(failure) => Err(failure),
        },
        false => call.make(&request).await,
    };
    let result = match result {
        Ok(output) => Ok(output),
        Err(ProcedureFailure::Refused(error)) => Err(error),
        Err(ProcedureFailure::Failed(failure)) => return Err(failure),
    };
    Ok(Answer::Whole(whole(procedure, mount, result)))
}

fn whole(procedure: &OfferedProcedure, mount: Mount, result: Result<Option<Value>, CallError>) -> PluginResponse {
    let is_for_later = result.as_ref().is_err_and(|error| matches!(error.code, ErrorCode::ServiceUnavailable | ErrorCode::TooManyRequests));
    let (status, document) = route::answer(procedure, mount, result);
    let mut answer = response(status, document);
    if is_for_later {
        answer.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

/// What is not of the server neither sees nor sets what shows who somebody is.
async fn handle(plugin: &dyn Plugin, identity: &dyn Identity, mut request: PluginRequest) -> Result<PluginResponse, CallFailure> {
    identity.withhold(&mut request.headers);
    let mut answer = plugin.handle(request).await?;
    identity.withhold(&mut answer.headers);
    Ok(answer)
}

/// The caller may make the call.
struct Admitted<'a> {
    principal: Option<Principal>,
    /// And for these objects it is yet to be seen.
    objects: Option<Objects<'a>>,
}

fn call(request: &PluginRequest, principal: Option<Principal>, input: Input) -> ProcedureCall {
    ProcedureCall {
        procedure: request.path.trim_start_matches('/').to_owned(),
        input: input.value,
        files: input.files,
        principal,
        correlation_id: request.correlation_id.clone(),
        depth: request.depth,
    }
}

struct GuardedCall<'a> {
    plugin: &'a dyn Plugin,
    plugin_id: &'a PluginId,
    procedure: &'a OfferedProcedure,
    identity: &'a dyn Identity,
    mount: Mount,
}

impl GuardedCall<'_> {
    async fn make(&self, request: &PluginRequest) -> Result<Option<Value>, ProcedureFailure> {
        let Admitted { principal, objects } = self.admit(request).instrument(trace::gate()).await?;
        let input = self.input(request)?;
        if let Some(objects) = &objects {
            objects.admit(input.value.as_ref()).await?;
        }
        let output = self.plugin.procedure(call(request, principal, input)).await?;
        let mut output = self.checked(request, output)?;
        if let (Some(objects), Some(output)) = (objects, &mut output) {
            objects.filter(output).await?;
        }
        Ok(output)
    }

    /// The input, and what happens from now on.
    async fn open(&self, request: &PluginRequest) -> Result<(Option<Value>, ProcedureEvents), ProcedureFailure> {
        let Admitted { principal, objects } = self.admit(request).instrument(trace::gate()).await?;
        if matches!(request.caller, Caller::Plugin(_)) {
            return Err(CallError::with_message(ErrorCode::NotAcceptable, "a stream of events is not for plugins").into());
        }
        let input = self.input(request)?;
        if let Some(objects) = &objects {
            objects.admit(input.value.as_ref()).await?;
        }
        let value = input.value.clone();
        let events = self.plugin.stream(call(request, principal, input)).await?;
        Ok((value, events))
    }

    /// Lets the caller through, if need be as far as the objects that the call is about.
    async fn admit<'a>(&'a self, request: &'a PluginRequest) -> Result<Admitted<'a>, CallError> {
        let principal = self.principal(request).await?;
        let anonymous = match (self.procedure.requirement.user_type, &principal) {
            (UserType::Public, None) => Some(self.identity.anonymous().await.map_err(|problem| not_identified(&problem, request))?),
            _ => None,
        };
        let anonymous = anonymous.as_deref().unwrap_or(&Permissions::None);
        let objects = match gate::admit(&self.procedure.requirement, principal.as_ref(), anonymous)? {
            Admission::Granted => None,
            Admission::Instance { access, rules } => {
                Some(Objects { identity: self.identity, principal: principal.clone(), access, rules, request })
            }
        };
        Ok(Admitted { principal, objects })
    }

    fn input(&self, request: &PluginRequest) -> Result<Input, CallError> {
        let content_type = request.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let sent = Sent { method: &request.method, query: request.query.as_deref(), content_type, body: &request.body };
        route::input(self.procedure, self.mount, sent)
    }

    fn checked(&self, request: &PluginRequest, output: Option<Value>) -> Result<Option<Value>, CallError> {
        self.procedure.checked_output(output).map_err(|issues| {
            let (procedure, correlation_id, issues) = (&request.path, &request.correlation_id, json!(issues));
            error!(plugin = %self.plugin_id, procedure, correlation_id, %issues, "the output is not what the contract says");
            CallError::invalid_output()
        })
    }

    /// Not asked for what is open to everybody.
    async fn principal(&self, request: &PluginRequest) -> Result<Option<Principal>, CallError> {
        match &request.caller {
            Caller::Plugin(plugin) => Ok(Some(Principal::Service(plugin.clone()))),
            Caller::Anonymous if self.procedure.requirement.user_type == UserType::Anonymous => Ok(None),
            Caller::Anonymous => self.identity.principal(&request.headers).await.map_err(|problem| not_identified(&problem, request)),
        }
    }
}

/// A call about single objects.
struct Objects<'a> {
    identity: &'a dyn Identity,
    principal: Option<Principal>,
    access: &'a InstanceAccess,
    rules: Vec<(&'a RuleId, bool)>,
    request: &'a PluginRequest,
}

impl Objects<'_> {
    async fn admit(&self, input: Option<&Value>) -> Result<(), CallError> {
        for (rule, global) in &self.rules {
            let Some(id) = self.access.object(rule, input)? else { continue };
            let grants = self.grants(rule, std::slice::from_ref(&id)).await?;
            if !gate::admit_to_object(*global, grants.get(&id).unwrap_or(&TeamGrants::default())) {
                return Err(instance::denied(rule, &id));
            }
        }
        Ok(())
    }

    async fn filter(&self, output: &mut Value) -> Result<(), CallError> {
        let named = self.access.objects(output);
        let mut hidden = BTreeSet::new();
        for (rule, global) in &self.rules {
            let grants = self.grants(rule, &named).await?;
            let may = |id: &&String| gate::admit_to_object(*global, grants.get(*id).unwrap_or(&TeamGrants::default()));
            hidden.extend(named.iter().filter(|id| !may(id)).map(String::as_str));
        }
        self.access.keep(output, |id| !hidden.contains(id));
        Ok(())
    }

    async fn grants(&self, rule: &RuleId, objects: &[String]) -> Result<BTreeMap<String, TeamGrants>, CallError> {
        let grants = self.identity.team_grants(self.principal.as_ref(), rule, objects).await;
        grants.map_err(|problem| not_identified(&problem, self.request))
    }
}

/// The same call may be let through a moment later. Why it is not now, is for the log.
fn not_identified(problem: &NotIdentified, request: &PluginRequest) -> CallError {
    warn!(path = request.path, correlation_id = request.correlation_id, %problem, "a call is refused");
    match problem {
        NotIdentified::Unavailable(_) => {
            CallError::with_message(ErrorCode::ServiceUnavailable, "who makes the call cannot be checked at the moment")
        }
        NotIdentified::TooManyAttempts => CallError::new(ErrorCode::TooManyRequests),
    }
}

fn response(status: StatusCode, document: Option<Value>) -> PluginResponse {
    let Some(document) = document else { return PluginResponse { status, headers: HeaderMap::new(), body: Bytes::new() } };
    let headers = HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        // It is for its caller, at this moment.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ]);
    match serde_json::to_vec(&document) {
        Ok(body) => PluginResponse { status, headers, body: body.into() },
        Err(_) => PluginResponse { status: ErrorCode::InternalServerError.status(), headers: HeaderMap::new(), body: Bytes::new() },
    }
}
