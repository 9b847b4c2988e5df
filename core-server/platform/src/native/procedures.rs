//! Procedures of native plugins: functions of typed inputs, whose schemas are made of the types.

use std::collections::BTreeMap;
use std::sync::Arc;

use checkstack_calls::access::{AccessRule, Principal};
use checkstack_calls::contract::{Contract, InvalidContract, Offer, Operation, Procedure};
use checkstack_calls::error::{CallError, ErrorCode};
use checkstack_calls::files::File;
use checkstack_calls::gate::UserType;
use checkstack_plugin_package::PluginId;
use futures::future::BoxFuture;
use futures::{Stream, StreamExt as _};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tracing::error;

use crate::plugin::{ProcedureCall, ProcedureEvents, ProcedureFailure};

type Once<State> = Box<dyn Fn(Arc<State>, ProcedureCall) -> BoxFuture<'static, Result<Option<Value>, CallError>> + Send + Sync>;
type Open<State> = Box<dyn Fn(Arc<State>, ProcedureCall) -> BoxFuture<'static, Result<ProcedureEvents, CallError>> + Send + Sync>;

/// What runs a procedure.
enum Run<State> {
    /// With one output.
    Once(Once<State>),
    /// With a stream of them.
    Events(Open<State>),
}

/// The procedures of one plugin, and what runs them.
pub struct Procedures<State> {
    offer: Offer,
    runs: BTreeMap<String, Run<State>>,
}

/// One procedure.
pub struct ProcedureDefinition<State> {
    path: &'static str,
    procedure: Procedure,
    run: Run<State>,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// None: somebody who has not shown who they are.
    pub principal: Option<Principal>,
    /// Ties log lines together.
    pub correlation_id: String,
    /// What came beside the input: see [`SentFile`](super::SentFile).
    pub files: Vec<File>,
}

impl Caller {
    /// Who it is, for the log.
    pub fn shown(&self) -> String {
        match &self.principal {
            Some(Principal::User(account) | Principal::Application(account)) => account.id.clone(),
            Some(Principal::Service(plugin)) => plugin.to_string(),
            None => "anonymous".to_owned(),
        }
    }
}

/// Why procedures cannot be offered: a fault of the server.
pub type InvalidProcedures = InvalidContract;

