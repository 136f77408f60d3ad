"""`python -m tests.kubernetes`: a control plane to try things on, until Ctrl-C; prints its kubeconfig."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from pathlib import Path

from huidu.foundation.workspace import Workspace
from infra.toolchain import control_plane, crds
from tests.kubernetes.standing import standing


def main() -> None:
    workspace = Workspace.from_env()
    programs, definitions = control_plane.find(workspace), crds.find(workspace)
    if programs is None or definitions is None:
        sys.exit("the control plane is not built: huidu doctor --obtain --kubernetes")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="huidu-kubernetes-"))
    try:
        with standing(folder, programs.path.parent, definitions.path) as plane:
            print(plane.kubeconfig, flush=True)
            signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        shutil.rmtree(folder, ignore_errors=True)


main()
