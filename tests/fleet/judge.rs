//! What must hold. After every turn of a device: no effect under two keys, no key for two effects; no
//! run with two results; nothing taken for acknowledged that the control plane has not committed.
//! After every commit of the control plane, and after each of its starts: no result twice, none gone
//! that was there, the events of each run without a gap. When all has been healed and is quiet:
//! nothing accepted is lost, every wish is answered and led to one run, both ends tell the same.

use std::collections::{BTreeMap, BTreeSet};

use openclaw_agent_core::PluginTask;
use openclaw_control_plane::fleet::stepped::Tables;
use openclaw_protocol::run::{RunResult, RunStatus};
use openclaw_protocol::sync::Lane;
use openclaw_protocol::wire::{self, Kind};

use crate::device::Device;

/// Steps with an effect in a run of `chain`.
const EFFECTS: usize = 3;

/// What is known from the outside.
#[derive(Default)]
pub(crate) struct Judge {
    /// Key → device, run, step; and the input that it came with.
    keys: BTreeMap<String, (usize, String, String, String)>,
    /// Device, run, step → key.
    steps: BTreeMap<(usize, String, String), String>,
    /// Of each device: its results, and the number of the next.
    told: Vec<(BTreeMap<String, RunResult>, u64)>,
    /// Of each device: how many results are committed.
    committed: Vec<u64>,
    pub(crate) tables: Tables,
    /// Wishes that an operator was told are written down, by key.
    pub(crate) wishes: BTreeMap<u64, String>,
    /// Calls that were made again after their device had died in them.
    pub(crate) repeated: u64,
    /// It does not look at what is acknowledged while it happens.
    pub(crate) is_blind: bool,
}

impl Judge {
    pub(crate) fn new(devices: usize) -> Self {
        let told = (0..devices).map(|_| (BTreeMap::new(), 1)).collect();
        Self { told, committed: vec![0; devices], ..Self::default() }
    }

    /// Something happens in the world.
    pub(crate) fn effect(&mut self, device: usize, task: &PluginTask) -> Result<(), String> {
        let (run, step) = (task.attempt.run.to_string(), task.attempt.step.0.clone());
        let (key, input) = (task.idempotency_key.clone(), task.input.as_str().to_owned());
        self.repeated += u64::from(task.interrupted);
        let place = (device, run.clone(), step.clone());
        let before = self.steps.entry(place).or_insert_with(|| key.clone());
        if *before != key {
            return Err(format!("step {step} of run {run} has two keys: {before} and {key}"));
        }
        let now = (device, run, step, input);
        match self.keys.get(&key) {
            Some(before) if *before != now => {
                Err(format!("key {key} is of two effects: {before:?} and {now:?}"))
            }
            Some(_) => Ok(()),
            None => {
                self.keys.insert(key, now);
                Ok(())
            }
        }
    }

    /// A device has had a turn.
    pub(crate) fn device(&mut self, number: usize, device: &Device) -> Result<(), String> {
        if !device.is_alive() {
            return Ok(());
        }
        let (results, next) = &mut self.told[number];
        let has = device.next(Lane::Results);
        if has < *next {
            return Err(format!(
                "{} has lost results that were durable: {has} < {next}",
                device.id
            ));
        }
        if has > *next {
            // What a commit that failed had counted is not there.
            for record in device.records(Lane::Results, *next) {
                let read = wire::unpack::<RunResult>(Kind::RunResult, &record.body, usize::MAX);
                let result = read.map_err(|e| format!("{}: {e}", device.id))?;
                let run = result.run.to_string();
                if results.insert(run.clone(), result).is_some() {
                    return Err(format!("{} has two results of run {run}", device.id));
                }
                *next = record.seq + 1;
            }
        }
        let acknowledged = (has - 1).saturating_sub(device.outstanding(Lane::Results));
        let committed = self.committed[number];
        if acknowledged > committed && !self.is_blind {
            return Err(format!(
                "{} takes {acknowledged} results for acknowledged, and {committed} are committed",
                device.id
            ));
        }
        Ok(())
    }

