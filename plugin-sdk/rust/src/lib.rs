//! Write Checkstack plugins in Rust.
//!
//! A plugin is a type that implements [`Plugin`]. It is made from its typed configuration, answers
//! HTTP below `/api/<plugin id>/`, and reaches the rest of the world through the modules of this
//! crate: [`sql`], [`kv`], [`settings`], [`jobs`], [`events`], [`entities`], [`signals`], [`cache`], [`http`], [`peers`], [`clock`], and the macros of
//! [`log`].
//!
//! ```no_run
//! use checkstack_plugin::{Error, InitError, Json, Plugin, Request, Router, kv, log};
//!
//! struct Greeter {
//!     greeting: String,
//! }
//!
//! #[derive(serde::Deserialize)]
//! struct Config {
//!     greeting: String,
//! }
//!
//! impl Plugin for Greeter {
//!     type Config = Config;
//!
//!     fn init(config: Config) -> Result<Self, InitError> {
//!         if config.greeting.is_empty() {
//!             return Err(InitError::invalid_config("`greeting` is empty"));
//!         }
//!         Ok(Self { greeting: config.greeting })
//!     }
//!
//!     fn routes() -> Router<Self> {
//!         Router::new().get("/hello/{name}", Self::hello)
//!     }
//! }
//!
//! impl Greeter {
//!     fn hello(&self, request: &Request) -> Result<Json<String>, Error> {
//!         let name = request.param("name");
//!         kv::set("last-visitor", name)?;
//!         log::info!(visitor = name; "somebody was greeted");
//!         Ok(Json(format!("{}, {name}!", self.greeting)))
//!     }
//! }
//!
//! checkstack_plugin::export!(Greeter);
//! # fn main() {}
//! ```
//!
//! **Procedures.** What other programs are to call belongs into [`Plugin::procedures`]: the server guards and checks typed
//! procedures, and describes them for callers. Routes are for pages and for what others have defined, such as webhooks.
//!
//! **Instances.** The server keeps several instances of a plugin, in every replica. They share no
//! memory, each handles one call at a time, and any of them may be thrown away. What must last
//! belongs in [`sql`], [`kv`] or [`settings`].
//!
//! **Permissions.** A plugin may compute. Everything else is granted in the `CheckstackPlugin`
//! resource; without the grant a function answers `Denied` with the name of what is missing.
//!
//! **Failures.** A panic ends the instance and the call, nothing else; it is in the server's log
//! with its place. An [`Error`] is an HTTP response.

mod error;
mod percent;
mod plugin;
mod probe;
mod procedures;
mod request;
mod response;
mod routing;
mod versioned;

pub mod cache;
pub mod clock;
pub mod entities;
pub mod events;
pub mod http;
pub mod jobs;
pub mod kv;
pub mod peers;
pub mod settings;
pub mod signals;
pub mod sql;

pub use error::Error;
pub use log;
pub use plugin::{InitError, NoConfig, Plugin};
pub use probe::Probe;
pub use procedures::{AccessRule, Call, Procedure, Procedures};
pub use request::{Account, Caller, Request};
pub use response::{Html, IntoResponse, Json, Response};
pub use routing::Router;
pub use versioned::{VersionError, Versioned};

#[doc(hidden)]
pub mod bindings;
#[doc(hidden)]
pub mod component;
mod logging;
