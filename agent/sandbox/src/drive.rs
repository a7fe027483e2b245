//! Drives one call: small slices of fuel on the caller's thread, a look at the watch between them,
//! and requests to the host while the guest is set aside.

use std::panic::{AssertUnwindSafe, catch_unwind};

use wasmi::{Error, Func, Instance, ResumableCall, Store, TrapCode, Val};

use crate::call::{Call, Fault, Outcome};
use crate::guest::Pause;
use crate::host::{Host, Watch};
use crate::inside::inside;
use crate::kept::Kept;
use crate::limits;
use crate::module::Module;
use crate::request::Desk;
use crate::state::State;

/// Runs a call to its end. Nothing that the guest does gets out of here but the [`Outcome`].
pub(crate) fn run(
    module: &Module,
    mut call: Call<'_>,
    host: &mut dyn Host,
    watch: &dyn Watch,
) -> Outcome {
    if module.is_broken() {
        return Outcome::of(engine_failed());
    }
    catch_unwind(AssertUnwindSafe(|| {
        let store = Store::new(&module.engine, State::new(&mut call));
        let desk = Desk::new(host, call.permissions);
        let mut drive = Drive { store, desk, watch, fuel: call.limits.fuel };
        let ended = drive.call(module, call.export);
        drive.outcome(ended, call.limits.fuel)
    }))
    .unwrap_or_else(|_| {
        module.mark_broken();
        Outcome::of(engine_failed())
    })
}

fn engine_failed() -> Fault {
    Fault::new("plugin.trap", "the engine failed while running this plugin; load it again")
        .retryable()
}

struct Drive<'a> {
    store: Store<State>,
    desk: Desk<'a>,
    watch: &'a dyn Watch,
    /// What is left of the call's fuel, without the slice that is running.
    fuel: u64,
}

