//! A list that only grows at its end, cheap to copy: copies share all but the page that changes.

use std::iter::FlatMap;
use std::slice;
use std::sync::Arc;

const PAGE: usize = 512;

/// A list in pages of 512. A copy of a list of a million is a copy of two thousand pointers.
#[derive(Debug)]
pub(crate) struct Pages<T> {
    pages: Vec<Arc<Vec<T>>>,
}

// Derived, they would ask more of `T`.
impl<T> Clone for Pages<T> {
    fn clone(&self) -> Self {
        Self { pages: self.pages.clone() }
    }
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self { pages: Vec::new() }
    }
}

impl<T> Pages<T> {
    pub(crate) fn len(&self) -> usize {
        self.pages.last().map_or(0, |last| (self.pages.len() - 1) * PAGE + last.len())
    }

    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        self.pages.get(index / PAGE)?.get(index % PAGE)
    }

    pub(crate) fn last(&self) -> Option<&T> {
        self.pages.last()?.last()
    }

    pub(crate) fn iter(&self) -> Iter<'_, T> {
        self.pages.iter().flat_map(|page| page.iter())
    }
}

/// The values of a list, in order.
pub(crate) type Iter<'a, T> = FlatMap<
    slice::Iter<'a, Arc<Vec<T>>>,
    slice::Iter<'a, T>,
    fn(&'a Arc<Vec<T>>) -> slice::Iter<'a, T>,
>;

impl<'a, T> IntoIterator for &'a Pages<T> {
    type Item = &'a T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T: Clone> Pages<T> {
    pub(crate) fn push(&mut self, value: T) {
        match self.pages.last_mut().filter(|last| last.len() < PAGE) {
            Some(last) => Arc::make_mut(last).push(value),
            None => self.pages.push(Arc::new(vec![value])),
        }
    }

    /// Replaces a value; an index past the end does nothing.
    pub(crate) fn set(&mut self, index: usize, value: T) {
        let page = self.pages.get_mut(index / PAGE).map(Arc::make_mut);
        if let Some(place) = page.and_then(|page| page.get_mut(index % PAGE)) {
            *place = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_keeps_what_it_was_and_shares_the_rest() {
        let mut list = Pages::default();
        (0..2000).for_each(|n| list.push(n));
        let copy = list.clone();
        list.push(2000);
        list.set(3, 9);
        list.set(9999, 0);
        assert_eq!((copy.len(), list.len()), (2000, 2001));
        assert_eq!((copy.get(3), list.get(3), list.get(2001)), (Some(&3), Some(&9), None));
        assert_eq!((copy.last(), list.last()), (Some(&1999), Some(&2000)));
        assert!(copy.iter().copied().eq(0..2000));
        let shared = list.pages.iter().zip(&copy.pages);
        assert_eq!(shared.filter(|(a, b)| Arc::ptr_eq(a, b)).count(), 2);
    }
}
