# Runs the whole of cloud-init in one process, without what a NoCloud seed never needs.
#
# Imports are most of cloud-init's time under emulation. It copes with the absence of its optional parts (schema
# validator, template engine, serial ports, OAuth, SELinux, which it looks for at each file), so these are declared
# absent. It imports its HTTP client always and calls it never here: an empty module takes that place.
import ctypes
import gc
import logging
import os
import socket
import sys
import types

gc.disable()


class Hollow(types.ModuleType):
    """A module in which every name is an exception class: enough for `except` clauses and signatures."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Exception,), {})


for absent in ("jsonschema", "jinja2", "netifaces", "oauthlib", "selinux", "serial"):
    sys.modules[absent] = None
sys.modules["requests"] = Hollow("requests")
sys.modules["requests"].exceptions = Hollow("requests.exceptions")
sys.modules["requests.exceptions"] = sys.modules["requests"].exceptions

# The same library's parser and writer in C: ten times as quick on a seed of tens of kilobytes.
import yaml

import yaml.dumper

yaml.SafeLoader = yaml.CSafeLoader
yaml.SafeDumper = yaml.dumper.SafeDumper = yaml.CSafeDumper

sys.argv = ["cloud-init"] + (sys.argv[1:] or ["init", "--local"])
from cloudinit import subp, util
from cloudinit.cmd.main import main

libc = ctypes.CDLL(None)
READ_ONLY = 1
run = subp.subp


def without_a_program(args, *others, **named):
    """A program where it takes one: for these it takes a call of the kernel, and each program a tenth of a second."""
    match [os.fsdecode(word) for word in args] if isinstance(args, list) else args:
        case ["mount", "-o", "ro", "-t", "auto", device, folder]:
            done = libc.mount(device.encode(), folder.encode(), b"vfat", READ_ONLY, None) == 0
        case ["umount", folder]:
            done = libc.umount(folder.encode()) == 0
        case ["hostname", name]:
            socket.sethostname(name)
            done = True
        case _:
            done = False
    return ("", "") if done else run(args, *others, **named)


subp.subp = without_a_program

# A machine that is saved to be resumed as many has no seed yet: its seed's disk says so, and nothing else on it.
WAITS = b"calicolab: a machine that waits for its seed\n"


def waits(disk):
    """Whether the seed of this machine is still to come."""
    try:
        # Without a buffer, and closed again: what was read is forgotten, for the disk's content will change.
        with open(disk, "rb", buffering=0) as seed:
            return seed.read(len(WAITS)) == WAITS
    except OSError:
        return False


disks = {}
for name in os.listdir("/sys/block"):
    try:
        with open(f"/sys/block/{name}/serial") as serial:
            disks[serial.read().strip()] = f"/dev/{name}"
    except OSError:
        continue


def seed(*_, **__):
    """Where cloud-init looks for its seed. Known by its serial: blkid would be called five times to look for it by type
    and by label. A machine that has none yet waits for it here, when all is done that is the same for every seed."""
    if waits(disks["seed"]):
        import resumed

        resumed.wait(disks["seed"], waits, disks.get("payload"))
    return [disks["seed"]]


if "seed" in disks:
    util.find_devs_with = seed

code = main()
if not code:
    # Later boots of the same machine need nothing from cloud-init: its unit asks for this.
    open("/var/lib/cloud/instance/boot-finished", "w").close()
# All that was imported is left to the kernel: taken down piece by piece it takes as long as a program.
logging.shutdown()
sys.stdout.flush()
sys.stderr.flush()
os._exit(code or 0)
