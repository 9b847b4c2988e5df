//! Uptime: asks HTTP targets whether they are up, and remembers what they answered.

mod check;
mod duration;
mod results;
mod settings;

use checkstack_plugin::clock::{self, Stopwatch};
use checkstack_plugin::{Error, InitError, Json, Plugin, Probe, Request, Router, log};
use serde::Serialize;

use crate::check::Outcome;
use crate::results::TargetSummary;
use crate::settings::{Settings, Target};

struct Uptime {
    settings: Settings,
}

impl Plugin for Uptime {
    type Config = Settings;

    fn init(settings: Settings) -> Result<Self, InitError> {
        settings.validate().map_err(InitError::InvalidConfig)?;
        Ok(Self { settings })
    }

    fn routes() -> Router<Self> {
        Router::new().post("/checks", Self::run_checks).get("/targets", Self::targets).get("/targets/{name}/history", Self::history)
    }

    fn probes() -> Vec<Probe<Self>> {
        // Informative: without the database there are no results, but nothing else is the worse for it.
        vec![Probe::informative("database", |_: &Self| results::answer().map_err(|_| "the results cannot be read"))]
    }
}

/// What a run of checks came to.
#[derive(Debug, Serialize)]
struct Run {
    checked: Vec<Outcome>,
    /// Checked by another request a moment ago.
    recent: Vec<String>,
    /// There was no time left for these; the next run begins with them.
    postponed: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Targets {
    /// Seconds over which availability and latency are computed.
    window_seconds: u64,
    targets: Vec<TargetSummary>,
}

#[derive(Debug, Serialize)]
struct History {
    target: String,
    results: Vec<Outcome>,
}

impl Uptime {
    /// Most results that one answer holds.
    const LONGEST_HISTORY: u32 = 1_000;

    fn run_checks(&self, _: &Request) -> Result<Json<Run>, Error> {
        let now = clock::now();
        let plan = check::plan(&self.settings, &results::last_checks(&self.settings.targets)?, now);
        let stopwatch = Stopwatch::start();
        let mut run = Run { checked: Vec::new(), recent: names(plan.recent), postponed: Vec::new() };
        for target in plan.due {
            match check::fits(target, stopwatch.elapsed(), &self.settings) {
                true => run.checked.push(check::run(target)),
                false => run.postponed.push(target.name.clone()),
            }
        }
        results::record(&run.checked, now.earlier(self.settings.retention.into()))?;
        log::debug!(checked = run.checked.len(), postponed = run.postponed.len(); "targets were checked");
        Ok(Json(run))
    }

    fn targets(&self, _: &Request) -> Result<Json<Targets>, Error> {
        let window = self.settings.window.into();
        let targets = results::summaries(&self.settings.targets, clock::now().earlier(window))?;
        Ok(Json(Targets { window_seconds: window.as_secs(), targets }))
    }

    fn history(&self, request: &Request) -> Result<Json<History>, Error> {
        let name = request.param("name");
        if !self.settings.targets.iter().any(|target| target.name == name) {
            return Err(Error::not_found(format!("there is no target '{name}'")));
        }
        let limit = request.query_parsed("limit")?.unwrap_or(100);
        if !(1..=Self::LONGEST_HISTORY).contains(&limit) {
            return Err(Error::bad_request(format!("query parameter 'limit': 1 to {} are allowed", Self::LONGEST_HISTORY)));
        }
        Ok(Json(History { target: name.to_owned(), results: results::history(name, limit)? }))
    }
}

fn names(targets: Vec<&Target>) -> Vec<String> {
    targets.into_iter().map(|target| target.name.clone()).collect()
}

checkstack_plugin::export!(Uptime);
