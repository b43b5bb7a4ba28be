"""Beginnings of files that are neither arrays nor weights, and how a message calls each (regular expressions)."""

_LFS, _ANNEX = "a pointer of Git LFS .run `git lfs pull`", "a pointer of git-annex .run `git annex get`"
KINDS = {
    "html": (b"<!doctype html>\n<html>", "an HTML page"),
    "html_line": (b"\n<!DOCTYPE html><html>", "an HTML page"),
    "html_utf16": ("<html>".encode("utf-16"), "an HTML page"),
    "html_bom": (b"\xef\xbb\xbf  \n<HTML><body>", "an HTML page"),
    "xml": (b"<?xml version='1.0'?><Error>", "an XML text"),
    "lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n",
        _LFS,
    ),
    "annex": (b"/annex/objects/SHA256E-s12--abc.pth\n", _ANNEX),
    "annex_link": (
        b"../../.git/annex/objects/Jx/1/SHA256E-s12--abc.pth",
        _ANNEX,
    ),
    "json": (b'{"error": "rate limit"}', "a JSON text"),
    "json_list": (b'[{"error": 1}]', "a JSON text"),
    "text": (b"Access denied", "a text that begins 'Access denied'"),
    "gzip": (b"\x1f\x8b\x08" + b"\x00" * 40, "compressed by gzip"),
    "xz": (b"\xfd7zXZ\x00" + b"x" * 40, "compressed by xz"),
    "bzip2": (b"BZh91AY", "compressed by bzip2"),
    "zstd": (b"\x28\xb5\x2f\xfd" + b"x" * 40, "compressed by zstd"),
    "rar": (b"Rar!\x1a\x07\x01\x00", "a RAR archive"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + b"x" * 40, "a 7z archive"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + b"x" * 40, "an HDF5 file"),
    "png": (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    "zeros": (b"\x00" * 5000, "nothing but zeros"),
}
