"""See to it that the widget tests have a screen: on Linux without one they need Xvfb and Qt's libraries.

Installs the packages where it may (Debian or Ubuntu, as root); elsewhere says in a sentence what is missing.
"""

import ctypes.util
import os
import shutil
import subprocess
import sys

LIBRARIES = {
    "EGL": "libegl1",
    "GL": "libgl1",
    "dbus-1": "libdbus-1-3",
    "X11-xcb": "libx11-xcb1",
    "fontconfig": "libfontconfig1",
    "glib-2.0": "libglib2.0-0",
    "xcb-cursor": "libxcb-cursor0",
    "xcb-icccm": "libxcb-icccm4",
    "xcb-image": "libxcb-image0",
    "xcb-keysyms": "libxcb-keysyms1",
    "xcb-randr": "libxcb-randr0",
    "xcb-render-util": "libxcb-render-util0",
    "xcb-shape": "libxcb-shape0",
    "xcb-xfixes": "libxcb-xfixes0",
    "xcb-xinerama": "libxcb-xinerama0",
    "xkbcommon-x11": "libxkbcommon-x11-0",
}


def missing_packages() -> list[str]:
    """Debian packages that are needed and not there."""
    if not sys.platform.startswith("linux") or os.environ.get("DISPLAY"):
        return []
    missing = [package for name, package in LIBRARIES.items() if ctypes.util.find_library(name) is None]
    return missing if shutil.which("Xvfb") else ["xvfb", *missing]


def main() -> int:
    """Install what is missing, or say it."""
    missing = missing_packages()
    if not missing:
        return 0
    command = f"apt-get install -y {' '.join(missing)}"
    if shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-q"], check=False)
        subprocess.run(
            [*command.split(), "-q"], check=False, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        )
        missing = missing_packages()
    if missing:
        print(f"The widget tests need a virtual screen; on Debian or Ubuntu: sudo {command}", file=sys.stderr)
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main())
