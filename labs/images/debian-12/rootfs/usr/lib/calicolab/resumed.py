# One machine, saved while it waits here, is resumed as many; each is made its own before it reads its seed, and is then
# what it would be had it booted with it.
import fcntl
import hashlib
import importlib
import mmap
import os
import random
import signal
import struct
import subprocess
import tarfile
import time
import uuid

from cloudinit import util

# What cloud-init imports once it has a seed. Whatever is missing here is imported then, as ever.
LATER = (
    "sources.DataSourceNoCloud",
    "distros.debian",
    "handlers.boot_hook",
    "handlers.cloud_config",
    "handlers.jinja_template",
    "handlers.shell_script",
    "handlers.shell_script_by_frequency",
    "config.cc_write_files",
    "config.cc_set_hostname",
    "config.cc_users_groups",
    "config.cc_ssh",
    "config.cc_runcmd",
    "config.cc_scripts_user",
    "mergers.m_dict",
    "mergers.m_list",
    "mergers.m_str",
)
# What it asks once of the machine, by programs, and remembers.
ASKED_ONCE = ("is_container", "system_info")


# What this machine has unpacked and hashed, as sha256sum says it. In memory: what boots has hashed nothing.
UNPACKED = "/run/calicolab/unpacked.sha256"


def wait(disk, waits, payload):
    """Returns in a machine of its own."""
    for name in LATER:
        try:
            importlib.import_module(f"cloudinit.{name}")
        except ImportError:
            pass
    for question in ASKED_ONCE:
        getattr(util, question)()
    if payload:
        unpack(payload)
    with open("/etc/machine-id") as own:
        old = own.read().strip()
    # What boots from this disk instead of being resumed is to have one of its own, too.
    with open("/etc/machine-id", "w"):
        pass
    os.sync()
    say("CALICOLAB-WAITS")
    while waits(disk):
        time.sleep(0.05)
    try:
        draw_anew(disk)
        set_clock()
        name_anew(old)
        cards()
    except Exception as error:
        # Nobody can log in to ask.
        say(f"this machine could not be resumed: {error!r}")
        raise


def unpack(payload):
    """All that nodes get, in its place before anyone is a node. Whoever it becomes removes what others get."""
    os.makedirs(os.path.dirname(UNPACKED), exist_ok=True)
    with open(payload, "rb", buffering=0) as device, tarfile.open(fileobj=device, mode="r:") as archive:
        with open(UNPACKED, "w") as unpacked:
            for member in archive:
                unpacked.write(f"{copy(payload, member)}  {member.name}\n")


def copy(payload, member):
    """One file, and its digest. Past the kernel's own copies, which would be saved with the memory and brought back."""
    digest, left, at = hashlib.sha256(), member.size, member.offset_data
    path = f"/{member.name}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    source = os.open(payload, os.O_RDONLY | os.O_DIRECT)
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_DIRECT, 0o600)
    with mmap.mmap(-1, 1 << 20) as room, memoryview(room) as bytes:
        while left > 0:
            part = min(os.preadv(source, [room], at), left)
            digest.update(bytes[:part])
            # By whole blocks; what is too much is cut off below.
            os.write(target, bytes[: -(-part // 4096) * 4096])
            left, at = left - part, at + part
    os.ftruncate(target, member.size)
    os.fchmod(target, member.mode)
    os.utime(target, (member.mtime, member.mtime))
    os.close(target)
    os.close(source)
    return digest.hexdigest()


def say(line):
    with open("/dev/ttyS0", "w") as console:
        console.write(f"{line}\n")


def draw_anew(disk):
    """Random numbers unlike those of any other that was resumed: the seed holds a key that no other machine has."""
    add_entropy, reseed = 0x40085203, 0x5207
    with open(disk, "rb") as seed:
        drawn = hashlib.sha512(seed.read()).digest()
    with open("/dev/urandom", "wb") as pool:
        fcntl.ioctl(pool, add_entropy, struct.pack(f"ii{len(drawn)}s", 256, len(drawn), drawn))
        fcntl.ioctl(pool, reseed)
    random.seed()


def set_clock():
    """By the clock of the board, as the kernel does when it boots; the kernel's own stood still."""
    with open("/sys/class/rtc/rtc0/since_epoch") as clock:
        time.clock_settime(time.CLOCK_REALTIME, int(clock.read()) + 0.5)


def name_anew(old):
    """A machine-id of its own, and the journal under that."""
    new = uuid.uuid4().hex
    with open("/etc/machine-id", "w") as own:
        own.write(f"{new}\n")
    os.rename(f"/run/log/journal/{old}", f"/run/log/journal/{new}")
    # It is begun anew whenever it ends.
    with open("/sys/fs/cgroup/system.slice/systemd-journald.service/cgroup.procs") as journal:
        os.kill(int(journal.readline()), signal.SIGTERM)


def cards():
    """The initrd left them without a driver. What was resumed still has the addresses of the machine that was saved;
    a device that its bus loses and finds again is reset, and has its own."""
    bus = "/sys/bus/virtio/devices"
    for name in sorted(os.listdir(bus)):
        with open(f"{bus}/{name}/device") as kind:
            if int(kind.read(), 16) != 1:
                continue
        slot = os.path.basename(os.path.dirname(os.path.realpath(f"{bus}/{name}")))
        for verb in ("unbind", "bind"):
            with open(f"/sys/bus/pci/drivers/virtio-pci/{verb}", "w") as driver:
                driver.write(slot)
    subprocess.run(["modprobe", "virtio_net"], check=True)