impl<State: Send + Sync + 'static> ProcedureDefinition<State> {
    /// One that only looks.
    pub fn query<Input, Output, Work>(path: &'static str, summary: &str, run: fn(Arc<State>, Caller, Input) -> Work) -> Self
    where
        Input: DeserializeOwned + JsonSchema + Send + 'static,
        Output: Serialize + JsonSchema + 'static,
        Work: Future<Output = Result<Output, CallError>> + Send + 'static,
    {
        Self::new(Operation::Query, path, summary, run)
    }

    /// One that may change something.
    pub fn mutation<Input, Output, Work>(path: &'static str, summary: &str, run: fn(Arc<State>, Caller, Input) -> Work) -> Self
    where
        Input: DeserializeOwned + JsonSchema + Send + 'static,
        Output: Serialize + JsonSchema + 'static,
        Work: Future<Output = Result<Output, CallError>> + Send + 'static,
    {
        Self::new(Operation::Mutation, path, summary, run)
    }

    fn new<Input, Output, Work>(operation: Operation, path: &'static str, summary: &str, run: fn(Arc<State>, Caller, Input) -> Work) -> Self
    where
        Input: DeserializeOwned + JsonSchema + Send + 'static,
        Output: Serialize + JsonSchema + 'static,
        Work: Future<Output = Result<Output, CallError>> + Send + 'static,
    {
        let run: Once<State> = Box::new(move |state, call| {
            let work = input(call).map(|(caller, input)| run(state, caller, input));
            Box::pin(async move { written(path, work?.await?) })
        });
        Self { path, procedure: procedure::<Input, Output>(operation, summary), run: Run::Once(run) }
    }

    /// One that only looks, and goes on looking: each output is an event.
    pub fn events<Input, Output, Events, Work>(path: &'static str, summary: &str, run: fn(Arc<State>, Caller, Input) -> Work) -> Self
    where
        Input: DeserializeOwned + JsonSchema + Send + 'static,
        Output: Serialize + JsonSchema + 'static,
        Events: Stream<Item = Result<Output, CallError>> + Send + 'static,
        Work: Future<Output = Result<Events, CallError>> + Send + 'static,
    {
        let run: Open<State> = Box::new(move |state, call| {
            let work = input(call).map(|(caller, input)| run(state, caller, input));
            Box::pin(async move {
                let events = work?.await?.map(move |output| written(path, output?));
                Ok(events.boxed())
            })
        });
        let procedure = Procedure { event_stream: true, ..procedure::<Input, Output>(Operation::Query, summary) };
        Self { path, procedure, run: Run::Events(run) }
    }

    /// For whom it is, and which of the plugin's rules its caller needs.
    #[must_use]
    pub fn guarded(mut self, user_type: UserType, access: &[&str]) -> Self {
        self.procedure.user_type = user_type;
        self.procedure.access = access.iter().map(|rule| (*rule).to_owned()).collect();
        self
    }
}

impl<State: Send + Sync + 'static> Procedures<State> {
    /// All procedures of a plugin, and the rules that it defines.
    ///
    /// # Errors
    /// When something in the contract that they make is wrong.
    pub fn new(
        plugin: PluginId,
        access_rules: Vec<AccessRule>,
        definitions: Vec<ProcedureDefinition<State>>,
    ) -> Result<Self, InvalidProcedures> {
        let mut contract = Contract { access_rules, ..Contract::default() };
        let mut runs = BTreeMap::new();
        for ProcedureDefinition { path, procedure, run } in definitions {
            contract.procedures.insert(path.to_owned(), procedure);
            runs.insert(path.to_owned(), run);
        }
        Ok(Self { offer: contract.native_offer(plugin)?, runs })
    }

    /// For [`Plugin::offer`](crate::plugin::Plugin::offer).
    #[must_use]
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// For [`Plugin::procedure`](crate::plugin::Plugin::procedure).
    ///
    /// # Errors
    /// What the procedure says.
    pub async fn run(&self, state: Arc<State>, call: ProcedureCall) -> Result<Option<Value>, ProcedureFailure> {
        match self.runs.get(&call.procedure) {
            Some(Run::Once(run)) => Ok(run(state, call).await?),
            Some(Run::Events(_)) | None => Err(CallError::new(ErrorCode::NotImplemented).into()),
        }
    }

    /// For [`Plugin::stream`](crate::plugin::Plugin::stream).
    ///
    /// # Errors
    /// What the procedure says.
    pub async fn stream(&self, state: Arc<State>, call: ProcedureCall) -> Result<ProcedureEvents, ProcedureFailure> {
        match self.runs.get(&call.procedure) {
            Some(Run::Events(open)) => Ok(open(state, call).await?),
            Some(Run::Once(_)) | None => Err(CallError::new(ErrorCode::NotImplemented).into()),
        }
    }
}

fn procedure<Input: JsonSchema, Output: JsonSchema>(operation: Operation, summary: &str) -> Procedure {
    Procedure {
        operation,
        user_type: UserType::default(),
        access: Vec::new(),
        instance_access: None,
        service_scope: Vec::new(),
        input: schema::<Input>(),
        output: schema::<Output>(),
        event_stream: false,
        summary: summary.to_owned(),
        description: String::new(),
    }
}

/// The schema lets more through than the type takes where it says less: a number of its size, for one.
fn input<Input: DeserializeOwned>(call: ProcedureCall) -> Result<(Caller, Input), CallError> {
    let caller = Caller { principal: call.principal, correlation_id: call.correlation_id, files: call.files };
    let refused = |problem: serde_json::Error| CallError::with_message(ErrorCode::BadRequest, problem.to_string());
    Ok((caller, serde_json::from_value::<Input>(call.input.unwrap_or_default()).map_err(refused)?))
}

fn written(path: &str, output: impl Serialize) -> Result<Option<Value>, CallError> {
    serde_json::to_value(output).map(Some).map_err(|problem| {
        error!(path, %problem, "an output cannot be written");
        CallError::internal()
    })
}

/// The schema of a type. None for one that holds nothing.
fn schema<T: JsonSchema>() -> Option<Value> {
    let settings = schemars::generate::SchemaSettings::draft2020_12().with(|settings| settings.meta_schema = None);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if schema.get("type") == Some(&json!("null")) {
        return None;
    }
    // That of the Rust type says nothing to a caller.
    if let Some(object) = schema.as_object_mut() {
        object.remove("title");
    }
    Some(schema)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Sum {
        first: u8,
        and_second: u8,
    }

    struct Base(u32);

    async fn add(base: Arc<Base>, caller: Caller, sum: Sum) -> Result<u32, CallError> {
        assert_eq!(caller.correlation_id, "abc");
        Ok(base.0 + u32::from(sum.first) + u32::from(sum.and_second))
    }

    async fn nothing(_: Arc<Base>, _: Caller, (): ()) -> Result<(), CallError> {
        Err(CallError::new(ErrorCode::Conflict))
    }

    async fn count(base: Arc<Base>, _: Caller, to: u32) -> Result<impl Stream<Item = Result<u32, CallError>>, CallError> {
        Ok(futures::stream::iter((0..to).map(move |number| Ok(base.0 + number))))
    }

    fn procedures() -> Procedures<Base> {
        let definitions = vec![
            ProcedureDefinition::query("add", "Adds", add),
            ProcedureDefinition::mutation("nothing", "", nothing),
            ProcedureDefinition::events("count", "", count),
        ];
        Procedures::new("sums".parse().unwrap(), vec![], definitions).unwrap()
    }

    async fn run(procedure: &str, input: Option<Value>) -> Result<Option<Value>, ProcedureFailure> {
        let call = ProcedureCall {
            procedure: procedure.into(),
            input,
            files: Vec::new(),
            principal: None,
            correlation_id: "abc".into(),
            depth: 0,
        };
        procedures().run(Arc::new(Base(100)), call).await
    }

    #[tokio::test]
    async fn a_procedure_is_a_function() {
        assert_eq!(run("add", Some(json!({ "first": 1, "andSecond": 2 }))).await, Ok(Some(json!(103))));
        assert_eq!(run("nothing", None).await, Err(CallError::new(ErrorCode::Conflict).into()));
        assert_eq!(run("other", None).await, Err(CallError::new(ErrorCode::NotImplemented).into()));
        assert!(run("add", Some(json!({ "first": 1 }))).await.is_err());
    }

    #[tokio::test]
    async fn a_stream_is_a_function_too() {
        let call = |procedure: &str| ProcedureCall {
            procedure: procedure.into(),
            input: Some(json!(3)),
            files: Vec::new(),
            principal: None,
            correlation_id: "abc".into(),
            depth: 0,
        };
        let events = procedures().stream(Arc::new(Base(100)), call("count")).await.unwrap();
        assert_eq!(events.collect::<Vec<_>>().await, [Ok(Some(json!(100))), Ok(Some(json!(101))), Ok(Some(json!(102)))]);
        assert!(procedures().stream(Arc::new(Base(100)), call("add")).await.is_err());
        assert!(procedures().run(Arc::new(Base(100)), call("count")).await.is_err());
        let offered = &procedures().offer;
        assert!(offered.procedures["count"].event_stream && !offered.procedures["add"].event_stream);
    }

    #[test]
    fn schemas_are_those_of_the_types() {
        let procedures = procedures();
        let add = &procedures.offer().procedures["add"];
        assert_eq!((add.operation, add.summary.as_str()), (Operation::Query, "Adds"));
        for (input, fits) in [
            (json!({ "first": 1, "andSecond": 255 }), true),
            (json!({ "first": 1 }), false),
            (json!({ "first": 1, "andSecond": 256 }), false),
        ] {
            assert_eq!(add.checked_input(Some(input.clone())).is_ok(), fits, "{input}");
        }
        let nothing = &procedures.offer().procedures["nothing"];
        assert!(nothing.input.is_none() && nothing.output.is_none());
        assert_eq!(nothing.operation, Operation::Mutation);
    }
}
