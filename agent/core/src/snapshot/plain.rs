//! Numbers, text and collections, as every type of a snapshot is made of them.

use std::collections::VecDeque;
use std::sync::Arc;

use openclaw_protocol::ordered::{VecMap, VecSet};

use super::bytes::{Reader, SIZE_MOST, Stored, Writer};

impl Stored for () {
    fn write(&self, _to: &mut Writer) {}

    fn read(_from: &mut Reader<'_>) -> Self {}
}

impl Stored for bool {
    fn write(&self, to: &mut Writer) {
        to.byte(u8::from(*self));
    }

    fn read(from: &mut Reader<'_>) -> Self {
        let byte = from.byte();
        if byte > 1 {
            from.fail();
        }
        byte == 1
    }
}

impl Stored for u8 {
    fn write(&self, to: &mut Writer) {
        to.byte(*self);
    }

    fn read(from: &mut Reader<'_>) -> Self {
        from.byte()
    }
}

macro_rules! numbers {
    ($($type:ty),*) => {
        $(impl Stored for $type {
            fn write(&self, to: &mut Writer) {
                to.number(u64::from(*self));
            }

            fn read(from: &mut Reader<'_>) -> Self {
                from.fitting()
            }
        })*
    };
}
numbers!(u16, u32, u64);

impl Stored for i64 {
    fn write(&self, to: &mut Writer) {
        // Small numbers of either sign are short.
        to.number(((self << 1) ^ (self >> 63)).cast_unsigned());
    }

    fn read(from: &mut Reader<'_>) -> Self {
        let number = from.number();
        (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
    }
}

impl Stored for usize {
    fn write(&self, to: &mut Writer) {
        if *self as u64 > SIZE_MOST {
            to.fail();
        }
        to.count(*self);
    }

    fn read(from: &mut Reader<'_>) -> Self {
        let number = from.number();
        if number > SIZE_MOST {
            from.fail();
            return 0;
        }
        usize::try_from(number).unwrap_or(0)
    }
}

impl Stored for String {
    fn write(&self, to: &mut Writer) {
        to.text(self);
    }

    fn read(from: &mut Reader<'_>) -> Self {
        from.text().to_owned()
    }
}

/// Keys of scopes, mostly, and each of them many times: written once, then by number.
impl Stored for Arc<str> {
    fn write(&self, to: &mut Writer) {
        if let Some(number) = to.texts.get(self) {
            let number = *number;
            return to.number(number);
        }
        let number = to.texts.len() as u64 + 1;
        to.texts.insert(Arc::clone(self), number);
        to.number(0);
        to.text(self);
    }

    fn read(from: &mut Reader<'_>) -> Self {
        let place = from.place(from.texts.len() + 1);
        if let Some(known) = place.checked_sub(1).and_then(|place| from.texts.get(place)) {
            return Arc::clone(known);
        }
        let text: Self = from.text().into();
        from.texts.push(Arc::clone(&text));
        text
    }
}

impl<T: Stored> Stored for Box<T> {
    fn write(&self, to: &mut Writer) {
        (**self).write(to);
    }

    fn read(from: &mut Reader<'_>) -> Self {
        Self::new(T::read(from))
    }
}

impl<T: Stored> Stored for Option<T> {
    fn write(&self, to: &mut Writer) {
        self.is_some().write(to);
        if let Some(inner) = self {
            inner.write(to);
        }
    }

    fn read(from: &mut Reader<'_>) -> Self {
        bool::read(from).then(|| T::read(from))
    }
}

impl<T: Stored, E: Stored> Stored for Result<T, E> {
    fn write(&self, to: &mut Writer) {
        self.is_ok().write(to);
        match self {
            Ok(value) => value.write(to),
            Err(error) => error.write(to),
        }
    }

    fn read(from: &mut Reader<'_>) -> Self {
        if bool::read(from) { Ok(T::read(from)) } else { Err(E::read(from)) }
    }
}

impl<A: Stored, B: Stored> Stored for (A, B) {
    fn write(&self, to: &mut Writer) {
        self.0.write(to);
        self.1.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Self {
        (A::read(from), B::read(from))
    }
}

impl<T: Stored> Stored for Vec<T> {
    fn write(&self, to: &mut Writer) {
        to.count(self.len());
        for item in self {
            item.write(to);
        }
    }

    fn read(from: &mut Reader<'_>) -> Self {
        let mut list = Self::new();
        for _ in 0..from.count() {
            list.push(T::read(from));
            if from.has_failed() {
                break;
            }
        }
        list
    }
}

impl<T: Stored> Stored for VecDeque<T> {
    fn write(&self, to: &mut Writer) {
        to.count(self.len());
        for item in self {
            item.write(to);
        }
    }

    fn read(from: &mut Reader<'_>) -> Self {
        Vec::read(from).into()
    }
}

impl<K: Stored + Ord, V: Stored> Stored for VecMap<K, V> {
    fn write(&self, to: &mut Writer) {
        to.count(self.len());
        for (key, value) in self {
            key.write(to);
            value.write(to);
        }
    }

    fn read(from: &mut Reader<'_>) -> Self {
        let mut map = Self::new();
        for _ in 0..from.count() {
            let (key, value) = Stored::read(from);
            // In order, or not what was written; but other places have another order.
            if from.table.is_none() && map.last_key_value().is_some_and(|(last, _)| *last >= key) {
                from.fail();
            }
            if from.has_failed() {
                break;
            }
            map.insert(key, value);
        }
        map
    }
}

impl<T: Stored + Ord> Stored for VecSet<T> {
    fn write(&self, to: &mut Writer) {
        to.count(self.len());
        for member in self {
            member.write(to);
        }
    }

    fn read(from: &mut Reader<'_>) -> Self {
        let mut set = Self::new();
        for _ in 0..from.count() {
            let member = T::read(from);
            if from.has_failed() {
                break;
            }
            set.insert(member);
        }
        set
    }
}
