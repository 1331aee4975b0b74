"""An HTTP server that gives the bytes that a test says, at once or one by one."""

import contextlib
import re
import socket
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def answering(*answers: bytes, pause: float = 0.0) -> Iterator[str]:
    """An address at which each connection gets the next of some answers, byte by byte if there is a pause."""
    done = threading.Event()

    def serve():
        for answer in answers:
            caller, _ = listener.accept()
            with caller, contextlib.suppress(OSError):
                request = caller.recv(1 << 16)
                head, _, body = request.partition(b"\r\n\r\n")
                if length := re.search(rb"Content-Length: (\d+)", head):
                    while len(body) < int(length[1]):
                        body += caller.recv(1 << 16)
                for i in range(len(answer)) if pause else ():
                    caller.sendall(answer[i : i + 1])
                    if done.wait(pause):
                        return
                if not pause:
                    caller.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            done.set()
            thread.join()
