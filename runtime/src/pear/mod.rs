//! The `Pear` global.
