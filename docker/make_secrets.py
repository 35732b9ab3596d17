"""Makes what compose.yaml needs to know and nobody else should: random secrets in files, once; what is there stays.

`python3 docker/make_secrets.py [DIR]` (default: `secrets` beside this file). The folder is closed to others; the files
in it can be read by whoever gets into it: each container has a user of its own and gets them as they are.
"""

import base64
import hashlib
import secrets
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RANDOM = ("database", "store", "store_root", "grafana", "webhook_token", "gateway_devices", "gateway_liuhen")
"""One random line each."""

RECORDERS = """# Recorders and cameras: docs/guide/README.md. Holds passwords and tokens.
"""
WATCH = """# Apprise addresses, one a line, by which `liuhen watch` tells people by itself who has died, such as
# dingtalk://TOKEN/ or mailto://user:password@example.org?to=duty@example.org
"""


def main(folder: Path) -> int:
    """Make what is missing."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    texts = {name: secrets.token_urlsafe(24) + "\n" for name in RANDOM}
    texts |= {"recorders.toml": RECORDERS, "watch_notify": WATCH}
    for name, text in texts.items():
        _write(folder / name, text)
    gateway = (HERE / "gateway" / "mediamtx.yml").read_text(encoding="utf-8")
    for user in ("devices", "liuhen"):
        gateway = gateway.replace(f"@{user.upper()}@", _hashed((folder / f"gateway_{user}").read_text().strip()))
    _write(folder / "gateway.yml", gateway)
    return 0


def _write(path: Path, text: str) -> None:
    if not path.exists():
        path.write_text(text, encoding="utf-8")
        path.chmod(0o444)
        sys.stdout.write(f"{path}\n")


def _hashed(password: str) -> str:
    return base64.b64encode(hashlib.sha256(password.encode()).digest()).decode()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "secrets"))
