//! What a plugin offers to callers.

use std::collections::{BTreeMap, BTreeSet};

use checkstack_plugin_package::PluginId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::access::{AccessRule, InvalidRuleId, RuleId, is_resource};
use crate::error::CallError;
use crate::gate::{InstanceAccess, Requirement, UserType};
use crate::native_type::{self, NativeType};
use crate::schema::Schema;

/// Bytes of a procedure's path.
const MAX_PATH: usize = 200;
/// Procedures, and access rules, of one plugin.
const MAX_ENTRIES: usize = 500;

/// A plugin's procedures and the access rules it defines, as the plugin writes them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Contract {
    /// By path: names of letters, digits, `-` and `_`, joined by `/`.
    #[serde(default)]
    pub procedures: BTreeMap<String, Procedure>,
    /// Defined here, for this plugin's procedures and those of others.
    #[serde(default)]
    pub access_rules: Vec<AccessRule>,
}

/// Whether a procedure changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// It only looks: GET is permitted too.
    Query,
    /// It may change something.
    Mutation,
}

/// One procedure, as the plugin writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Procedure {
    /// Whether it changes anything.
    pub operation: Operation,
    /// For whom it is.
    #[serde(default)]
    pub user_type: UserType,
    /// Ids of the access rules that a caller needs: `<resource>.<level>` of this plugin, or with the plugin in front.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access: Vec<String>,
    /// Where the object is named that the rules are about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_access: Option<InstanceAccess>,
    /// Which plugins may call it; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub service_scope: Vec<String>,
    /// JSON Schema. None: it takes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// JSON Schema. None: it gives nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// It answers with a stream of events, each of which is an output. Plugins of the server only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub event_stream: bool,
    /// One line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// For whoever calls it, in Markdown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// Why a contract cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidContract {
    /// So many procedures or rules.
    #[error("it has {0} procedures and {1} access rules; {MAX_ENTRIES} of each are the limit")]
    TooLarge(usize, usize),
    /// A path that is no path.
    #[error("procedure '{0}': a path consists of names of letters, digits, - and _, joined by /, in {MAX_PATH} bytes at most")]
    Path(String),
    /// A rule that nobody can check.
    #[error("procedure '{procedure}': {source}")]
    Rule {
        /// Path of the procedure.
        procedure: String,
        /// What is wrong with it.
        source: InvalidRuleId,
    },
    /// One of the plugin's own rules that it does not define.
    #[error("procedure '{procedure}': access rule '{rule}' is not among accessRules")]
    UnknownRule {
        /// Path of the procedure.
        procedure: String,
        /// The missing rule.
        rule: RuleId,
    },
    /// A rule about an object, without a rule.
    #[error("procedure '{0}' has instanceAccess, but no access rule that it is about")]
    InstanceWithoutRule(String),
    /// Something that plugins in the sandbox cannot do.
    #[error("procedure '{0}' has eventStream: only parts of the server can answer with a stream of events")]
    EventStream(String),
    /// Files where there can be none.
    #[error("procedure '{procedure}' has files (x-native-type: file): {problem}")]
    Files {
        /// Path of the procedure.
        procedure: String,
        /// Why there can be none.
        problem: &'static str,
    },
    /// Objects that would have to be left out of each event.
    #[error("procedure '{0}' has eventStream: its instanceAccess can be an idParam only")]
    EventStreamOfObjects(String),
    /// Not a resource.
    #[error("access rule '{0}': a resource consists of letters, digits, - and _, 100 at most")]
    Resource(String),
    /// The same rule twice.
    #[error("access rule '{0}' is defined twice")]
    DuplicateRule(RuleId),
    /// A schema that is none.
    #[error("procedure '{procedure}': its {what} schema cannot be used: {message}")]
    Schema {
        /// Path of the procedure.
        procedure: String,
        /// `input` or `output`.
        what: &'static str,
        /// What is wrong with it.
        message: String,
    },
}

/// A contract that can be used.
#[derive(Debug)]
pub struct Offer {
    /// Whose it is.
    pub plugin: PluginId,
    /// By path.
    pub procedures: BTreeMap<String, OfferedProcedure>,
    /// Rules that it defines.
    pub access_rules: BTreeMap<RuleId, AccessRule>,
}

