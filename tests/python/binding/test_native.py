"""What is of the extension alone: types, threads, memory, interpreters."""

import gc
import itertools
import os
import subprocess
import sys
import textwrap
import threading
import weakref

import pytest
import rig

from binding_rig import LONG_MS, ask, item, wait_answers
from pawl import _types
from pawl._types import (CheckRequest, HandleOptions, Item, PingRequest, Rate, RefundItem,
                         RefundRequest, RevokeRequest, RotateRequest, StatsRequest, Token,
                         TokenCheckRequest)

CHECK = CheckRequest((item(),))


@pytest.fixture
def backend():
    rig.backend_class("native")
    return "native"


@pytest.fixture
def handle(make_handle, daemon):
    return make_handle(daemon.unix)


# ---- types -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind, request_, text", [
    ("check", PingRequest(), "CheckRequest.*PingRequest"),
    ("check", None, "CheckRequest"),
    ("check", tuple(CHECK), "CheckRequest"),
    ("check", CheckRequest([item()]), "items: a tuple is wanted, not <class 'list'>"),
    ("check", CheckRequest((None,)), r"items\[0\]"),
    ("check", CheckRequest((item(), ("k",))), r"items\[1\]"),
    ("check", CheckRequest((Item("k", (Rate(1, 1),)),)), r"items\[0\].key: a tuple"),
    ("check", CheckRequest((Item(("k",), (Rate(1, 1),)),)), r"items\[0\].key: bytes"),
    ("check", CheckRequest((Item((b"k",), ((1, 1),)),)), r"items\[0\].rates.*Rate"),
    ("check", CheckRequest((Item((b"k",), (Rate("1", 1),)),)), r"rates.count: an int"),
    ("check", CheckRequest((Item((b"k",), (Rate(1, 1.5),)),)), r"rates.window_ms: an int"),
    ("check", CheckRequest((item(limit=b"l"),)), r"items\[0\].limit: a str"),
    ("check", CheckRequest((item(cost=None),)), r"items\[0\].cost: an int"),
    ("check", CHECK._replace(peek=1), "peek: a bool"),
    ("check", CHECK._replace(namespace=b"n"), "namespace: a str"),
    ("check", CHECK._replace(token=("t",)), "token: .*Token"),
    ("token_check", TokenCheckRequest(Token(jti=b"t")), "token.jti: a str"),
    ("token_check", TokenCheckRequest(Token(raw="t")), "token.raw: bytes"),
    ("refund", RefundRequest((item(),)), r"items\[0\].*RefundItem"),
    ("refund", RefundRequest((RefundItem(item(), ("1",)),)), r"items\[0\].charges: an int"),
    ("revoke", RevokeRequest("token", "t"), "value: bytes"),
    ("rotate", RotateRequest(Token(jti="t", sid="s"), 1, generation="1"), "generation: an int"),
])
def test_a_value_of_another_type_is_named(handle, kind, request_, text):
    with pytest.raises(TypeError, match=text):
        getattr(handle, f"submit_{kind}")(request_, LONG_MS)
    assert ask(handle, "check", CHECK).allowed


def test_a_tuple_that_is_too_short_is_no_request(handle):
    class Short(CheckRequest):
        pass
    with pytest.raises(IndexError):
        handle.submit_check(tuple.__new__(Short, ((item(),),)))
    assert ask(handle, "check", CHECK).allowed


@pytest.mark.parametrize("name", ["addresses", "namespace", "name", "tls_ca", "tls_certificate",
                                  "tls_key", "tls_name", "credential_id", "credential_file"])
def test_a_nul_character_inside_an_option_is_refused(make_handle, name):
    with pytest.raises(ValueError, match=f"{name}: a NUL"):
        make_handle(**{"addresses": "unix:/nowhere", name: "a\0b"})


def test_options_of_another_type_are_named(make_handle):
    with pytest.raises(TypeError, match="addresses: a str"):
        make_handle(b"unix:/nowhere")
    with pytest.raises(TypeError, match="credential: bytes"):
        make_handle("unix:/nowhere", credential_id="a", credential="a secret of some length")
    with pytest.raises(TypeError, match="HandleOptions"):
        rig.backend_class("native")("unix:/nowhere")


def test_identifiers_keep_every_byte(handle):
    for name in ("\0", "a\0b", "\u20ac", "\U0001f512", "\udcff", "x" * 128):
        value = name.encode("utf-8", "surrogateescape")
        answer = ask(handle, "revoke", RevokeRequest("token", value))
        assert answer.info.cause == "ok", (ascii(name), answer)
        verdict = ask(handle, "token_check", TokenCheckRequest(Token(jti=name))).token
        assert verdict.status == "revoked", ascii(name)


