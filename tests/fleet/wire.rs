//! The broker and the wires to it, a model: QoS 1 over connections that are cut, held up, lose, double
//! and reorder; and a session at the broker that is lost or kept.

use crate::draw::Draw;

/// Which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Device,
    Plane,
}

/// How bad a wire is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weather {
    /// Up to so much later, milliseconds.
    pub(crate) delay_ms: u64,
    /// One in so many comes again.
    pub(crate) double: u64,
    /// One in so many does not come.
    pub(crate) lose: u64,
    /// Frames overtake each other.
    pub(crate) reorder: bool,
}

/// A frame under way.
#[derive(Debug, Clone)]
pub(crate) struct Flight {
    pub(crate) to: End,
    pub(crate) connection: u64,
    pub(crate) frame: Vec<u8>,
}

/// One device's wire.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    /// The newest connection, from 1.
    pub(crate) connection: u64,
    /// Each end takes itself for connected.
    pub(crate) device_up: bool,
    pub(crate) plane_up: bool,
    /// Nothing passes.
    pub(crate) cut: bool,
    /// Nothing passes for now, and nothing is lost.
    pub(crate) clogged: bool,
    pub(crate) weather: Weather,
    held: Vec<Flight>,
    last_ms: [u64; 2],
}

impl Wire {
    /// When a frame comes, and perhaps when it comes again. None: it does not.
    pub(crate) fn send(&mut self, to: End, now_ms: u64, draw: &mut Draw) -> Vec<u64> {
        let Weather { delay_ms, double, lose, reorder } = self.weather;
        if draw.one_in(lose) {
            return Vec::new();
        }
        let mut times = Vec::new();
        for _ in 0..=u32::from(draw.one_in(double)) {
            let due_ms = now_ms + 1 + draw.below(20) + draw.below(delay_ms + 1);
            let last_ms = &mut self.last_ms[usize::from(to == End::Plane)];
            let due_ms = if reorder { due_ms } else { due_ms.max(*last_ms) };
            *last_ms = due_ms.max(*last_ms);
            times.push(due_ms);
        }
        times
    }

    /// Keeps a frame until the wire is free.
    pub(crate) fn hold(&mut self, flight: Flight) {
        self.held.push(flight);
    }

    /// The wire is free again: what it has held goes on.
    pub(crate) fn release(&mut self) -> Vec<Flight> {
        std::mem::take(&mut self.held)
    }

    /// Whether a frame is to be given to its end now. One of an earlier connection is, where the
    /// broker has kept the session.
    pub(crate) fn delivers(&self, flight: &Flight, is_kept: bool) -> bool {
        let is_up = match flight.to {
            End::Device => self.device_up,
            End::Plane => self.plane_up,
        };
        is_up && (flight.connection == self.connection || is_kept)
    }
}
