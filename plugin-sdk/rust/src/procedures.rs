//! Procedures: what a plugin offers to callers, with types, access rules and a description that clients are made of.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::generate::Contract;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::{Caller, Error};

type Run<P> = Box<dyn Fn(&P, Option<&str>, &Call) -> Result<Option<String>, Error>>;

/// The procedures of a plugin, and the access rules that it defines.
///
/// The server serves them at `/api/<plugin id>/<path>` (RPC) and `/rest/<plugin id>/<path>`, for callers outside and for other
/// plugins, and describes them in `/api/openapi.json`. Before one runs, the server has checked that its caller may make the call,
/// and that the input is what its schema says, which is made of the type; afterwards it checks the output in the same way.
///
/// ```
/// use checkstack_plugin::{AccessRule, Call, Error, Procedure, Procedures};
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
///
/// # struct Greeter;
/// #[derive(Deserialize, JsonSchema)]
/// struct Visitor {
///     name: String,
/// }
///
/// impl Greeter {
///     fn greet(&self, visitor: Visitor, _: &Call) -> Result<String, Error> {
///         Ok(format!("Hello, {}!", visitor.name))
///     }
/// }
///
/// # fn procedures() -> Procedures<Greeter> {
/// Procedures::new()
///     .rule(AccessRule::read("greeting", "Be greeted").for_users())
///     .add(Procedure::query("greet", Greeter::greet).summary("Greets somebody").needs(&["greeting.read"]))
/// # }
/// ```
pub struct Procedures<P> {
    rules: Vec<AccessRule>,
    described: Map<String, Value>,
    runs: BTreeMap<&'static str, Run<P>>,
    mistakes: Vec<String>,
}

/// One procedure.
pub struct Procedure<P> {
    path: &'static str,
    described: Map<String, Value>,
    run: Run<P>,
}

/// A permission that the plugin defines. An admin grants it by its id, `<plugin id>.<resource>.<level>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessRule {
    resource: String,
    level: &'static str,
    description: String,
    is_default: bool,
    is_public: bool,
}

/// A call of a procedure, beside its input.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// Who calls, as the server knows it.
    pub caller: Caller,
    /// Ties together the log lines of one call over all plugins it touches.
    pub correlation_id: String,
}

impl AccessRule {
    /// To look at a resource of the plugin.
    pub fn read(resource: &str, description: &str) -> Self {
        Self::new(resource, "read", description)
    }

    /// To change it. Who may change something may not by that look at it.
    pub fn manage(resource: &str, description: &str) -> Self {
        Self::new(resource, "manage", description)
    }

    /// Granted to every user, unless an admin has said otherwise.
    #[must_use]
    pub fn for_users(mut self) -> Self {
        self.is_default = true;
        self
    }

    /// Granted to everybody, unless an admin has said otherwise.
    #[must_use]
    pub fn for_everybody(mut self) -> Self {
        self.is_public = true;
        self.for_users()
    }

    fn new(resource: &str, level: &'static str, description: &str) -> Self {
        Self { resource: resource.to_owned(), level, description: description.to_owned(), is_default: false, is_public: false }
    }
}

impl Call {
    /// A call as a test makes one.
    pub fn new(caller: Caller) -> Self {
        Self { caller, correlation_id: String::new() }
    }
}

impl<P> Procedure<P> {
    /// One that only looks. `()` is an input or output that is not there.
    pub fn query<I, O>(path: &'static str, run: impl Fn(&P, I, &Call) -> Result<O, Error> + 'static) -> Self
    where
        I: DeserializeOwned + JsonSchema,
        O: Serialize + JsonSchema,
    {
        Self::new("query", path, run)
    }

    /// One that may change something.
    pub fn mutation<I, O>(path: &'static str, run: impl Fn(&P, I, &Call) -> Result<O, Error> + 'static) -> Self
    where
        I: DeserializeOwned + JsonSchema,
        O: Serialize + JsonSchema,
    {
        Self::new("mutation", path, run)
    }