def test_a_lone_surrogate_is_refused_by_name(handle):
    with pytest.raises(ValueError, match="token.jti: .*surrogate"):
        handle.submit_token_check(TokenCheckRequest(Token(jti="\ud800")))


def test_answers_are_the_named_tuples_of_the_package(handle):
    answer = ask(handle, "check", CHECK._replace(token=Token(jti="t")))
    assert type(answer) is _types.CheckAnswer and type(answer.info) is _types.Info
    assert type(answer.rates[0]) is _types.RateAnswer and type(answer.token) is _types.TokenAnswer
    for value, name in zip(answer.rates[0], _types.RateAnswer._fields):
        annotation = _types.RateAnswer.__annotations__[name]
        assert type(value) is getattr(annotation, "__forward_arg__", annotation), name


def test_another_release_of_the_package_is_not_misread(tmp_path):
    """The extension beside named tuples with a field more: refused with what to do."""
    native = rig.backend_class("native")
    package = tmp_path / "pawl"
    package.mkdir()
    (package / "__init__.py").write_text("")
    for name in ("_types.py", "errors.py"):
        text = (rig.PACKAGE / "pawl" / name).read_text()
        (package / name).write_text(text.replace("    window_ms: int\n",
                                                 "    window_ms: int\n    burst: int = 0\n", 1))
    library = sys.modules[native.__module__].__file__
    os.symlink(library, package / "_native.abi3.so")
    done = subprocess.run([sys.executable, "-c", "import pawl._native"], capture_output=True,
                          text=True, env=dict(os.environ, PYTHONPATH=str(tmp_path)))
    assert done.returncode == 1
    assert "ImportError" in done.stderr and "Rate" in done.stderr
    assert "build the extension again" in done.stderr


# ---- one at a time ---------------------------------------------------------------------------


class AtCollection:
    """Runs something whenever the garbage collector comes by, as finalizers do."""

    def __init__(self, action):
        self.action = action
        self.running = False
        self.results = []

    def __enter__(self):
        self.threshold = gc.get_threshold()
        gc.callbacks.append(self)
        gc.set_threshold(1, 1, 1)
        return self

    def __call__(self, phase, info):
        if phase == "stop" and not self.running:
            self.running = True
            try:
                self.results.append(self.action())
            except BaseException as error:
                self.results.append(error)
            self.running = False

    def __exit__(self, *_):
        gc.set_threshold(*self.threshold)
        gc.callbacks.remove(self)


@pytest.fixture
def small_heap():
    """The collector leaves out what is there already: to walk it for each new object takes minutes
    in a process that has run many tests."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="the collector runs between bytecodes")
def test_what_runs_while_answers_are_made_may_submit_and_cancel_but_not_process(handle,
                                                                                   small_heap):
    ask(handle, "ping", PingRequest())
    submitted, found = [], {}

    def nested():
        try:
            found.update(handle.process())
            return "outside"
        except RuntimeError as error:
            assert "in use" in str(error)
        with pytest.raises(RuntimeError, match="in use"):
            handle.close()
        with pytest.raises(RuntimeError, match="in use"):
            handle.resolve()
        if len(submitted) < 10:
            submitted.append(handle.submit_check(CHECK, LONG_MS))
            submitted.append(handle.submit_check(CHECK, LONG_MS))
            assert handle.cancel(submitted[-1])
        return handle.figures()["in_flight"] + handle.timeout_ms()

    stats = handle.submit_stats(StatsRequest(), LONG_MS)
    handle.flush()
    while stats not in found:
        with AtCollection(nested) as collector:
            batch = handle.process()
        found.update(batch)
    assert not [result for result in collector.results if isinstance(result, Exception)]
    assert any(isinstance(result, int) for result in collector.results), "never ran inside"
    found.update(wait_answers(handle, set(submitted) - set(found)))
    causes = [found[call_id].info.cause for call_id in submitted]
    assert causes == ["ok", "canceled"] * (len(submitted) // 2)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="the collector runs between bytecodes")
def test_a_fork_while_answers_are_made_harms_neither_side(handle, small_heap):
    ask(handle, "ping", PingRequest())
    parent, children = os.getpid(), []

    def nested():
        if os.getpid() != parent or len(children) >= 60:
            return
        pid = os.fork()
        if pid == 0:
            handle.submit_check(CHECK, LONG_MS)  # the first call: forgets the parent's
        else:
            children.append(pid)

    ids = [handle.submit_ping(PingRequest(), LONG_MS) for _ in range(6)]
    found = {}
    while len(found) < len(ids):
        handle.flush()
        pairs = [(i, ids) for i in range(5_000)]  # new ones are not of those that were kept
        with AtCollection(nested):
            batch = handle.process()
        if os.getpid() != parent:
            good = False
            try:
                good = ask(handle, "ping", PingRequest()).info.cause == "ok"
            finally:
                os._exit(0 if good else 1)
        found.update(batch)
    assert len(pairs) and children and [os.waitpid(pid, 0)[1] for pid in children] == [0] * len(children)
    assert sorted(found) == sorted(ids)


def test_threads_that_take_turns_are_served(handle):
    lock = threading.Lock()

    def work(i):
        for _ in range(50):
            with lock:
                assert ask(handle, "check", CheckRequest((item(b"%d" % i),))).info.cause == "ok"
    rig.in_parallel(4, work)
    assert handle.figures()["answers"] == 200


SLOW_LOOKUP = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <unistd.h>

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        dlsym(RTLD_NEXT, "getaddrinfo");
    const char *gate = getenv("SLOW_LOOKUP_GATE");

    while (gate != NULL && access(gate, F_OK) == 0) {
        usleep(1000);
    }
    return next(node, service, hints, found);
}
"""


