//! Clients in Rust.

mod types;

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::Ident;
use types::Types;

use crate::Error;
use crate::api::{Plugin, Procedure};
use crate::names::{self, Scope};

const HTTP: &str = include_str!("rust/http.rs");

/// A module of functions that call through the SDK.
pub(crate) fn for_plugins(plugin: &Plugin) -> Result<String, Error> {
    let mut types = Types::new(plugin, "::checkstack_plugin::clock::Timestamp")?;
    let id = &plugin.id;
    let mut scope = Scope::default();
    let mut functions = TokenStream::new();
    for procedure in &plugin.procedures {
        let Function { name, documentation, path, parameter, argument, output } = function(procedure, &mut types, &mut scope)?;
        functions.extend(quote! {
            #(#documentation)*
            pub fn #name(#parameter) -> Result<#output, Error> {
                ::checkstack_plugin::peers::call_procedure(PLUGIN_ID, #path, #argument)
            }
        });
    }
    let items = types.items()?;
    let whose = format!(" Its procedures are those of the plugin `{id}`.");
    let file = quote! {
        pub use ::checkstack_plugin::peers::Error;

        #[doc = #whose]
        pub const PLUGIN_ID: &str = #id;

        #functions

        /// What its procedures take and give.
        pub mod types { #(#items)* }
    };
    written(&format!("Client of the plugin `{id}` for other plugins"), std::slice::from_ref(plugin), file)
}

/// A module with a type that calls over HTTP.
pub(crate) fn for_outsiders(plugins: &[Plugin]) -> Result<String, Error> {
    let fixed: syn::File = syn::parse_str(HTTP)?;
    let mut scope = Scope::default();
    let mut accessors = TokenStream::new();
    let mut modules = TokenStream::new();
    for plugin in plugins {
        let id = &plugin.id;
        let module = identifier(&scope.name(names::snake(id)));
        let of = format!(" Procedures of the plugin `{id}`.");
        accessors.extend(quote! {
            #[doc = #of]
            pub fn #module(&self) -> #module::Procedures<'_> {
                #module::Procedures(self)
            }
        });
        modules.extend(self::module(&module, &of, plugin)?);
    }
    let file = quote! {
        #fixed

        impl Client { #accessors }

        #modules
    };
    written("Client of an instance, for programs outside", plugins, file)
}

fn module(module: &Ident, of: &str, plugin: &Plugin) -> Result<TokenStream, Error> {
    let mut types = Types::new(plugin, "::jiff::Timestamp")?;
    let mut scope = Scope::default();
    let mut functions = TokenStream::new();
    for procedure in &plugin.procedures {
        let way = if procedure.is_query { format_ident!("query") } else { format_ident!("mutation") };
        let Function { name, documentation, path, parameter, argument, output } = function(procedure, &mut types, &mut scope)?;
        let path = format!("{}/{path}", plugin.id);
        functions.extend(quote! {
            #(#documentation)*
            pub async fn #name(&self, #parameter) -> Result<#output, super::Error> {
                self.0.#way(#path, #argument).await
            }
        });
    }
    let items = types.items()?;
    Ok(quote! {
        #[doc = #of]
        pub mod #module {
            #[doc = #of]
            #[derive(Debug, Clone, Copy)]
            pub struct Procedures<'a>(pub(super) &'a super::Client);

            impl Procedures<'_> { #functions }

            /// What its procedures take and give.
            pub mod types { #(#items)* }
        }
    })
}

struct Function<'a> {
    name: Ident,
    documentation: Vec<TokenStream>,
    path: &'a str,
    parameter: TokenStream,
    argument: TokenStream,
    output: TokenStream,
}

fn function<'a>(procedure: &'a Procedure, types: &mut Types, scope: &mut Scope) -> Result<Function<'a>, Error> {
    let Procedure { path, description, input, output, .. } = procedure;
    let (parameter, argument) = match input {
        None => (TokenStream::new(), quote!(&())),
        Some(input) => {
            let kind = types.of(path, "input", &input.schema)?;
            (quote!(input: &#kind), quote!(input))
        }
    };
    Ok(Function {
        name: identifier(&scope.name(names::snake(path))),
        documentation: description.lines().map(|line| format!(" {line}")).map(|line| quote!(#[doc = #line])).collect(),
        path,
        parameter,
        argument,
        output: output.as_ref().map_or_else(|| Ok(quote!(())), |output| types.of(path, "output", output))?,
    })
}

/// With what makes it a name where it is a keyword.
fn identifier(name: &str) -> Ident {
    let raw = || syn::parse_str::<Ident>(&format!("r#{name}"));
    syn::parse_str::<Ident>(name).or_else(|_| raw()).unwrap_or_else(|_| format_ident!("{name}_"))
}

fn written(what: &str, plugins: &[Plugin], file: TokenStream) -> Result<String, Error> {
    let mut header = format!("//! {what}, made by `checkstack client`: do not edit.\n");
    for plugin in plugins {
        for (path, reason) in &plugin.left_out {
            header += &format!("//!\n//! It does not have `{}/{path}`: {reason}.\n", plugin.id);
        }
    }
    header += "#![cfg_attr(rustfmt, rustfmt_skip)]\n#![allow(dead_code, missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::indexing_slicing, reason = \"generated\")]\n\n";
    let file: syn::File = syn::parse2(file)?;
    Ok(header + &prettyplease::unparse(&file))
}
