//! A plugin that fails as it is told, so that tests see what the platform does about it. Its route
//! `/hello` does next to nothing, for benchmarks.

mod attacks;

use std::time::Duration;

use checkstack_plugin::clock::Stopwatch;
use checkstack_plugin::{Error, InitError, Json, Plugin, Probe, Request, Response, Router, Versioned, kv, log, settings};
use serde::Deserialize;
use serde_json::{Value, json};

use self::attacks::Attack;

/// `plugins/build` replaces it by `build-two` in the component of the next version.
const BUILD: &str = "build-one";

struct Chaos {
    config: Config,
}

/// What is to go wrong; nothing without configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Config {
    /// In `init`.
    init: Behaviour,
    /// In `after-plugins-ready`.
    after_plugins_ready: Behaviour,
    /// In the critical probe `steady`.
    probe: Behaviour,
    /// Whether `after-plugins-ready` reads the setting behind `/mood`.
    reads_mood: bool,
    /// What `/version` answers beside the build.
    label: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Behaviour {
    #[default]
    Ok,
    /// Returns an error.
    Fail,
    /// Panics.
    Trap,
    /// Never returns.
    Loop,
    /// Takes all memory that it gets.
    Memory,
    /// Takes the ticket that `POST /ticket` left, and fails without one: of several pods, one gets it.
    Ticket,
}

const TICKET: &str = "ticket";
const MOOD: &str = "mood";

/// The next version has raised that of its configuration and of its setting.
fn is_next() -> bool {
    // The compiler does not know what the build replaces.
    std::hint::black_box(BUILD) == "build-two"
}

/// `{"mood": "…"}`, later `{"moods": ["…"]}`.
fn mood() -> Versioned<Value> {
    let format = Versioned::new();
    match is_next() {
        true => format.migration("one mood became many", |old| Ok(json!({ "moods": [old["mood"]] }))),
        false => format,
    }
}

impl Plugin for Chaos {
    type Config = Config;

    fn config_format() -> Versioned<Config> {
        let format = Versioned::new();
        let shout = |mut config: Value| {
            if let Some(label) = config["label"].as_str() {
                config["label"] = label.to_uppercase().into();
            }
            Ok(config)
        };
        if is_next() { format.migration("labels are upper case", shout) } else { format }
    }

    fn init(config: Config) -> Result<Self, InitError> {
        config.init.show().map_err(InitError::failed)?;
        Ok(Self { config })
    }

    fn after_plugins_ready(&self) -> Result<(), InitError> {
        // So that it is migrated even by a version that does not come to serve.
        if self.config.reads_mood {
            settings::get(MOOD, &mood())?;
        }
        self.config.after_plugins_ready.show().map_err(InitError::failed)
    }

    fn probes() -> Vec<Probe<Self>> {
        vec![Probe::critical("steady", |chaos: &Self| chaos.config.probe.show())]
    }

    fn routes() -> Router<Self> {
        Router::new()
            .get("/hello", |_: &Self, _: &Request| "hello")
            .get("/version", Self::version)
            .get("/sleep", Self::sleep)
            .post("/echo", Self::echo)
            .post("/ticket", |_: &Self, _: &Request| kv::set(TICKET, "").map(|()| "one ticket").map_err(Error::from))
            .get("/mood", |_: &Self, _: &Request| settings::get(MOOD, &mood()).map(Json).map_err(Error::from))
            .post("/mood", Self::set_mood)
            .get("/status/{code}", Self::status)
            .get("/behave/{behaviour}", Self::behave)
            .get("/attack/{attack}", Self::attack)
    }
}

impl Chaos {
    fn version(&self, _: &Request) -> Json<Value> {
        Json(json!({ "build": std::hint::black_box(BUILD), "label": self.config.label }))
    }

    /// Busy for `?ms=`: a plugin has nothing to sleep with.
    fn sleep(&self, request: &Request) -> Result<String, Error> {
        let duration = Duration::from_millis(request.query_parsed("ms")?.unwrap_or(100));
        let stopwatch = Stopwatch::start();
        while stopwatch.elapsed() < duration {
            std::hint::spin_loop();
        }
        Ok(format!("busy for {} ms", duration.as_millis()))
    }

    /// The body is the mood.
    fn set_mood(&self, request: &Request) -> Result<Response, Error> {
        let body = std::str::from_utf8(&request.body).map_err(|error| Error::bad_request(error.to_string()))?;
        let value = if is_next() { json!({ "moods": [body] }) } else { json!({ "mood": body }) };
        settings::set(MOOD, &mood(), &value)?;
        Ok(Response::new(204))
    }

    fn echo(&self, request: &Request) -> Response {
        let content_type = request.header("content-type").unwrap_or("application/octet-stream");
        Response::new(200).with_header("content-type", content_type).with_body(request.body.clone())
    }

    fn status(&self, request: &Request) -> Result<Response, Error> {
        let code = request.param("code").parse().map_err(|_| Error::bad_request("the status is a number"))?;
        Ok(Response::new(code))
    }

    fn attack(&self, request: &Request) -> Result<Response, Error> {
        let name = Value::from(request.param("attack"));
        Attack::deserialize(name).map_err(|error| Error::bad_request(error.to_string()))?.run()
    }

    fn behave(&self, request: &Request) -> Result<&'static str, Error> {
        let name = Value::from(request.param("behaviour"));
        let behaviour = Behaviour::deserialize(name).map_err(|error| Error::bad_request(error.to_string()))?;
        log::info!(behaviour:? = behaviour; "about to show what was asked for");
        behaviour.show().map(|()| "well behaved").map_err(Error::internal)
    }
}

impl Behaviour {
    fn show(self) -> Result<(), &'static str> {
        match self {
            Self::Ok => Ok(()),
            Self::Fail => Err("failed as configured"),
            #[allow(clippy::panic, reason = "this is what it is for")]
            Self::Trap => panic!("trapped as configured"),
            Self::Loop => attacks::compute_for_ever(),
            Self::Memory => attacks::take_all_memory(),
            Self::Ticket => match kv::delete(TICKET) {
                Ok(true) => Ok(()),
                Ok(false) => Err("no ticket is left"),
                Err(_) => Err("nobody knows about tickets"),
            },
        }
    }
}

checkstack_plugin::export!(Chaos);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn chaos() -> Chaos {
        Chaos { config: Config::default() }
    }

    fn answer(request: Request) -> Response {
        Chaos::routes().answer(&chaos(), request)
    }

    #[test]
    fn without_configuration_nothing_goes_wrong() {
        assert!(chaos().after_plugins_ready().is_ok());
        assert!(Chaos::init(Config::default()).is_ok());
        assert_eq!(answer(Request::new("GET", "/hello")).text(), Ok("hello"));
    }

    #[test]
    fn it_fails_as_it_is_told() {
        let config = serde_json::from_str(r#"{"init": "fail"}"#).unwrap();
        assert!(matches!(Chaos::init(config), Err(InitError::Failed(message)) if message == "failed as configured"));
        assert_eq!(answer(Request::new("GET", "/status/418")).status, 418);
        assert_eq!(answer(Request::new("GET", "/behave/oddly")).status, 400);
        assert_eq!(answer(Request::new("GET", "/attack/gently")).status, 400);
    }

    #[test]
    fn echo_answers_what_it_got() {
        let response = answer(Request::new("POST", "/echo").with_header("content-type", "text/x").with_body("body"));
        assert_eq!((response.header("content-type"), response.body.as_slice()), (Some("text/x"), b"body".as_slice()));
    }
}