def test_a_thread_that_enters_during_a_look_up_gets_an_exception_and_others_run_on(tmp_path):
    (tmp_path / "slow.c").write_text(SLOW_LOOKUP)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "slow.so", tmp_path / "slow.c",
                    "-ldl"], check=True)
    program = textwrap.dedent(f"""
        import os, threading, time
        from pawl._native import Handle
        from pawl._types import CheckRequest, HandleOptions, Item, Rate
        handle = Handle(HandleOptions("tcp:localhost:1"))
        gate = {str(tmp_path / 'gate')!r}
        open(gate, "w").close()
        os.environ["SLOW_LOOKUP_GATE"] = gate
        done = []
        thread = threading.Thread(target=lambda: done.append(handle.resolve()))
        thread.start()
        busy = None
        while busy is None:  # this thread runs: the look-up does not hold the GIL
            try:
                handle.figures()
            except RuntimeError as error:
                busy = error
        assert "in use" in str(busy)
        for use in (handle.process, handle.close, handle.fileno, handle.timeout_ms, handle.flush,
                    lambda: handle.cancel(1),
                    lambda: handle.submit_check(CheckRequest((Item((b"k",), (Rate(1, 1),)),)))):
            try:
                use()
            except RuntimeError:
                continue
            raise AssertionError(use)
        pid = os.fork()
        if pid == 0:  # the thread that looks up is not here
            handle.figures()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert not done
        os.remove(gate)
        thread.join()
        assert done == [None]
        handle.close()
        print("good")
    """)
    preload = os.environ.get("LD_PRELOAD", "")
    env = dict(os.environ, LD_PRELOAD=f"{preload} {tmp_path / 'slow.so'}".strip())
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env,
                          timeout=rig.PATIENCE_S)
    assert done.stdout == "good\n", done.stderr


# ---- memory ----------------------------------------------------------------------------------


def test_without_memory_an_answer_says_so_and_none_is_lost(handle):
    """Every allocation of a round fails once: what comes back is an answer or MemoryError."""
    testcapi = pytest.importorskip("_testcapi")
    requests = {"check": CHECK, "token_check": TokenCheckRequest(Token(jti="t")),
                "ping": PingRequest(), "refund": RefundRequest((RefundItem(item()),)),
                "revoke": RevokeRequest("token", b"x"),
                "rotate": RotateRequest(Token(jti="t", sid="s", subject="a", exp_s=1), 1)}
    failures = lost = 0
    for start in itertools.count(1):
        ids = {kind: getattr(handle, f"submit_{kind}")(request, LONG_MS)
               for kind, request in requests.items()}
        handle.flush()
        rig.wait_for(lambda: handle.figures()["in_flight"] == len(ids), "sent")
        found, raised = {}, 0
        while len(found) < len(ids):
            assert handle.figures()["in_flight"] or handle.timeout_ms() == 0, "answers were lost"
            if raised < 20:  # what fails at its first allocation would fail for ever
                testcapi.set_nomemory(start, start + 2)
            try:
                batch = handle.process()
            except MemoryError:
                batch = []
                raised += 1
            finally:
                testcapi.remove_mem_hooks()
            found.update(batch)
        assert sorted(found) == sorted(ids.values())
        for kind, call_id in ids.items():
            answer = found[call_id]
            assert answer.info.cause in ("ok", "no_memory", "invalid"), (kind, answer)
            if answer.info.cause == "no_memory":
                lost += 1
                assert answer.info[0] == "none" and answer.info.effect == "unknown"
                assert getattr(answer, "outcome", "undecided") == "undecided"
                assert getattr(answer, "result", "unavailable") == "unavailable"
        failures += raised
        if start > 400:
            break
    assert lost > 10 and failures > 0, "the failures did not reach the answers"
    assert ask(handle, "check", CHECK).info.source == "daemon"


