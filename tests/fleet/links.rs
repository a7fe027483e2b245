//! Connections, and the frames on them.

use openclaw_agent::event::Event;

use crate::ground;
use crate::wire::{End, Flight};
use crate::world::{Sabotage, What, World};

impl World {
    /// A device's link tries to connect.
    pub(crate) fn connect(&mut self, number: usize) -> Result<(), String> {
        let wire = &mut self.wires[number];
        if wire.device_up || !self.devices[number].is_alive() {
            return Ok(());
        }
        let Some(plane) = self.plane.as_mut().filter(|_| !wire.cut) else {
            let ms = self.draw.between(1_000, 60_000);
            self.after(ms, What::Connects { device: number });
            return Ok(());
        };
        wire.connection += 1;
        (wire.device_up, wire.plane_up) = (true, true);
        let held = wire.release();
        plane.connect(&self.devices[number].id).map_err(|e| format!("{e:#}"))?;
        for flight in held {
            self.at(self.now_ms + 1, What::Arrives { device: number, flight });
        }
        self.hear_plane()?;
        self.turn(number, vec![Event::LinkUp])
    }

    /// An end takes its connection for lost.
    pub(crate) fn lose(&mut self, number: usize, end: End) -> Result<(), String> {
        let wire = &mut self.wires[number];
        match end {
            End::Device if wire.device_up => {
                wire.device_up = false;
                let connection = wire.connection;
                let notice_ms = self.draw.below(60_000);
                let end = End::Plane;
                self.after(notice_ms, What::Notices { device: number, end, connection });
                let ms = self.draw.between(800, 60_000);
                self.after(ms, What::Connects { device: number });
                self.turn(number, vec![Event::LinkDown])
            }
            End::Plane if wire.plane_up => {
                wire.plane_up = false;
                let connection = wire.connection;
                let id = &self.devices[number].id;
                if let Some(plane) = &mut self.plane {
                    plane.disconnect(id);
                }
                let notice_ms = self.draw.below(60_000);
                let end = End::Device;
                self.after(notice_ms, What::Notices { device: number, end, connection });
                self.hear_plane()
            }
            End::Device | End::Plane => Ok(()),
        }
    }

    /// A frame goes to the other end.
    pub(crate) fn send(&mut self, number: usize, to: End, frame: Vec<u8>) {
        self.trace.note(&frame);
        let connection = self.wires[number].connection;
        let trusts = matches!(self.sabotage, Sabotage::TrustsTheBroker { .. });
        if trusts && to == End::Plane {
            self.puback(number, &frame);
        }
        for due_ms in self.wires[number].send(to, self.now_ms, &mut self.draw) {
            let flight = Flight { to, connection, frame: frame.clone() };
            self.at(due_ms, What::Arrives { device: number, flight });
        }
    }

    /// The control that must lose: what the broker has counts as committed.
    fn puback(&mut self, number: usize, frame: &[u8]) {
        let (device, generation) = (&self.devices[number], self.ground.generation);
        let Some(frame) = ground::forged_ack(frame, device, generation) else { return };
        let connection = self.wires[number].connection;
        let flight = Flight { to: End::Device, connection, frame };
        self.at(self.now_ms + 1, What::Arrives { device: number, flight });
    }

    pub(crate) fn arrive(&mut self, number: usize, flight: Flight) -> Result<(), String> {
        let wire = &mut self.wires[number];
        if wire.clogged || wire.cut {
            wire.hold(flight);
            return Ok(());
        }
        let is_old = flight.connection != wire.connection;
        let is_kept = is_old && self.draw.one_in(4);
        if !wire.delivers(&flight, is_kept) {
            return Ok(());
        }
        match (flight.to, &mut self.plane) {
            (End::Device, _) => self.turn(number, vec![Event::Frame(flight.frame)]),
            (End::Plane, Some(plane)) => {
                plane.frame(&self.devices[number].id, flight.frame);
                self.hear_plane()
            }
            (End::Plane, None) => Ok(()),
        }
    }
}
