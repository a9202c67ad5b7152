//! Parts tried with the real programs they speak to: one test binary.

mod archive;
mod cli;
mod cloud_init;
mod coreos;
mod download;
mod flap;
mod hello;
mod image;
mod member;
mod os_image;
mod proof;
mod registry;
mod ssh;
mod ssh_put;
mod ssh_trust;
mod support;
mod tidy;
