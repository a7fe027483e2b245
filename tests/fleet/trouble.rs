//! How things go wrong, how they end, and what is wanted meanwhile.

use openclaw_control_plane::fleet::stepped::Plane;

use crate::ground;
use crate::plan::{Doom, Fault, Work};
use crate::wire::{End, Weather};
use crate::world::{QUICK_MS, What, World};

impl World {
    pub(crate) fn go_wrong(&mut self, fault: Fault) -> Result<(), String> {
        match fault {
            Fault::Die { device, power } => {
                if self.devices[device].is_alive() {
                    return self.die(device, power);
                }
            }
            Fault::DieAtSync { device, sync, power } => {
                self.devices[device].disk.cut_at_sync(sync);
                self.dying[device] = Some(power);
            }
            Fault::Full { device, for_ms } => {
                self.devices[device].set_full(true);
                self.after(for_ms, What::Ends(fault));
            }
            Fault::Cut { device, for_ms } => {
                self.wires[device].cut = true;
                let connection = self.wires[device].connection;
                for end in [End::Device, End::Plane] {
                    let ms = self.draw.between(20_000, 600_000).min(for_ms);
                    // One that ends early is not noticed at all.
                    if ms < for_ms {
                        self.after(ms, What::Notices { device, end, connection });
                    }
                }
                self.after(for_ms, What::Ends(fault));
            }
            Fault::Foul { device, weather, for_ms } => {
                self.wires[device].weather = weather;
                self.after(for_ms, What::Ends(fault));
            }
            Fault::Clog { device, for_ms } => {
                self.wires[device].clogged = true;
                self.after(for_ms, What::Ends(fault));
            }
            Fault::Clock { device, skew_ms } => {
                self.devices[device].set_skew(skew_ms);
                return self.turn(device, Vec::new());
            }
            Fault::Broker => return self.restart_broker(),
            Fault::Plane { doom, for_ms } => {
                self.down_ms = for_ms;
                self.doom = Some(doom);
                if doom == Doom::Now {
                    return self.kill_plane();
                }
            }
            Fault::Slow { by_ms, for_ms } => {
                self.slow_ms = by_ms;
                self.after(for_ms, What::Ends(fault));
            }
            Fault::PlaneClock { skew_ms } => self.plane_skew_ms = skew_ms,
        }
        Ok(())
    }

    /// What lasts for a while has lasted.
    pub(crate) fn end(&mut self, fault: Fault) -> Result<(), String> {
        match fault {
            Fault::Full { device, .. } => {
                self.devices[device].set_full(false);
                self.turn(device, Vec::new())?;
            }
            Fault::Cut { device, .. } => {
                self.wires[device].cut = false;
                self.release(device);
            }
            Fault::Clog { device, .. } => {
                self.wires[device].clogged = false;
                self.release(device);
            }
            Fault::Foul { device, .. } => self.wires[device].weather = Weather::default(),
            Fault::Slow { .. } => self.slow_ms = QUICK_MS,
            Fault::Die { .. }
            | Fault::DieAtSync { .. }
            | Fault::Clock { .. }
            | Fault::Broker
            | Fault::Plane { .. }
            | Fault::PlaneClock { .. } => {}
        }
        Ok(())
    }

    fn release(&mut self, device: usize) {
        for flight in self.wires[device].release() {
            let ms = 1 + self.draw.below(20);
            self.after(ms, What::Arrives { device, flight });
        }
    }

    fn restart_broker(&mut self) -> Result<(), String> {
        for device in 0..self.wires.len() {
            self.lose(device, End::Device)?;
            self.lose(device, End::Plane)?;
        }
        Ok(())
    }

    /// All that is wrong ends.
    pub(crate) fn heal(&mut self) -> Result<(), String> {
        (self.healed, self.doom, self.plane_skew_ms) = (true, None, 0);
        self.slow_ms = QUICK_MS;
        self.open_plane()?;
        for device in 0..self.devices.len() {
            self.dying[device] = None;
            if !self.devices[device].disk.is_dead() {
                self.devices[device].disk.reopen();
            }
            self.devices[device].set_full(false);
            self.devices[device].set_skew(0);
            let wire = &mut self.wires[device];
            (wire.cut, wire.clogged, wire.weather) = (false, false, Weather::default());
            self.release(device);
            self.after(1_000, What::Starts { device });
        }
        Ok(())
    }

    pub(crate) fn want(&mut self, work: Work) -> Result<(), String> {
        match work {
            Work::AtSite { device } => {
                if !self.devices[device].is_alive() {
                    return Ok(());
                }
                let event = self.devices[device].begin_run("chain");
                self.turn(device, vec![event])
            }
            Work::Wish { device, key } => self.wish(work, device, key),
            Work::Deploy { revision } => {
                let ids = &ground::devices()[..self.devices.len()];
                let deploy = |plane: &mut Plane| plane.deploy("chain", revision, ids);
                match self.plane.as_mut().map(deploy) {
                    Some(Ok(())) => self.hear_plane(),
                    Some(Err(e)) => Err(format!("a deployment is refused: {e:#}")),
                    None => {
                        self.after(30_000, What::Wanted(work));
                        Ok(())
                    }
                }
            }
        }
    }

    fn wish(&mut self, work: Work, device: usize, key: u64) -> Result<(), String> {
        let id = self.devices[device].id.clone();
        let Some(plane) = &mut self.plane else {
            self.after(10_000, What::Wanted(work));
            return Ok(());
        };
        let wish = plane.start("chain", &id, &format!("key-{key}"));
        let wish = wish.map_err(|e| format!("a wish is refused: {e:#}"))?;
        let before = self.judge.wishes.insert(key, wish.clone());
        if before.as_ref().is_some_and(|before| *before != wish) {
            return Err(format!("key {key} is of two wishes: {before:?} and {wish}"));
        }
        self.hear_plane()
    }
}
