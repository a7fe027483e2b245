//! The control plane in the world: it receives, commits and acknowledges in three steps, and may be
//! killed between them.

use openclaw_control_plane::clock::Clock;
use openclaw_control_plane::fleet::stepped::Plane;

use crate::plan::Doom;
use crate::wire::End;
use crate::world::{QUICK_MS, Sabotage, What, World};

impl World {
    /// Takes what the control plane has to say.
    pub(crate) fn hear_plane(&mut self) -> Result<(), String> {
        let Some(plane) = &mut self.plane else { return Ok(()) };
        let (frames, kicks) = (plane.take_down(), plane.take_kicks());
        let (received, _) = plane.waiting();
        for (id, frame) in frames {
            let number = self.devices.iter().position(|device| device.id == id);
            number.into_iter().for_each(|number| self.send(number, End::Device, frame.clone()));
        }
        for id in kicks {
            let number = self.devices.iter().position(|device| device.id == id);
            let number = number.ok_or("an unknown device is cut off")?;
            self.lose(number, End::Plane)?;
        }
        if received > 0 && !self.is_writing {
            self.is_writing = true;
            let ms = self.draw.below(self.slow_ms);
            self.after(ms, What::PlaneWrites { life: self.plane_life });
        }
        Ok(())
    }

    pub(crate) fn plane_writes(&mut self) -> Result<(), String> {
        if self.doom == Some(Doom::Received) {
            return self.kill_plane();
        }
        let Some(plane) = &mut self.plane else { return Ok(()) };
        self.is_writing = false;
        if plane.write().map_err(|e| format!("{e:#}"))? {
            self.look_at_tables()?;
        }
        if self.doom == Some(Doom::Committed) {
            return self.kill_plane();
        }
        let ms = self.draw.below(QUICK_MS);
        self.after(ms, What::PlaneTells { life: self.plane_life });
        Ok(())
    }

    pub(crate) fn plane_tells(&mut self) -> Result<(), String> {
        let Some(plane) = &mut self.plane else { return Ok(()) };
        plane.tell();
        if self.doom == Some(Doom::Acknowledging) {
            return self.kill_plane();
        }
        self.hear_plane()
    }

    pub(crate) fn look_at_tables(&mut self) -> Result<(), String> {
        let Some(plane) = &self.plane else { return Ok(()) };
        let tables = plane.tables().map_err(|e| format!("{e:#}"))?;
        self.judge.plane(tables, &self.devices)
    }

    /// The control plane's process dies, and with it all connections.
    pub(crate) fn kill_plane(&mut self) -> Result<(), String> {
        self.doom = None;
        let Some(plane) = self.plane.take() else { return Ok(()) };
        self.trace.number(0xdead_0001);
        plane.kill().map_err(|e| format!("{e:#}"))?;
        self.plane_life += 1;
        self.is_writing = false;
        for number in 0..self.wires.len() {
            self.wires[number].plane_up = false;
            let (end, connection) = (End::Device, self.wires[number].connection);
            let ms = self.draw.below(1_000);
            self.after(ms, What::Notices { device: number, end, connection });
        }
        self.after(self.down_ms, What::PlaneStarts);
        Ok(())
    }

    pub(crate) fn open_plane(&mut self) -> Result<(), String> {
        if self.plane.is_some() {
            return Ok(());
        }
        let (wall_ms, monotonic_ms) = self.clocks.clone();
        let clock = Clock::Simulated { wall_ms, monotonic_ms };
        let seed = self.seed ^ (self.plane_life << 48);
        let mut plane =
            Plane::open(self.ground.dir(), clock, seed).map_err(|e| format!("{e:#}"))?;
        self.ground.generation = plane.generation();
        if self.sabotage == Sabotage::WritesAgain {
            plane.double();
        }
        self.plane = Some(plane);
        self.look_at_tables()
    }
}
