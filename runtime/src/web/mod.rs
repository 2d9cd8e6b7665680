//! What the web platform and Bare have in common: text, URLs, clones, events.
