//! QEMU without root or daemon.