/// A procedure that can be called.
#[derive(Debug)]
pub struct OfferedProcedure {
    /// Whether it changes anything.
    pub operation: Operation,
    /// What it asks of its caller.
    pub requirement: Requirement,
    /// None: it takes nothing.
    pub input: Option<Schema>,
    /// None: it gives nothing.
    pub output: Option<Schema>,
    /// It answers with a stream of events, each of which is an output.
    pub event_stream: bool,
    /// Its input has [files](crate::files).
    pub takes_files: bool,
    /// One line.
    pub summary: String,
    /// For whoever calls it.
    pub description: String,
}

impl Contract {
    /// Prepares it, for the plugin whose it is.
    ///
    /// # Errors
    /// When something in it is wrong.
    pub fn offer(self, plugin: PluginId) -> Result<Offer, InvalidContract> {
        for (path, procedure) in &self.procedures {
            if procedure.event_stream {
                return Err(InvalidContract::EventStream(path.clone()));
            }
            if procedure.takes_files() {
                return Err(InvalidContract::Files { procedure: path.clone(), problem: "only parts of the server can take them" });
            }
        }
        self.native_offer(plugin)
    }

    /// The same for a part of the server, which can do more.
    ///
    /// # Errors
    /// When something in it is wrong.
    pub fn native_offer(self, plugin: PluginId) -> Result<Offer, InvalidContract> {
        if self.procedures.len() > MAX_ENTRIES || self.access_rules.len() > MAX_ENTRIES {
            return Err(InvalidContract::TooLarge(self.procedures.len(), self.access_rules.len()));
        }
        let mut access_rules = BTreeMap::new();
        for rule in self.access_rules {
            let id = rule.id(&plugin);
            if !is_resource(&rule.resource) {
                return Err(InvalidContract::Resource(rule.resource));
            }
            if access_rules.insert(id.clone(), rule).is_some() {
                return Err(InvalidContract::DuplicateRule(id));
            }
        }
        let own: BTreeSet<&RuleId> = access_rules.keys().collect();
        let offered = |(path, procedure): (String, Procedure)| {
            let offered = procedure.offered(&path, &plugin, &own)?;
            Ok((path, offered))
        };
        let procedures = self.procedures.into_iter().map(offered).collect::<Result<_, InvalidContract>>()?;
        Ok(Offer { plugin, procedures, access_rules })
    }
}

impl Procedure {
    fn takes_files(&self) -> bool {
        self.input.as_ref().is_some_and(|input| native_type::occurs_in(input, NativeType::File))
    }

    fn offered(self, path: &str, plugin: &PluginId, own: &BTreeSet<&RuleId>) -> Result<OfferedProcedure, InvalidContract> {
        if !is_path(path) {
            return Err(InvalidContract::Path(path.to_owned()));
        }
        let mut rules = Vec::with_capacity(self.access.len());
        for text in &self.access {
            let rule = RuleId::within(plugin, text).map_err(|source| InvalidContract::Rule { procedure: path.to_owned(), source })?;
            if rule.plugin() == plugin && !own.contains(&rule) {
                return Err(InvalidContract::UnknownRule { procedure: path.to_owned(), rule });
            }
            rules.push(rule);
        }
        if self.instance_access.is_some() && rules.is_empty() {
            return Err(InvalidContract::InstanceWithoutRule(path.to_owned()));
        }
        if self.event_stream && matches!(self.instance_access, Some(InstanceAccess::ListKey(_) | InstanceAccess::RecordKey(_))) {
            return Err(InvalidContract::EventStreamOfObjects(path.to_owned()));
        }
        let takes_files = self.takes_files();
        let files = |problem: &'static str| InvalidContract::Files { procedure: path.to_owned(), problem };
        if takes_files && self.operation == Operation::Query {
            return Err(files("they are for mutations"));
        }
        if self.output.as_ref().is_some_and(|output| native_type::occurs_in(output, NativeType::File)) {
            return Err(files("they are for inputs, an answer is JSON"));
        }
        let schema = |what: &'static str, json: Option<Value>| {
            let invalid = |error: crate::schema::InvalidSchema| InvalidContract::Schema {
                procedure: path.to_owned(),
                what,
                message: error.to_string(),
            };
            json.map(|json| Schema::compile(json).map_err(invalid)).transpose()
        };
        Ok(OfferedProcedure {
            operation: self.operation,
            requirement: Requirement {
                user_type: self.user_type,
                rules,
                instance_access: self.instance_access,
                service_scope: self.service_scope,
            },
            input: schema("input", self.input)?,
            output: schema("output", self.output)?,
            event_stream: self.event_stream,
            takes_files,
            summary: self.summary,
            description: self.description,
        })
    }
}