def test_without_memory_a_submit_raises_and_nothing_is_left_over(handle):
    testcapi = pytest.importorskip("_testcapi")
    request = CheckRequest(tuple(item(b"%d" % i, limit="", tier="premium") for i in range(5)),
                           Token(jti="t", subject="alice"))
    raised = 0
    for start in range(1, 60):
        testcapi.set_nomemory(start, start + 1)
        try:
            handle.submit_check(request, LONG_MS)
        except MemoryError:
            raised += 1
        finally:
            testcapi.remove_mem_hooks()
    assert raised > 5
    rig.wait_for(lambda: handle.process() is not None and handle.figures()["in_flight"] == 0,
                 "all answered")


def test_a_handle_without_memory_is_not_made(daemon):
    testcapi = pytest.importorskip("_testcapi")
    native = rig.backend_class("native")
    options = HandleOptions(daemon.unix, namespace="n", credential_id="i",
                            credential=b"a secret of some length")
    raised = 0
    for start in range(1, 20):
        testcapi.set_nomemory(start, start + 1)
        try:
            native(options)
        except MemoryError:
            raised += 1
        finally:
            testcapi.remove_mem_hooks()
    assert raised > 2


def test_a_handle_in_a_cycle_is_collected_with_its_connection(daemon):
    native = rig.backend_class("native")

    class Owner:
        pass
    for _ in range(3):
        owner = Owner()
        owner.handle = native(HandleOptions(daemon.unix))
        owner.itself = owner
        ask(owner.handle, "check", CHECK)
        owner.handle.submit_check(CHECK, LONG_MS)
        gone = weakref.ref(owner)
        del owner
        gc.collect()
        assert gone() is None
    rig.wait_for(lambda: daemon.status()["edge_sessions"] == 1, "only the status is connected")


# ---- interpreters ----------------------------------------------------------------------------


def test_sub_interpreters_have_their_own(daemon):
    interpreters = pytest.importorskip("_xxsubinterpreters")
    program = textwrap.dedent(f"""
        import sys
        sys.path[:0] = {[str(rig.PACKAGE), str(rig.ROOT / 'tests/python/binding'),
                         str(rig.ROOT / 'tests/python')]!r}
        from binding_rig import ask, item
        from pawl import _native
        from pawl._types import CheckRequest, HandleOptions
        handle = _native.Handle(HandleOptions({daemon.unix!r}))
        assert ask(handle, "check", CheckRequest((item(),))).allowed
    """)
    for _ in range(3):
        interpreter = interpreters.create()
        interpreters.run_string(interpreter, program)
        interpreters.destroy(interpreter)
    handle = rig.backend_class("native")(HandleOptions(daemon.unix))
    assert ask(handle, "check", CHECK).rates[0].count == 4
    handle.close()


def test_a_module_that_is_loaded_twice_works_twice(daemon):
    first = rig.backend_class("native")
    saved = sys.modules.pop("pawl._native")
    try:
        second = rig.backend_class("native")
        assert second is not first
        for native in (first, second):
            handle = native(HandleOptions(daemon.unix))
            assert ask(handle, "check", CHECK).allowed
            handle.close()
    finally:
        sys.modules["pawl._native"] = saved


def test_a_handle_at_the_end_of_the_interpreter_is_no_trouble(daemon):
    program = textwrap.dedent(f"""
        from pawl._native import Handle
        from pawl._types import CheckRequest, HandleOptions, Item, Rate
        class Late:
            def __del__(self):
                self.handle.process()
        late = Late()
        late.handle = Handle(HandleOptions({daemon.unix!r}))
        late.handle.submit_check(CheckRequest((Item((b"k",), (Rate(1, 1),)),)))
        late.handle.flush()
        late.itself = late
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_extension_uses_the_stable_abi_alone_and_shows_one_name():
    library = sys.modules[rig.backend_class("native").__module__].__file__
    assert library.endswith("_native.abi3.so")
    shown = subprocess.run(["nm", "-D", "--defined-only", library], check=True,
                           capture_output=True, text=True).stdout
    names = {line.split()[2] for line in shown.splitlines()}
    assert "PyInit__native" in names
    assert not [name for name in names if name.startswith("pawl_")], "libpawl's names are hidden"
