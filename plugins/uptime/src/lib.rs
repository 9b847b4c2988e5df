//! Uptime: asks HTTP targets whether they are up, and remembers what they answered.

mod check;
mod duration;
mod results;
mod settings;
mod states;

use std::time::Duration;

use checkstack_plugin::clock::{self, Stopwatch};
use checkstack_plugin::entities::Kind;
use checkstack_plugin::jobs::{self, Job, JobError, Queue, Recurrence};
use checkstack_plugin::{AccessRule, Call, Error, InitError, Plugin, Probe, Procedure, Procedures, log};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

    fn procedures() -> Procedures<Self> {
        Procedures::new()
            .rule(AccessRule::read("target", "See targets and how they have been").for_everybody())
            // Everybody: a target is not asked more often than the configuration says, whoever wants it.
            .rule(AccessRule::manage("check", "Have targets checked now").for_everybody())
            .add(
                Procedure::query("targets", Self::targets)
                    .summary("How each target is, and how it has been")
                    .public()
                    .needs(&["target.read"]),
            )
            .add(
                Procedure::query("targets/history", Self::history)
                    .summary("What checks of a target came to, the newest first")
                    .public()
                    .needs(&["target.read"]),
            )
            .add(
                Procedure::mutation("checks/run", Self::run_checks)
                    .summary("Checks all targets that were not checked a moment ago")
                    .description("Those that have waited longest come first; what there is no time for comes first next time.")
                    .public()
                    .needs(&["check.manage"]),
            )
    }

    fn queues() -> Vec<Queue<Self>> {
        // What is not done in time is done by the next run.
        vec![Queue::new(Self::CHECKS, Self::scheduled_checks).retries(0)]
    }

    fn entities() -> Vec<Kind> {
        vec![states::kind()]
    }

    fn after_plugins_ready(&self) -> Result<(), InitError> {
        states::keep_only(&self.settings.targets).map_err(|problem| InitError::failed(problem.to_string()))?;
        match self.settings.interval.into() {
            Duration::ZERO => jobs::cancel(Self::CHECKS, Self::ALL).map(drop)?,
            every => jobs::schedule(Self::CHECKS, Self::ALL, &(), Recurrence::Interval(every))?,
        }
        Ok(())
    }

    fn probes() -> Vec<Probe<Self>> {
        // Informative: without the database there are no results, but nothing else is the worse for it.
        vec![Probe::informative("database", |_: &Self| results::answer().map_err(|_| "the results cannot be read"))]
    }
}

/// What a run of checks came to.
#[derive(Debug, Serialize, JsonSchema)]
struct Run {
    checked: Vec<Outcome>,
    /// Checked by another request a moment ago.
    recent: Vec<String>,
    /// There was no time left for these; the next run begins with them.
    postponed: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Targets {
    /// Seconds over which availability and latency are computed.
    window_seconds: u64,
    targets: Vec<TargetSummary>,
}

/// Which history.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Question {
    /// The name of a target.
    target: String,
    /// So many results at most.
    #[serde(default = "Question::usual_limit")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
}

impl Question {
    fn usual_limit() -> u32 {
        100
    }
}

#[derive(Debug, Serialize, JsonSchema)]
struct History {
    target: String,
    results: Vec<Outcome>,
}

impl Uptime {
    /// The queue of runs,
    const CHECKS: &str = "checks";
    /// and its only schedule.
    const ALL: &str = "all";

    fn scheduled_checks(&self, (): (), _: &Job) -> Result<(), JobError> {
        self.check_targets().map(drop).map_err(|error| JobError::retry(error.to_string()))
    }

    fn run_checks(&self, (): (), _: &Call) -> Result<Run, Error> {
        self.check_targets()
    }

    fn check_targets(&self) -> Result<Run, Error> {
        let now = clock::now();
        let before = results::last_checks(&self.settings.targets)?;
        let plan = check::plan(&self.settings, &before, now);
        let stopwatch = Stopwatch::start();
        let mut run = Run { checked: Vec::new(), recent: names(plan.recent), postponed: Vec::new() };
        for target in plan.due {
            match check::fits(target, stopwatch.elapsed(), &self.settings) {
                true => run.checked.push(check::run(target)),
                false => run.postponed.push(target.name.clone()),
            }
        }
        let known = states::all()?;
        states::news(&known, &run.checked).into_iter().try_for_each(states::set)?;
        results::record(&run.checked, now.earlier(self.settings.retention.into()))?;
        log::debug!(checked = run.checked.len(), postponed = run.postponed.len(); "targets were checked");
        Ok(run)
    }

    fn targets(&self, (): (), _: &Call) -> Result<Targets, Error> {
        let window = self.settings.window.into();
        let targets = results::summaries(&self.settings.targets, clock::now().earlier(window))?;
        Ok(Targets { window_seconds: window.as_secs(), targets })
    }

    fn history(&self, Question { target, limit }: Question, _: &Call) -> Result<History, Error> {
        if !self.settings.targets.iter().any(|known| known.name == target) {
            return Err(Error::not_found(format!("there is no target '{target}'")));
        }
        let results = results::history(&target, limit)?;
        Ok(History { target, results })
    }
}

fn names(targets: Vec<&Target>) -> Vec<String> {
    targets.into_iter().map(|target| target.name.clone()).collect()
}

checkstack_plugin::export!(Uptime);
