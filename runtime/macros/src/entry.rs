//! What the two attributes are called.

/// Which of the two attributes is expanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Main,
    Test,
}

impl Entry {
    /// The attribute as users write it.
    pub(crate) fn attribute(self) -> &'static str {
        match self {
            Entry::Main => "#[bourn::main]",
            Entry::Test => "#[bourn::test]",
        }
    }
}
