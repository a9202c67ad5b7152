//! Readers of the events: bars, lines, JSON; and the tables on standard output.
