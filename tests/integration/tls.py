"""Certificates made by the openssl command, and a wire client over Python's ssl: nothing of what is
under test is used to test it.
"""

import os
import pathlib
import socket
import ssl
import subprocess

from conftest import PATIENCE_S, Connection

CA_CONFIG = """[ca]
default_ca = one
[one]
database = {folder}/index
serial = {folder}/serial
new_certs_dir = {folder}
default_md = sha256
policy = any
[any]
commonName = supplied
"""


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Authority:
    """A CA in a folder of its own."""

    def __init__(self, folder, name="ca"):
        self.folder = pathlib.Path(folder) / name
        self.folder.mkdir(parents=True)
        self.certificate = self.folder / "ca.pem"
        self.key = self.folder / "ca.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", self.key, "-out", self.certificate, "-subj", f"/CN={name}",
                "-days", "30", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def leaf(self, name, san, expired=False):
        """(certificate, key) for @san, "DNS:a,IP:b"."""
        base = self.folder / name
        extensions = base.with_suffix(".ext")
        extensions.write_text(f"subjectAltName={san}\nextendedKeyUsage=serverAuth,clientAuth\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", base.with_suffix(".key"), "-out", base.with_suffix(".csr"),
                "-subj", f"/CN={name}")
        if expired:
            config = self.folder / "ca.conf"
            config.write_text(CA_CONFIG.format(folder=self.folder))
            (self.folder / "index").write_text("")
            (self.folder / "serial").write_text("01\n")
            openssl("ca", "-batch", "-config", config, "-in", base.with_suffix(".csr"), "-cert",
                    self.certificate, "-keyfile", self.key, "-out", base.with_suffix(".pem"),
                    "-startdate", "20200101000000Z", "-enddate", "20200201000000Z", "-notext",
                    "-extfile", extensions)
        else:
            openssl("x509", "-req", "-in", base.with_suffix(".csr"), "-CA", self.certificate,
                    "-CAkey", self.key, "-CAcreateserial", "-out", base.with_suffix(".pem"),
                    "-days", "10", "-extfile", extensions)
        return base.with_suffix(".pem"), base.with_suffix(".key")


def client_context(ca, pair=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca)
    if pair is not None:
        context.load_cert_chain(*pair)
    return context


class TlsConnection(Connection):
    """A Connection through TLS."""

    def __init__(self, wire, port, context, name="localhost"):
        super().__init__(wire, f"tcp:127.0.0.1:{port}")
        self.socket = context.wrap_socket(self.socket, server_hostname=name)


class Raw:
    """A TCP connection that has said nothing yet."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)


def replace(path, source):
    """Put a copy of @source in place of @path, in one step."""
    fresh = pathlib.Path(f"{path}.fresh")
    fresh.write_bytes(pathlib.Path(source).read_bytes())
    os.chmod(fresh, 0o600)
    os.replace(fresh, path)