impl Drive<'_> {
    /// Instantiates, sets up, calls. The value is the export's own code, 0 for success.
    fn call(&mut self, module: &Module, export: &str) -> Result<i32, Fault> {
        if !module.is_action(export) {
            return Err(Fault::new(
                "plugin.missing",
                format!("the module has no action `{export}` (an export without parameters)"),
            ));
        }
        self.store.limiter(|state| &mut state.limiter);
        // Constant expressions and active segments may cost fuel; it is not the guest's.
        self.store.set_fuel(u64::MAX).map_err(|e| self.fault_of(&e))?;
        let instance =
            inside(|| module.linker.instantiate_and_start(&mut self.store, &module.wasm));
        let instance = instance.map_err(|e| self.fault_of(&e))?;
        self.store.data_mut().memory = instance.get_memory(&self.store, "memory");
        if let Some(code) =
            module.set_up().map(|name| self.function(&instance, name)).transpose()?
            && code != 0
        {
            return Ok(code);
        }
        self.function(&instance, export)
    }

    fn function(&mut self, instance: &Instance, name: &str) -> Result<i32, Fault> {
        let function = instance.get_func(&self.store, name).ok_or_else(|| {
            Fault::new("plugin.missing", format!("the module has no function `{name}`"))
        })?;
        let results = function.ty(&self.store).results().len();
        let mut outputs = [Val::I32(0)];
        let exit = self.drive(function, &mut outputs[..results.min(1)])?;
        Ok(exit.unwrap_or(match outputs {
            [Val::I32(code)] => code,
            [_] => 0,
        }))
    }

    /// Runs a function to its end, or to the guest's wish to exit.
    fn drive(&mut self, function: Func, outputs: &mut [Val]) -> Result<Option<i32>, Fault> {
        self.look_at_watch()?;
        let mut granted = self.grant(0)?;
        let mut step = inside(|| function.call_resumable(&mut self.store, &[], outputs));
        loop {
            self.settle(granted);
            let paused = match step {
                Ok(ResumableCall::Finished) => return Ok(None),
                Ok(paused) => paused,
                Err(error) => return Err(self.fault_of(&error)),
            };
            self.look_at_watch()?;
            step = match paused {
                ResumableCall::Finished => return Ok(None),
                ResumableCall::OutOfFuel(guest) => {
                    granted = self.grant(guest.required_fuel())?;
                    inside(|| guest.resume(&mut self.store, outputs))
                }
                ResumableCall::HostTrap(guest) => {
                    match guest.host_error().downcast_ref::<Pause>() {
                        Some(Pause::Request) => {}
                        Some(Pause::Exit(code)) => return Ok(Some(*code)),
                        Some(Pause::Fault(fault)) => return Err(fault.clone()),
                        None => return Err(self.fault_of(guest.host_error())),
                    }
                    let answer = self.fulfil()?;
                    granted = self.grant(0)?;
                    inside(|| guest.resume(&mut self.store, &[answer], outputs))
                }
            };
        }
    }

    fn fulfil(&mut self) -> Result<Val, Fault> {
        let request = self.store.data_mut().request.take();
        let request = request.ok_or_else(|| Fault::new("plugin.trap", "nothing was asked for"))?;
        let answer = self.desk.answer(&mut self.store, request);
        self.settle(0);
        // Also where the request failed: a host that was told to stop knows only that, but
        // whether it was the time or a wish decides about another attempt.
        self.look_at_watch()?;
        answer
    }

    fn look_at_watch(&self) -> Result<(), Fault> {
        self.watch.stop().map_or(Ok(()), |stop| Err(stop.into()))
    }

    /// Hands out the next slice: the usual amount, or what one operation needs at once (a bulk
    /// copy is paid for before it begins).
    fn grant(&mut self, required: u64) -> Result<u64, Fault> {
        if self.fuel == 0 || required > self.fuel {
            self.fuel = 0;
            return Err(Fault::new(
                "plugin.fuel",
                "the plugin used up its fuel; give it less to do, or raise limits.fuel in plugin.toml",
            ));
        }
        let slice = required.max(limits::FUEL_SLICE).min(self.fuel);
        self.store.set_fuel(slice).map_err(|e| self.fault_of(&e))?;
        self.fuel -= slice;
        Ok(slice)
    }

    /// Takes back what is left of a slice, and collects what host functions owe.
    fn settle(&mut self, granted: u64) {
        let left = self.store.get_fuel().unwrap_or(0).min(granted);
        let debt = std::mem::take(&mut self.store.data_mut().fuel_debt);
        self.fuel = (self.fuel + left).saturating_sub(debt);
    }

    fn fault_of(&self, error: &Error) -> Fault {
        let state = self.store.data();
        if let Some(Pause::Fault(fault)) = error.downcast_ref::<Pause>() {
            return fault.clone();
        }
        let trap = error.as_trap_code();
        if state.limiter.denied() || trap == Some(TrapCode::GrowthOperationLimited) {
            return state.limiter.fault();
        }
        // A plugin that panics says why before it traps.
        let said = state.error.as_deref().map(|e| Fault::reported(e, false).message);
        Fault::new("plugin.trap", said.unwrap_or_else(|| format!("the plugin trapped: {error}")))
    }

    fn outcome(mut self, ended: Result<i32, Fault>, fuel: u64) -> Outcome {
        let requests = self.desk.requests;
        let fuel_used = fuel - self.fuel.min(fuel);
        let state = self.store.data_mut();
        state.logs.finish();
        let denied = !state.denials.is_empty();
        let result = match (ended, state.error.take()) {
            (Err(fault), _) => Err(fault),
            (Ok(0), _) => Ok(state.take_output()),
            (Ok(_), Some(error)) => Err(Fault::reported(&error, denied)),
            (Ok(code), None) => {
                Err(Fault::new("plugin.error", format!("the plugin returned {code}")).retryable())
            }
        };
        // What an attempt would have changed goes with it where it failed.
        let kept = if result.is_ok() { self.desk.device.kept() } else { Kept::default() };
        let tape = state.recorder.take();
        let tape = tape.map(|recorder| Box::new(recorder.finish(&result, fuel_used)));
        Outcome {
            result,
            vars: std::mem::take(&mut state.vars),
            kept,
            logs: std::mem::take(&mut state.logs.lines),
            logs_dropped: state.logs.dropped,
            fuel_used,
            peak_memory_bytes: state.limiter.peak(),
            host_calls: requests,
            denials: std::mem::take(&mut state.denials),
            tape,
        }
    }
}
