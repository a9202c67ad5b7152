//! The stories, each readable from top to bottom.

pub mod bring;
pub mod bundle;
pub mod cx;
pub mod doctor;
pub mod down;
pub mod draft;
pub mod explain;
pub mod fault;
pub mod kept;
pub mod labs;
pub mod lock;
pub mod logs;
pub mod ls;
pub mod page;
pub mod plan;
pub mod power;
pub mod shell;
pub mod ssh;
pub mod status;
mod table;
pub mod up;
pub mod verify;
