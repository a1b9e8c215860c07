"""libnftables in this process (0.5 ms a transaction, measured; starting `nft` takes 21 ms)."""

from __future__ import annotations

import ctypes

NAMES = ("libnftables.so.1", "libnftables.so")
STATELESS = 1 << 2  # NFT_CTX_OUTPUT_STATELESS (nftables/libnftables.h): nothing that changes by itself


class Missing(Exception):
    """The library is not on this machine."""


class Library:
    """One context of libnftables; it belongs to the network namespace of the thread that made it.

    Raises:
        Missing: the library is not there.
    """

    def __init__(self) -> None:
        self._lib = _load()
        self._context = ctypes.c_void_p(self._lib.nft_ctx_new(0))
        self._lib.nft_ctx_buffer_output(self._context)
        self._lib.nft_ctx_buffer_error(self._context)

    def close(self) -> None:
        """Give the context back."""
        self._lib.nft_ctx_free(self._context)

    def run(self, text: str, *, stateless: bool = False) -> tuple[str, str]:
        """Run commands as one transaction; give its output and its error (empty: done).

        Args:
            text: in nft's words.
            stateless: list no counts, and no times.
        """
        self._lib.nft_ctx_output_set_flags(self._context, STATELESS if stateless else 0)
        status = self._lib.nft_run_cmd_from_buffer(self._context, text.encode())
        output = self._lib.nft_ctx_get_output_buffer(self._context) or b""
        error = self._lib.nft_ctx_get_error_buffer(self._context) or b""
        return output.decode(errors="replace"), (error.decode(errors="replace") or "refused") if status else ""


def _load() -> ctypes.CDLL:
    for name in NAMES:
        try:
            lib = ctypes.CDLL(name)
        except OSError:
            continue
        lib.nft_ctx_new.restype = ctypes.c_void_p
        for function in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
            getattr(lib, function).restype = ctypes.c_char_p
            getattr(lib, function).argtypes = [ctypes.c_void_p]
        lib.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        lib.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
        return lib
    raise Missing(f"{NAMES[0]} is not on this machine (Debian: libnftables1)")
