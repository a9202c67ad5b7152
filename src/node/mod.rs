//! What runs on a node: how it is asked, and its answer as a value; pure.