    /// What it does, in a line.
    #[must_use]
    pub fn summary(self, summary: &str) -> Self {
        self.with("summary", json!(summary))
    }

    /// More about it, in Markdown.
    #[must_use]
    pub fn description(self, description: &str) -> Self {
        self.with("description", json!(description))
    }

    /// For whoever has shown who they are, and has these rules: `<resource>.<level>` of this plugin, or with another's id in
    /// front. Without this it is for whoever has shown who they are.
    #[must_use]
    pub fn needs(self, rules: &[&str]) -> Self {
        self.with("access", json!(rules))
    }

    /// For everybody who has the rules: those who have not shown who they are, have what the role `anonymous` has.
    #[must_use]
    pub fn public(self) -> Self {
        self.with("userType", json!("public"))
    }

    /// For everybody, whatever rules there are.
    #[must_use]
    pub fn unguarded(self) -> Self {
        self.with("userType", json!("anonymous"))
    }

    /// For people only.
    #[must_use]
    pub fn for_users_only(self) -> Self {
        self.with("userType", json!("user"))
    }

    /// For plugins only: these, by id or by `prefix*`; all when there are none.
    #[must_use]
    pub fn for_plugins_only(self, plugins: &[&str]) -> Self {
        self.with("userType", json!("service")).with("serviceScope", json!(plugins))
    }

    /// The rules are about one object, whose id is at this path of fields, joined by dots, in the input: a team may have been
    /// granted it.
    #[must_use]
    pub fn about_object(self, path: &str) -> Self {
        self.with("instanceAccess", json!({ "idParam": path }))
    }

    /// The rules are about single objects: this field of the output lists them, each with an `id`. The caller gets those that they
    /// may see.
    #[must_use]
    pub fn about_listed(self, field: &str) -> Self {
        self.with("instanceAccess", json!({ "listKey": field }))
    }

    fn new<I, O>(operation: &str, path: &'static str, run: impl Fn(&P, I, &Call) -> Result<O, Error> + 'static) -> Self
    where
        I: DeserializeOwned + JsonSchema,
        O: Serialize + JsonSchema,
    {
        let schemas = [("input", schema::<I>(Contract::Deserialize)), ("output", schema::<O>(Contract::Serialize))];
        let gives_nothing = schemas.iter().any(|(name, schema)| *name == "output" && schema.is_none());
        let mut described = Map::from_iter([("operation".to_owned(), json!(operation))]);
        described.extend(schemas.into_iter().filter_map(|(name, schema)| Some((name.to_owned(), schema?))));
        let run: Run<P> = Box::new(move |plugin, input, call| {
            // The schema lets more through than the type where it says less.
            let input = serde_json::from_str(input.unwrap_or("null")).map_err(|problem| Error::bad_request(problem.to_string()))?;
            let output = run(plugin, input, call)?;
            Ok(if gives_nothing { None } else { Some(serde_json::to_string(&output)?) })
        });
        Self { path, described, run }
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.described.insert(name.to_owned(), value);
        self
    }
}

impl<P> Procedures<P> {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Defines an access rule.
    #[must_use]
    pub fn rule(mut self, rule: AccessRule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Offers a procedure. A path that is there already stops the plugin from starting.
    #[must_use]
    pub fn add(mut self, procedure: Procedure<P>) -> Self {
        let Procedure { path, described, run } = procedure;
        if self.runs.insert(path, run).is_some() {
            self.mistakes.push(format!("procedure '{path}' is there already"));
        }
        self.described.insert(path.to_owned(), Value::Object(described));
        self
    }

    /// What is wrong with them; none when all is well.
    pub fn mistake(&self) -> Option<&str> {
        self.mistakes.first().map(String::as_str)
    }

    /// As the server reads it; none when there is nothing in it.
    pub fn contract(&self) -> Option<Value> {
        let is_empty = self.rules.is_empty() && self.described.is_empty();
        (!is_empty).then(|| json!({ "accessRules": self.rules, "procedures": self.described }))
    }

    /// Runs one. Input and output are JSON texts; none where there is nothing.
    pub fn run(&self, plugin: &P, path: &str, input: Option<&str>, call: &Call) -> Result<Option<String>, Error> {
        match self.runs.get(path) {
            Some(run) => run(plugin, input, call),
            None => Err(Error::new(501, format!("there is no procedure '{path}'"))),
        }
    }
}

impl<P> Default for Procedures<P> {
    fn default() -> Self {
        Self { rules: Vec::new(), described: Map::new(), runs: BTreeMap::new(), mistakes: Vec::new() }
    }
}

impl<P> std::fmt::Debug for Procedures<P> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Procedures").field("rules", &self.rules).field("paths", &self.runs.keys()).finish_non_exhaustive()
    }
}

