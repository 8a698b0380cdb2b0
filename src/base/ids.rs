//! Generational ids: the owner stores the values, everyone else holds ids; a stale id resolves to nothing.

use std::fmt;
use std::marker::PhantomData;

/// Identifies a value of a [`Table`] for as long as it lives.
pub struct Id<T> {
    slot: u32,
    gen_: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Id<T> {}
impl<T> PartialEq for Id<T> {
    fn eq(&self, o: &Self) -> bool {
        (self.slot, self.gen_) == (o.slot, o.gen_)
    }
}
impl<T> Eq for Id<T> {}
impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, o: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(o))
    }
}
impl<T> Ord for Id<T> {
    fn cmp(&self, o: &Self) -> std::cmp::Ordering {
        (self.slot, self.gen_).cmp(&(o.slot, o.gen_))
    }
}
impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.gen_)
    }
}

/// Owner of all values `T`, at most `cap`. Removing a value frees its memory; only a slot of a few bytes
/// remains. `K` is a separate id type for holders that must not depend on `T`.
#[derive(Debug)]
pub struct Table<T, K = T> {
    slots: Vec<(u32, Option<Box<T>>)>,
    free: Vec<u32>,
    cap: usize,
    of: PhantomData<fn() -> K>,
}

impl<T, K> Table<T, K> {
    /// A table of at most `cap` values.
    #[must_use]
    pub fn new(cap: usize) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), cap, of: PhantomData }
    }

    /// Stores `v`, or returns it if the table is full.
    pub fn insert(&mut self, v: T) -> Result<Id<K>, T> {
        match self.reserve() {
            Some(id) => {
                self.store(id, v);
                Ok(id)
            }
            None => Err(v),
        }
    }

    /// Stores the value that `make` builds from its id; `None` if the table is full.
    pub fn insert_with(&mut self, make: impl FnOnce(Id<K>) -> T) -> Option<Id<K>> {
        let id = self.reserve()?;
        self.store(id, make(id));
        Some(id)
    }

    fn reserve(&mut self) -> Option<Id<K>> {
        if let Some(slot) = self.free.pop()
            && let Some(s) = self.slots.get(slot as usize)
        {
            return Some(Id { slot, gen_: s.0, of: PhantomData });
        }
        let slot = u32::try_from(self.slots.len()).ok().filter(|_| self.slots.len() < self.cap)?;
        self.slots.push((0, None));
        Some(Id { slot, gen_: 0, of: PhantomData })
    }

    fn store(&mut self, id: Id<K>, v: T) {
        if let Some(s) = self.slots.get_mut(id.slot as usize) {
            s.1 = Some(Box::new(v));
        }
    }

    /// The value under `id`, unless it has been removed.
    #[must_use]
    pub fn get(&self, id: Id<K>) -> Option<&T> {
        self.slots.get(id.slot as usize).filter(|s| s.0 == id.gen_)?.1.as_deref()
    }

    /// The value under `id`, unless it has been removed.
    pub fn get_mut(&mut self, id: Id<K>) -> Option<&mut T> {
        self.slots.get_mut(id.slot as usize).filter(|s| s.0 == id.gen_)?.1.as_deref_mut()
    }

    /// Removes the value and makes `id` stale.
    pub fn remove(&mut self, id: Id<K>) -> Option<T> {
        let s = self.slots.get_mut(id.slot as usize).filter(|s| s.0 == id.gen_)?;
        let v = s.1.take()?;
        s.0 = s.0.wrapping_add(1);
        self.free.push(id.slot);
        Some(*v)
    }

    /// Live values with their ids, in slot order.
    pub fn iter(&self) -> impl Iterator<Item = (Id<K>, &T)> {
        (0u32..)
            .zip(&self.slots)
            .filter_map(|(slot, (gen_, v))| Some((Id { slot, gen_: *gen_, of: PhantomData }, v.as_deref()?)))
    }

    /// Number of live values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// True without live values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_id_finds_nothing() {
        let mut t: Table<&str> = Table::new(2);
        let a = t.insert_with(|_| "a").unwrap();
        let b = t.insert("b").unwrap();
        assert_eq!((t.insert("c"), t.insert_with(|_| "c")), (Err("c"), None));
        assert_eq!(t.remove(a), Some("a"));
        assert_eq!(t.remove(a), None);
        let c = t.insert("c").unwrap();
        assert_eq!(t.get(a), None);
        assert_eq!((t.get(b), t.get(c), t.len()), (Some(&"b"), Some(&"c"), 2));
        assert_eq!(t.iter().map(|(_, v)| *v).collect::<Vec<_>>(), ["c", "b"]);
    }
}
