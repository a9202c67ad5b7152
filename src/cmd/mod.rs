//! The stories, each readable from top to bottom.

pub mod bring;
pub mod cache;
pub mod cx;
pub mod doctor;
pub mod down;
pub mod draft;
pub mod fetch;
pub mod kept;
pub mod labs;
pub mod lock;
pub mod logs;
pub mod ls;
pub mod mirror;
pub mod needs;
pub mod pack;
pub mod plan;
pub mod power;
pub mod shell;
pub mod ssh;
pub mod status;
mod table;
pub mod unpack;
pub mod up;
pub mod verify;
