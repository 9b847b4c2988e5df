//! Clients in TypeScript.

mod types;

use crate::api::{Plugin, Procedure};
use crate::names::{self, Scope};
use types::{Natives, Types};

/// The SDK has it, too.
const WIRE: &str = include_str!("../../typescript/src/wire.ts");
const HTTP: &str = include_str!("typescript/http.ts");

/// Codes of errors on the wire: docs/api.md.
const ERROR_CODES: [&str; 19] = [
    "BAD_REQUEST",
    "UNAUTHORIZED",
    "FORBIDDEN",
    "NOT_FOUND",
    "METHOD_NOT_SUPPORTED",
    "NOT_ACCEPTABLE",
    "TIMEOUT",
    "CONFLICT",
    "PRECONDITION_FAILED",
    "PAYLOAD_TOO_LARGE",
    "UNSUPPORTED_MEDIA_TYPE",
    "UNPROCESSABLE_CONTENT",
    "TOO_MANY_REQUESTS",
    "CLIENT_CLOSED_REQUEST",
    "INTERNAL_SERVER_ERROR",
    "NOT_IMPLEMENTED",
    "BAD_GATEWAY",
    "SERVICE_UNAVAILABLE",
    "GATEWAY_TIMEOUT",
];

/// A module of functions that call through the SDK.
pub(crate) fn for_plugins(plugin: &Plugin) -> String {
    let id = &plugin.id;
    let (functions, declarations) = procedures(plugin, Natives::OfPlugins, "");
    let mut text = header(&format!("Client of the plugin `{id}` for other plugins"), std::slice::from_ref(plugin));
    text += "import { peers } from \"@checkstack/plugin-sdk\";\n\n";
    text += &declarations;
    text += &documentation(
        &format!(
            "The procedures of the plugin `{id}`. They throw a `ProcedureError` when it says no, and a `HostError` when there is no answer."
        ),
        "",
    );
    text += &format!("export const {} = {{\n", names::camel(id));
    for Function { name, documentation, path, input, output } in functions {
        let (parameter, argument) = match input {
            None => (String::new(), ""),
            Some(Parameter { kind, is_optional: false }) => (format!("input: {kind}"), ", input"),
            Some(Parameter { kind, is_optional: true }) => (format!("input: {kind} = {{}}"), ", input"),
        };
        text += &self::documentation(&documentation, "  ");
        text += &format!("  {name}({parameter}): {output} {{\n    return peers.callProcedure(\"{id}\", \"{path}\"{argument});\n  }},\n");
    }
    text + "};\n"
}

/// A module with a class that calls over HTTP.
pub(crate) fn for_outsiders(plugins: &[Plugin]) -> String {
    let mut text = header("Client of an instance, for programs outside", plugins);
    let mut scope = Scope::default();
    let mut members = String::new();
    let mut namespaces = String::new();
    for plugin in plugins {
        let property = scope.name(names::camel(&plugin.id));
        let (functions, declarations) = procedures(plugin, Natives::OfJavaScript, &format!("{property}."));
        namespaces += &documentation(&format!("What procedures of the plugin `{}` take and give.", plugin.id), "");
        namespaces += &format!("export declare namespace {property} {{\n{}}}\n\n", indented(&declarations));
        members += &documentation(&format!("Procedures of the plugin `{}`.", plugin.id), "  ");
        members += &format!("  readonly {property} = {{\n");
        for function in functions {
            members += &method(&plugin.id, function, plugin);
        }
        members += "  };\n";
    }
    let codes: Vec<String> = ERROR_CODES.iter().map(|code| format!("\n  | \"{code}\"")).collect();
    text += &documentation("Kinds of refusals. An instance of a later release may have others.", "");
    text += &format!("export type ErrorCode ={}\n  | (string & {{}});\n\n", codes.concat());
    text += HTTP;
    text += "\n";
    text += &WIRE.replace("\nexport function", "\nfunction");
    text += "\n";
    text += &namespaces;
    text +=
        &documentation("Calls an instance. Calls throw a `CallError` when it says no, an `UnexpectedAnswer`, or what `fetch` throws.", "");
    text += "export class Client {\n  readonly #caller: Caller;\n\n  constructor(options: ClientOptions) {\n    this.#caller = new Caller(options);\n  }\n\n";
    text + &members + "}\n"
}

fn method(plugin: &str, function: Function, of: &Plugin) -> String {
    let Function { name, documentation, path, input, output } = function;
    let is_query = of.procedures.iter().any(|procedure| procedure.path == path && procedure.is_query);
    let way = if is_query { "query" } else { "mutation" };
    let (parameter, argument) = match input {
        None => (String::new(), "undefined"),
        Some(Parameter { kind, is_optional: false }) => (format!("input: {kind}, "), "input"),
        Some(Parameter { kind, is_optional: true }) => (format!("input: {kind} = {{}}, "), "input"),
    };
    let documentation = self::documentation(&documentation, "    ");
    format!(
        "{documentation}    {name}: ({parameter}call?: CallOptions): Promise<{output}> => this.#caller.{way}(\"{plugin}/{path}\", {argument}, call),\n"
    )
}

struct Function {
    name: String,
    documentation: String,
    path: String,
    input: Option<Parameter>,
    output: String,
}

struct Parameter {
    kind: String,
    is_optional: bool,
}

/// Functions for the procedures, and declarations of the types that they have. `within` is before the names of types in functions.
fn procedures(plugin: &Plugin, natives: Natives, within: &str) -> (Vec<Function>, String) {
    let types = Types { natives };
    let mut declarations: String = plugin.types.iter().map(|(name, schema)| types.declaration(name, schema)).collect();
    let mut type_names = Scope::of_types();
    for name in plugin.types.keys() {
        type_names.name(name.clone());
    }
    let mut function_names = Scope::default();
    // What has fields of its own gets a name; `Target[]` and `string` need none.
    let mut named = |path: &str, what: &str, schema: &serde_json::Value| {
        let kind = types.read(schema);
        if !kind.has_fields() {
            return kind.expression(within, 0);
        }
        let name = type_names.name(names::type_name(&format!("{path} {what}")));
        declarations += &types.declaration(&name, schema);
        format!("{within}{name}")
    };
    let function = |Procedure { path, description, input, output, .. }: &Procedure| Function {
        name: function_names.name(names::camel(path)),
        documentation: description.clone(),
        path: path.clone(),
        input: input.as_ref().map(|input| Parameter { kind: named(path, "input", &input.schema), is_optional: input.is_optional }),
        output: output.as_ref().map_or_else(|| "void".to_owned(), |output| named(path, "output", output)),
    };
    let functions = plugin.procedures.iter().map(function).collect();
    (functions, declarations)
}

fn header(what: &str, plugins: &[Plugin]) -> String {
    let mut text = format!("// {what}, made by `checkstack client`: do not edit.\n");
    for plugin in plugins {
        for (path, reason) in &plugin.left_out {
            text += &format!("// It does not have {}/{path}: {reason}.\n", plugin.id);
        }
    }
    text + "\n"
}

/// A comment that ends where it should, whatever is said in it.
fn documentation(text: &str, indentation: &str) -> String {
    let text = text.replace("*/", "*\u{200b}/");
    let lines: Vec<&str> = text.trim().lines().map(str::trim_end).collect();
    match lines.as_slice() {
        [] => String::new(),
        [line] => format!("{indentation}/** {line} */\n"),
        lines => {
            let lines: String = lines.iter().map(|line| format!("{indentation} * {line}").trim_end().to_owned() + "\n").collect();
            format!("{indentation}/**\n{lines}{indentation} */\n")
        }
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") }).collect()
}
