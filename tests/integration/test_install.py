"""libpawl as its users find it: installed somewhere, found by pkg-config and by CMake."""

import os
import subprocess

import pytest

from conftest import BUILD

pytestmark = pytest.mark.release

PROGRAM = r"""
#include <pawl/pawl.h>
#include <stdio.h>

int main(void)
{
    struct pawl_client *client = NULL;

    if (pawl_client_create(NULL, &client, NULL, 0) != PAWL_RC_OK) {
        return 1;
    }
    pawl_client_destroy(client);
    puts("linked");
    return 0;
}
"""
CMAKE = """\
cmake_minimum_required(VERSION 3.16)
project(consumer C)
find_package(pawl REQUIRED)
add_executable(consumer consumer.c)
target_link_libraries(consumer pawl::pawl)
"""


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    prefix = tmp_path_factory.mktemp("prefix")
    run("cmake", "--install", BUILD, "--prefix", prefix)
    return prefix


def test_pkg_config_finds_it_wherever_it_was_put(installed, tmp_path):
    where = next(installed.rglob("pawl.pc")).parent
    environment = dict(os.environ, PKG_CONFIG_PATH=str(where))
    flags = run("pkg-config", "--cflags", "--libs", "pawl", env=environment).split()
    (tmp_path / "consumer.c").write_text(PROGRAM)
    run("cc", "-Wall", "-Wextra", "-Werror", tmp_path / "consumer.c", "-o", tmp_path / "consumer",
        *flags)
    libraries = next(installed.rglob("libpawl.so")).parent
    assert run(tmp_path / "consumer", env=dict(os.environ, LD_LIBRARY_PATH=str(libraries))) \
        == "linked\n"


def test_cmake_finds_it_wherever_it_was_put(installed, tmp_path):
    (tmp_path / "consumer.c").write_text(PROGRAM)
    (tmp_path / "CMakeLists.txt").write_text(CMAKE)
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={installed}")
    run("cmake", "--build", tmp_path / "build")
    assert run(tmp_path / "build" / "consumer") == "linked\n"


def test_the_library_has_a_soname_and_hides_what_is_not_its_interface(installed):
    library = next(installed.rglob("libpawl.so"))
    assert "libpawl.so.0" in run("objdump", "-p", library)
    names = [line.split()[-1] for line in run("nm", "-D", "--defined-only", library).splitlines()]
    assert all(name.startswith(("pawl_", "PAWL_")) for name in names), names


def test_the_header_is_fine_for_cxx_too(installed, tmp_path):
    (tmp_path / "consumer.cc").write_text(PROGRAM)
    run("c++", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", tmp_path / "consumer.cc",
        f"-I{installed / 'include'}")
