//! One section or a tuple of sections.

use super::assembly::Assembly;
use super::schema::Table;
use super::section::Section;

/// One [`Section`] or a tuple of up to twelve: what one load gives.
///
/// Implemented for every section and every such tuple; nothing else can implement it.
pub trait Sections: Sized + sealed::Parts {}

impl<S: sealed::Parts> Sections for S {}

pub(crate) mod sealed {
    use super::{Assembly, Table};

    pub trait Parts: Sized {
        #[doc(hidden)]
        fn describe(into: &mut Vec<Table>);

        #[doc(hidden)]
        fn build(assembly: &mut Assembly<'_>) -> Option<Self>;
    }
}

impl<S: Section> sealed::Parts for S {
    fn describe(into: &mut Vec<Table>) {
        into.push(Table::of::<S>());
    }

    fn build(assembly: &mut Assembly<'_>) -> Option<Self> {
        assembly.section()
    }
}

macro_rules! tuple {
    ($($name:ident)+) => {
        impl<$($name: Section),+> sealed::Parts for ($($name,)+) {
            fn describe(into: &mut Vec<Table>) {
                $(into.push(Table::of::<$name>());)+
            }

            #[expect(non_snake_case, reason = "one name for the type and its value")]
            fn build(assembly: &mut Assembly<'_>) -> Option<Self> {
                // Every section is built before the first failure is looked at: all problems.
                $(let $name = assembly.section::<$name>();)+
                Some(($($name?,)+))
            }
        }
    };
}

tuple!(A);
tuple!(A B);
tuple!(A B C);
tuple!(A B C D);
tuple!(A B C D E);
tuple!(A B C D E F);
tuple!(A B C D E F G);
tuple!(A B C D E F G H);
tuple!(A B C D E F G H I);
tuple!(A B C D E F G H I J);
tuple!(A B C D E F G H I J K);
tuple!(A B C D E F G H I J K L);
