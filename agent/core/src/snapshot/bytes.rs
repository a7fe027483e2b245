//! How parts of a run become bytes and come back: one description of each type, used both ways.
//!
//! A `record!` names the fields of a type in their order, a `choice!` numbers its variants; the
//! compiler sees to it that none is left out. Reading never fails on the spot: what makes no sense
//! is noted, the rest reads as nothing, and the note is looked at once, at the end. So a field costs
//! a call in each direction and no branch.

use std::sync::Arc;

use openclaw_protocol::expr::Value;
use openclaw_protocol::ordered::VecMap;

use crate::migrate::Table;
use crate::names::Bound;
use crate::plan::Plan;
use crate::view::{Results, Vars};

/// How deep values and names may be nested: deeper than any that an expression or a document makes.
const DEPTH: u32 = 256;
/// A count or a size is not larger than this, so that adding two of them is safe on any machine.
pub(super) const SIZE_MOST: u64 = 1 << 30;

/// Something that a snapshot holds.
pub(super) trait Stored: Sized {
    fn write(&self, to: &mut Writer);
    fn read(from: &mut Reader<'_>) -> Self;
}

/// The fields of a type, in the order in which they are stored.
macro_rules! record {
    ($type:ty { $($field:ident),+ $(,)? }) => {
        impl Stored for $type {
            fn write(&self, to: &mut Writer) {
                let Self { $($field),+ } = self;
                $($field.write(to);)+
            }

            fn read(from: &mut Reader<'_>) -> Self {
                Self { $($field: Stored::read(from)),+ }
            }
        }
    };
}

/// The variants of a type by number; and what stands for a number that there is not.
macro_rules! choice {
    ($type:ty, else $nothing:expr;
     $($number:literal $variant:ident $(($($part:ident),+))?),+ $(,)?) => {
        impl Stored for $type {
            fn write(&self, to: &mut Writer) {
                match self {
                    $(Self::$variant $(($($part),+))? => {
                        to.byte($number);
                        $($($part.write(to);)+)?
                    })+
                }
            }

            fn read(from: &mut Reader<'_>) -> Self {
                match from.byte() {
                    $($number => {
                        $($(let $part = Stored::read(from);)+)?
                        Self::$variant $(($($part),+))?
                    })+
                    _ => {
                        from.fail();
                        $nothing
                    }
                }
            }
        }
    };
}

pub(super) use {choice, record};

/// Bytes in the making.
pub(super) struct Writer {
    pub(super) out: Vec<u8>,
    /// Keys of scopes so far, with their numbers.
    pub(super) texts: VecMap<Arc<str>, u64>,
    /// Larger values so far, by the hash of their bytes.
    pub(super) values: VecMap<[u8; 16], u64>,
    /// Where what is shared lies in memory, to know it again. The addresses go nowhere.
    shared: [Vec<usize>; 3],
    depth: u32,
    /// There is something that could not be read again.
    failed: bool,
}

/// Bytes being read.
pub(super) struct Reader<'a> {
    left: &'a [u8],
    pub(super) plan: &'a Plan,
    /// Where steps and scopes of the definition that the bytes are about are in that of the plan, if
    /// it is another one.
    pub(super) table: Option<&'a Table>,
    pub(super) texts: Vec<Arc<str>>,
    pub(super) values: Vec<Value>,
    pub(super) vars: Vec<Arc<Vars>>,
    pub(super) results: Vec<Arc<Results>>,
    pub(super) bounds: Vec<Arc<Bound>>,
    depth: u32,
    failed: bool,
}

/// Which kind of shared thing.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shared {
    Vars = 0,
    Results = 1,
    Bounds = 2,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self {
            out: Vec::new(),
            texts: VecMap::new(),
            values: VecMap::new(),
            shared: [const { Vec::new() }; 3],
            depth: 0,
            failed: false,
        }
    }

    /// The bytes, unless they could not be read again.
    pub(super) fn finish(self) -> Option<Vec<u8>> {
        (!self.failed).then_some(self.out)
    }

    /// What is being written could not be read again.
    pub(super) fn fail(&mut self) {
        self.failed = true;
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.out.push(byte);
    }

    /// A number, seven bits a byte, the low ones first.
    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.byte(number.to_le_bytes()[0]);
    }

    pub(super) fn count(&mut self, count: usize) {
        self.number(count as u64);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.count(text.len());
        self.out.extend_from_slice(text.as_bytes());
    }

    /// Goes one level deeper, for what may hold its own kind.
    pub(super) fn deeper(&mut self, inner: impl FnOnce(&mut Self)) {
        self.depth += 1;
        if self.depth > DEPTH {
            self.failed = true;
        } else {
            inner(self);
        }
        self.depth -= 1;
    }

    /// Writes 0 for a thing that has not been seen, which follows, or else its number from 1.
    /// Whether it follows.
    pub(super) fn first_of<T: ?Sized>(&mut self, kind: Shared, thing: &Arc<T>) -> bool {
        let address = Arc::as_ptr(thing).cast::<()>().addr();
        let known = &mut self.shared[kind as usize];
        let place = known.iter().position(|known| *known == address);
        if place.is_none() {
            known.push(address);
        }
        self.count(place.map_or(0, |place| place + 1));
        place.is_none()
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], plan: &'a Plan) -> Self {
        Self {
            left: bytes,
            plan,
            table: None,
            texts: Vec::new(),
            values: Vec::new(),
            vars: Vec::new(),
            results: Vec::new(),
            bounds: Vec::new(),
            depth: 0,
            failed: false,
        }
    }

    /// The bytes make no sense.
    pub(super) fn fail(&mut self) {
        self.failed = true;
        self.left = &[];
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// How many bytes have not been read.
    pub(super) fn left(&self) -> usize {
        self.left.len()
    }

    pub(super) fn byte(&mut self) -> u8 {
        match self.left.split_first() {
            Some((byte, left)) => {
                self.left = left;
                *byte
            }
            None => {
                self.fail();
                0
            }
        }
    }

    pub(super) fn number(&mut self) -> u64 {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte();
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return number;
            }
        }
        self.fail();
        0
    }

    /// A number that fits.
    pub(super) fn fitting<T: TryFrom<u64> + Default>(&mut self) -> T {
        T::try_from(self.number()).unwrap_or_else(|_| {
            self.fail();
            T::default()
        })
    }

    /// Something that has to be there.
    pub(super) fn known<T>(&mut self, thing: Option<T>) -> Option<T> {
        if thing.is_none() {
            self.fail();
        }
        thing
    }

    /// The place of one of so many things.
    pub(super) fn place(&mut self, of: usize) -> usize {
        let place = usize::read(self);
        if place < of {
            return place;
        }
        self.fail();
        0
    }

    /// How many things follow, each of at least a byte.
    pub(super) fn count(&mut self) -> usize {
        let count = usize::read(self);
        if count <= self.left() {
            return count;
        }
        self.fail();
        0
    }

    pub(super) fn bytes(&mut self) -> &'a [u8] {
        let count = self.count();
        let (bytes, left) = self.left.split_at(count);
        self.left = left;
        bytes
    }

    pub(super) fn text(&mut self) -> &'a str {
        std::str::from_utf8(self.bytes()).unwrap_or_else(|_| {
            self.fail();
            ""
        })
    }

    /// Goes one level deeper, for what may hold its own kind.
    pub(super) fn deeper<T>(&mut self, nothing: T, inner: impl FnOnce(&mut Self) -> T) -> T {
        self.depth += 1;
        let read = if self.depth > DEPTH {
            self.fail();
            nothing
        } else {
            inner(self)
        };
        self.depth -= 1;
        read
    }
}