    /// The control plane has committed, or has started.
    pub(crate) fn plane(&mut self, tables: Tables, devices: &[Device]) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for row in &tables.results {
            if !seen.insert((&row.device, &row.run)) {
                return Err(format!("the result of run {} is there twice", row.run));
            }
        }
        let is_gone = |row: &&_| tables.results.binary_search_by(|it| order(it, row)).is_err();
        if let Some(row) = self.tables.results.iter().find(is_gone) {
            return Err(format!("the result of run {} was committed and is gone", row.run));
        }
        if let Some(row) = tables.events.iter().find(|row| row.count != row.last) {
            return Err(format!("run {} has {} events up to {}", row.run, row.count, row.last));
        }
        for (committed, device) in self.committed.iter_mut().zip(devices) {
            let own = tables.results.iter().filter(|row| row.device == device.id.as_str());
            *committed = own.count() as u64;
        }
        self.tables = tables;
        Ok(())
    }

    /// All is quiet.
    pub(crate) fn end(&self, devices: &[Device]) -> Result<(), String> {
        for (device, (results, _)) in devices.iter().zip(&self.told) {
            self.one_device(device, results)?;
        }
        let tables = &self.tables;
        let told: usize = self.told.iter().map(|(results, _)| results.len()).sum();
        if tables.results.len() != told || tables.runs.len() != told || tables.parked > 0 {
            let (results, runs) = (tables.results.len(), tables.runs.len());
            return Err(format!("{told} results, in the tables {results}, and {runs} runs"));
        }
        // Nothing that goes wrong here is anybody's attack, damage, or other database.
        if let Some(alarm) = tables.alarms.first() {
            return Err(format!("the control plane was alarmed: {alarm}"));
        }
        self.wishes()
    }

    fn one_device(
        &self,
        device: &Device,
        results: &BTreeMap<String, RunResult>,
    ) -> Result<(), String> {
        if let Some(run) = device.accepted.iter().find(|run| !results.contains_key(*run)) {
            return Err(format!("{} accepted run {run}, and it has no result", device.id));
        }
        for (run, result) in results {
            let is_it = |at: &str, id: &str| at == device.id.as_str() && id == run;
            let row = self.tables.results.iter().find(|row| is_it(&row.device, &row.run));
            let row = row.ok_or_else(|| format!("the result of run {run} did not come"))?;
            let theirs: RunResult =
                serde_json::from_str(&row.result).map_err(|e| format!("run {run}: {e}"))?;
            if theirs != *result {
                return Err(format!("run {run} ended here as {result:?}, there as {theirs:?}"));
            }
            let shown = self.tables.runs.iter().find(|row| is_it(&row.device, &row.run));
            let status = shown.map(|row| row.status.as_str());
            let events = self.tables.events.iter().any(|row| is_it(&row.device, &row.run));
            let own = name(result.status);
            if status != Some(own) || !events {
                return Err(format!("run {run} is {own} and shown as {status:?}"));
            }
            self.effects_of(run, result)?;
        }
        Ok(())
    }

    fn effects_of(&self, run: &str, result: &RunResult) -> Result<(), String> {
        let effects = self.steps.keys().filter(|(_, of, _)| of == run).count();
        let wanted = if result.workflow.as_str() == "chain" { EFFECTS } else { 1 };
        if result.status != RunStatus::Completed || effects != wanted {
            let (status, error) = (result.status, &result.error);
            return Err(format!("run {run}: {status:?}, {effects} effects, error {error:?}"));
        }
        Ok(())
    }

    fn wishes(&self) -> Result<(), String> {
        if self.tables.requests.len() != self.wishes.len() {
            let (rows, wishes) = (self.tables.requests.len(), self.wishes.len());
            return Err(format!("{wishes} wishes were written down, and there are {rows}"));
        }
        for request in &self.tables.requests {
            let id = &request.id;
            let own = |row: &&_| is_of(row, id);
            let runs: Vec<_> = self.tables.results.iter().filter(own).collect();
            match (&request.refusal, runs.as_slice()) {
                (None, [one]) if request.run.as_ref() == Some(&one.run) => {}
                (refusal, runs) => {
                    let runs: Vec<_> = runs.iter().map(|row| row.run.as_str()).collect();
                    return Err(format!("wish {id} led to {runs:?}, refusal {refusal:?}"));
                }
            }
        }
        Ok(())
    }

    /// Runs that have ended.
    pub(crate) fn results(&self) -> usize {
        self.told.iter().map(|(results, _)| results.len()).sum()
    }
}

fn name(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Completed => "completed",
        RunStatus::Failed => "failed",
        RunStatus::Cancelled => "cancelled",
        RunStatus::Pending | RunStatus::Running | RunStatus::Delayed => "open",
    }
}

type Row = openclaw_control_plane::fleet::stepped::ResultRow;

fn order(one: &Row, other: &Row) -> std::cmp::Ordering {
    (&one.device, &one.run).cmp(&(&other.device, &other.run))
}

fn is_of(row: &Row, request: &str) -> bool {
    row.request.as_deref() == Some(request)
}