/// The schema of a type as it is read, or as it is written: then it says of more fields that they are there. None for one that holds nothing.
fn schema<T: JsonSchema>(contract: Contract) -> Option<Value> {
    let settings = schemars::generate::SchemaSettings::draft2020_12().with(|settings| {
        settings.meta_schema = None;
        settings.contract = contract;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    // The name of the Rust type says nothing to a caller.
    schema.remove("title");
    (schema.get("type").and_then(Value::as_str) != Some("null")).then(|| schema.to_value())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use serde::Deserialize;

    use super::*;

    struct Counter(u32);

    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase")]
    struct Addition {
        how_much: u8,
    }

    impl Counter {
        fn add(&self, addition: Addition, call: &Call) -> Result<u32, Error> {
            match call.caller {
                Caller::Anonymous => Err(Error::forbidden("not for you")),
                _ => Ok(self.0 + u32::from(addition.how_much)),
            }
        }

        fn reset(&self, (): (), _: &Call) -> Result<(), Error> {
            Ok(())
        }
    }

    fn procedures() -> Procedures<Counter> {
        Procedures::new()
            .rule(AccessRule::manage("count", "Count"))
            .add(Procedure::query("count/add", Counter::add).summary("Adds").needs(&["count.manage"]).public())
            .add(Procedure::mutation("count/reset", Counter::reset).for_plugins_only(&["clock-*"]))
    }

    #[test]
    fn the_contract_says_all_that_the_server_needs() {
        let contract = procedures().contract().unwrap();
        let rule = json!({ "resource": "count", "level": "manage", "description": "Count", "isDefault": false, "isPublic": false });
        assert_eq!(contract["accessRules"], json!([rule]));
        let mut add = contract["procedures"]["count/add"].clone();
        assert_eq!(add["input"].take()["properties"]["howMuch"]["maximum"], 255);
        assert_eq!(add["output"].take()["type"], "integer");
        assert_eq!(
            add,
            json!({ "operation": "query", "input": null, "output": null, "summary": "Adds", "access": ["count.manage"], "userType": "public" })
        );
        let reset = json!({ "operation": "mutation", "userType": "service", "serviceScope": ["clock-*"] });
        assert_eq!(contract["procedures"]["count/reset"], reset);
        assert_eq!(Procedures::<Counter>::new().contract(), None);
    }

    #[test]
    fn a_call_is_that_of_a_function() {
        let run = |path, input, caller| procedures().run(&Counter(40), path, input, &Call::new(caller));
        let other = || Caller::Plugin("other".into());
        assert_eq!(run("count/add", Some(r#"{"howMuch": 2}"#), other()).unwrap().as_deref(), Some("42"));
        assert_eq!(run("count/reset", None, other()).unwrap(), None);
        assert_eq!(run("count/add", Some(r#"{"howMuch": 2}"#), Caller::Anonymous).unwrap_err().status(), 403);
        assert_eq!(run("count/add", Some(r#"{"howMuch": 256}"#), other()).unwrap_err().status(), 400);
        assert_eq!(run("count/sub", None, other()).unwrap_err().status(), 501);
    }

    #[test]
    fn the_same_path_twice_is_a_mistake() {
        let twice = procedures().add(Procedure::query("count/reset", Counter::reset));
        assert_eq!(twice.mistake(), Some("procedure 'count/reset' is there already"));
        assert_eq!(procedures().mistake(), None);
    }
}
