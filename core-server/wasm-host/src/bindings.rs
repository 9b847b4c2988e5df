//! The plugin world as Rust types, generated from its WIT text.
//!
//! Borrowed types go into the guest (a request is copied once, into the guest's memory), owned
//! types come out of it.

#![allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    rust_2018_idioms,
    unused,
    clippy::all,
    clippy::indexing_slicing,
    reason = "generated; wasmtime checks the function types before the generated code relies on them"
)]

wasmtime::component::bindgen!({
    path: "../../plugin-sdk/wit",
    world: "plugin",
    imports: {
        "checkstack:plugin/key-value": async,
        "checkstack:plugin/settings": async,
        "checkstack:plugin/sql": async,
        "checkstack:plugin/http-client": async,
        "checkstack:plugin/plugins": async,
        "checkstack:plugin/jobs": async,
        "checkstack:plugin/events": async,
        "checkstack:plugin/entities": async,
        "checkstack:plugin/cache": async,
        "checkstack:plugin/signals": async,
    },
    exports: { default: async },
    ownership: Borrowing { duplicate_if_necessary: true },
});
