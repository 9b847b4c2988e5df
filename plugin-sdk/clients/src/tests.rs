use checkstack_calls::error::ErrorCode;
use serde_json::json;

use super::*;

fn document() -> Value {
    let ok = |schema: Value| json!({ "200": { "content": { "application/json": { "schema": schema } } } });
    json!({
        "paths": {
            "/rest/shop/items": { "get": {
                "summary": "What there is",
                "x-checkstack-input": { "type": "object", "properties": { "limit": { "type": "integer", "format": "uint32", "minimum": 0 } } },
                "responses": ok(json!({ "type": "array", "items": { "$ref": "#/components/schemas/shop.Item" } })),
            } },
            "/rest/shop/items/delete": { "post": {
                "requestBody": { "content": { "application/json": { "schema": { "type": "object", "required": ["id"], "properties": { "id": { "type": "string" } } } } } },
                "responses": { "200": {} },
            } },
            "/rest/shop/delete": { "post": { "responses": ok(json!({ "type": "string" })) } },
            "/rest/shop/upload": { "post": { "requestBody": { "content": { "multipart/form-data": {} } } } },
            "/rest/other/ping": { "get": { "responses": { "200": {} } } },
        },
        "components": { "schemas": { "shop.Item": {
            "type": "object", "description": "One of them.", "required": ["id", "at"],
            "properties": { "id": { "type": "string" }, "at": { "type": "string", "x-native-type": "date" }, "price": { "type": ["number", "null"] } },
        } } },
    })
}

fn made(language: Language, caller: Caller) -> String {
    generate(&document(), Options { language, caller, plugins: &["shop".to_owned()] }).unwrap()
}

#[test]
fn a_plugins_client_in_typescript() {
    let expected = "\
// Client of the plugin `shop` for other plugins, made by `checkstack client`: do not edit.
// It does not have shop/upload: it takes files.

import { peers } from \"@checkstack/plugin-sdk\";

/** One of them. */
export interface Item {
  at: Date;
  id: string;
  price?: number | null;
}

export interface ItemsInput {
  limit?: number;
}

export interface ItemsDeleteInput {
  id: string;
}

/** The procedures of the plugin `shop`. They throw a `ProcedureError` when it says no, and a `HostError` when there is no answer. */
export const shop = {
  delete(): string {
    return peers.callProcedure(\"shop\", \"delete\");
  },
  /** What there is */
  items(input: ItemsInput = {}): Item[] {
    return peers.callProcedure(\"shop\", \"items\", input);
  },
  itemsDelete(input: ItemsDeleteInput): void {
    return peers.callProcedure(\"shop\", \"items/delete\", input);
  },
};
";
    assert_eq!(made(Language::TypeScript, Caller::Plugin), expected);
}

#[test]
fn an_outsiders_client_in_typescript() {
    let text = made(Language::TypeScript, Caller::Outsider);
    assert!(text.contains("\nexport declare namespace shop {\n  /** One of them. */\n  export interface Item {\n"), "{text}");
    assert!(text.contains("    items: (input: shop.ItemsInput = {}, call?: CallOptions): Promise<shop.Item[]> => this.#caller.query(\"shop/items\", input, call),\n"), "{text}");
    assert!(
        text.contains("    delete: (call?: CallOptions): Promise<string> => this.#caller.mutation(\"shop/delete\", undefined, call),\n"),
        "{text}"
    );
    assert!(text.contains("\nfunction encode(") && !text.contains("import "), "{text}");
}

#[test]
fn a_plugins_client_in_rust() {
    let text = made(Language::Rust, Caller::Plugin);
    assert!(text.starts_with("//! Client of the plugin `shop` for other plugins, made by `checkstack client`: do not edit.\n"), "{text}");
    for part in [
        "/// What there is\npub fn items(input: &types::ItemsInput) -> Result<::std::vec::Vec<types::Item>, Error> {",
        "pub fn delete() -> Result<::std::string::String, Error> {",
        "pub at: ::checkstack_plugin::clock::Timestamp,",
        "pub limit: ::std::option::Option<u32>,",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("<details>"), "{text}");
}

#[test]
fn an_outsiders_client_in_rust() {
    let text = made(Language::Rust, Caller::Outsider);
    for part in [
        "pub fn shop(&self) -> shop::Procedures<'_> {",
        "input: &types::ItemsDeleteInput,",
        "pub at: ::jiff::Timestamp,",
        "pub struct Client {",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn kinds_of_refusals_are_those_of_the_wire() {
    let (typescript, rust) = (made(Language::TypeScript, Caller::Outsider), made(Language::Rust, Caller::Outsider));
    assert_eq!(typescript.matches("\n  | \"").count(), ErrorCode::ALL.len());
    for code in ErrorCode::ALL {
        assert!(typescript.contains(&format!("\n  | \"{}\"\n", code.as_str())), "{code:?}");
        assert!(rust.contains(&format!("\n    {code:?},\n")), "{code:?}");
    }
}

#[test]
fn what_is_not_there_is_said() {
    let refused = |caller, plugins: &[String]| {
        generate(&document(), Options { language: Language::TypeScript, caller, plugins }).unwrap_err().to_string()
    };
    assert_eq!(
        refused(Caller::Outsider, &["none".into()]),
        "the description has no procedures of the plugin 'none'; it has those of other, shop"
    );
    assert_eq!(
        refused(Caller::Plugin, &[]),
        "the description has procedures of other, shop: say of which plugin the client is to be (--plugin)"
    );
    let options = Options { language: Language::Rust, caller: Caller::Outsider, plugins: &[] };
    assert_eq!(generate(&json!({ "paths": {} }), options).unwrap_err().to_string(), "the description has no procedures");
}