fn is_path(path: &str) -> bool {
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    path.len() <= MAX_PATH && path.split('/').all(is_name)
}

impl OfferedProcedure {
    /// The input as the procedure gets it. Where nothing was sent and the schema is content with an empty object, it is that.
    ///
    /// # Errors
    /// 400 with the issues.
    pub fn checked_input(&self, input: Option<Value>) -> Result<Option<Value>, CallError> {
        let Some(schema) = &self.input else { return Ok(None) };
        let input = match input {
            Some(input) => input,
            None if schema.is_valid(&json!({})) => json!({}),
            None => Value::Null,
        };
        let issues = schema.issues(&input);
        if issues.is_empty() { Ok(Some(input)) } else { Err(CallError::invalid_input(&issues)) }
    }

    /// The output as a caller gets it.
    ///
    /// # Errors
    /// What is wrong with it, for the log: the caller is told [`CallError::invalid_output`].
    pub fn checked_output(&self, output: Option<Value>) -> Result<Option<Value>, Vec<crate::schema::Issue>> {
        let Some(schema) = &self.output else { return Ok(None) };
        let output = output.unwrap_or(Value::Null);
        let issues = schema.issues(&output);
        if issues.is_empty() { Ok(Some(output)) } else { Err(issues) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(contract: Value) -> Result<Offer, InvalidContract> {
        serde_json::from_value::<Contract>(contract).unwrap().offer("catalog".parse().unwrap())
    }

    fn with_procedure(path: &str, procedure: Value) -> Value {
        let read = json!({ "resource": "system", "level": "read", "description": "See systems", "isDefault": true });
        json!({ "accessRules": [read], "procedures": { path: procedure } })
    }

    fn refusal(contract: Value) -> String {
        offer(contract).unwrap_err().to_string()
    }

    #[test]
    fn a_contract_says_who_may_call_what() {
        let procedure = json!({ "operation": "query", "access": ["system.read", "reports.audit.manage"], "userType": "user" });
        let offer = offer(with_procedure("systems/list", procedure)).unwrap();
        let requirement = &offer.procedures["systems/list"].requirement;
        let rules: Vec<String> = requirement.rules.iter().map(ToString::to_string).collect();
        assert_eq!(rules, ["catalog.system.read", "reports.audit.manage"]);
        assert_eq!(requirement.user_type, UserType::User);
        assert_eq!(offer.access_rules.keys().map(ToString::to_string).collect::<Vec<_>>(), ["catalog.system.read"]);
        assert_eq!(
            self::offer(with_procedure("a", json!({ "operation": "query" }))).unwrap().procedures["a"].requirement,
            Requirement::default()
        );
    }

    #[test]
    fn each_fault_is_named() {
        let query = |more: Value| {
            let mut procedure = json!({ "operation": "query" });
            procedure.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            procedure
        };
        for path in ["", "/", "a/", "a//b", "a b", "../b", "a.b", &"a".repeat(201)] {
            assert!(refusal(with_procedure(path, query(json!({})))).contains("a path consists of"), "{path}");
        }
        assert_eq!(
            refusal(with_procedure("a", query(json!({ "access": ["system.write"] })))),
            "procedure 'a': 'system.write' is no access rule: it has the form <resource>.<level> or <plugin>.<resource>.<level>, where the level is read or manage"
        );
        let unknown = "procedure 'a': access rule 'catalog.system.manage' is not among accessRules";
        assert_eq!(refusal(with_procedure("a", query(json!({ "access": ["system.manage"] })))), unknown);
        assert_eq!(refusal(with_procedure("a", query(json!({ "access": ["catalog.system.manage"] })))), unknown);
        assert!(refusal(with_procedure("a", query(json!({ "instanceAccess": { "idParam": "id" } })))).contains("no access rule"));
        assert!(
            refusal(with_procedure("a", query(json!({ "input": { "type": "text" } }))))
                .starts_with("procedure 'a': its input schema cannot be used")
        );
        assert!(
            refusal(with_procedure("a", query(json!({ "output": { "$ref": "#/no" } }))))
                .starts_with("procedure 'a': its output schema cannot be used")
        );
        let rule = |resource: &str| json!({ "resource": resource, "level": "read", "description": "" });
        assert!(refusal(json!({ "accessRules": [rule("a.b")] })).contains("a resource consists of"));
        assert_eq!(refusal(json!({ "accessRules": [rule("a"), rule("a")] })), "access rule 'catalog.a.read' is defined twice");
        let many: serde_json::Map<String, Value> = (0..501).map(|index| (format!("p{index}"), query(json!({})))).collect();
        assert_eq!(refusal(json!({ "procedures": many })), "it has 501 procedures and 0 access rules; 500 of each are the limit");
    }

    #[test]
    fn streams_of_events_are_for_parts_of_the_server() {
        let stream = |more: Value| {
            let mut procedure = json!({ "operation": "query", "eventStream": true, "access": ["system.read"] });
            procedure.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value::<Contract>(with_procedure("watch", procedure)).unwrap()
        };
        let plugin = || "catalog".parse::<PluginId>().unwrap();
        assert_eq!(stream(json!({})).offer(plugin()).unwrap_err(), InvalidContract::EventStream("watch".into()));
        assert!(stream(json!({})).native_offer(plugin()).unwrap().procedures["watch"].event_stream);
        assert!(stream(json!({ "instanceAccess": { "idParam": "id" } })).native_offer(plugin()).is_ok());
        for key in ["listKey", "recordKey"] {
            let refused = stream(json!({ "instanceAccess": { key: "systems" } })).native_offer(plugin()).unwrap_err();
            assert_eq!(refused, InvalidContract::EventStreamOfObjects("watch".into()));
        }
    }

    #[test]
    fn files_are_for_inputs_of_mutations_of_the_server() {
        let file = || json!({ "properties": { "logo": { "x-native-type": "file" } } });
        let contract = |procedure: Value| serde_json::from_value::<Contract>(with_procedure("upload", procedure)).unwrap();
        let plugin = || "catalog".parse::<PluginId>().unwrap();
        let upload = || contract(json!({ "operation": "mutation", "input": file() }));
        assert!(upload().native_offer(plugin()).unwrap().procedures["upload"].takes_files);
        assert_eq!(
            upload().offer(plugin()).unwrap_err().to_string(),
            "procedure 'upload' has files (x-native-type: file): only parts of the server can take them"
        );
        let problem = |procedure: Value| contract(procedure).native_offer(plugin()).unwrap_err().to_string();
        assert!(problem(json!({ "operation": "query", "input": file() })).ends_with("they are for mutations"));
        assert!(problem(json!({ "operation": "mutation", "output": file() })).ends_with("an answer is JSON"));
    }

    #[test]
    fn an_input_is_what_the_schema_says() {
        let offer = offer(with_procedure(
            "a",
            json!({ "operation": "query", "input": { "type": "object", "properties": { "id": { "type": "string" } } }, "output": { "type": "integer" } }),
        ))
        .unwrap();
        let procedure = &offer.procedures["a"];
        assert_eq!(procedure.checked_input(Some(json!({ "id": "x" }))), Ok(Some(json!({ "id": "x" }))));
        assert_eq!(procedure.checked_input(None), Ok(Some(json!({}))));
        assert_eq!(procedure.checked_input(Some(json!({ "id": 1 }))).unwrap_err().code.as_str(), "BAD_REQUEST");
        assert_eq!(procedure.checked_output(Some(json!(1))), Ok(Some(json!(1))));
        assert_eq!(procedure.checked_output(Some(json!("1"))).unwrap_err().len(), 1);
        assert_eq!(procedure.checked_output(None).unwrap_err().len(), 1);
    }

    #[test]
    fn what_has_no_schema_takes_and_gives_nothing() {
        let offer = offer(with_procedure("a", json!({ "operation": "mutation" }))).unwrap();
        assert_eq!(offer.procedures["a"].checked_input(Some(json!(1))), Ok(None));
        assert_eq!(offer.procedures["a"].checked_output(Some(json!(1))), Ok(None));
    }

    #[test]
    fn an_input_that_must_be_there_is_missed() {
        let offer = offer(with_procedure("a", json!({ "operation": "query", "input": { "type": "object", "required": ["id"] } }))).unwrap();
        let error = offer.procedures["a"].checked_input(None).unwrap_err();
        assert_eq!(error.data.unwrap()["issues"][0]["code"], "invalid_type");
    }
}
