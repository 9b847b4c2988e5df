//! The plugin world as `wit-bindgen` puts it. Nothing of it is part of this crate's interface.

#![allow(missing_docs, unreachable_pub, unsafe_code, clippy::all, clippy::pedantic)]

wit_bindgen::generate!({
    path: "../wit",
    world: "plugin",
    pub_export_macro: true,
    export_macro_name: "export_component",
    default_bindings_module: "checkstack_plugin::bindings",
    generate_all,
});
