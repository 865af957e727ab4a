"""Rollouts of the chart's pods under load: what a platform team does with a release must fail no
request and lose no count.

The pods are those that the chart renders, run as Kubernetes would (tests/support/chart/kube.py),
on a redis-server with a replica and a Sentinel; eight clients (rollout_rig.py) know nothing but the
Service's name. The long forms take the chart's own times.
"""

import concurrent.futures
import json
import time

import pytest

from cluster_rig import Owners
from rollout_rig import AS_IT_IS, CONFIG, LIMIT, NEXT, SHORT, Keys, Load, Release, Tokens, rig
from tls import Authority

# Leases run out under a sanitizer's load.
pytestmark = [pytest.mark.release, pytest.mark.fleet,
              pytest.mark.skipif(not rig.namespaces_work(),
                                 reason="network namespaces need root, ip and nft")]
#: Settings that need a restart: their hash is an annotation of the pods.
OTHER = {**CONFIG, "memory_max": "48MiB"}


@pytest.fixture
def make_release(left_in_order):
    made = []

    def make(**values):
        made.append(Release(left_in_order, **values))
        return made[-1]

    yield make
    for release in made:
        release.close()


def orderly(kube):
    """Every pod that went has ended by itself, with all counts handed over; none was restarted."""
    for one in kube.past:
        assert (one.code, one.killed) == (0, False), kube.what_happened()
        text = one.pod.server.text()
        assert '"all_handed_over":true' in text, f"{one.name}: {text[-3000:]}"
    assert [one.name for one in [*kube.kubelets.values(), *kube.past] if one.restarts] == []


@pytest.mark.parametrize("times, steps, lasting_s", [
    pytest.param(SHORT, [{"config": OTHER, "image": {"tag": NEXT}}], 25, id="short"),
    pytest.param(AS_IT_IS, [{"config": OTHER}, {"config": OTHER, "image": {"tag": NEXT}}, {}], 150,
                 marks=pytest.mark.soak, id="long")])
def test_a_rolling_update_fails_no_request_and_loses_no_count(make_release, wire, times, steps,
                                                              lasting_s):
    """To other settings that need a restart, and to another version: the same binary under another
    version label, as the image of another tag. The long form takes both back at last."""
    release = make_release(**times)
    kube = release.kube
    release.install()
    installed = len(kube.events)
    load = Load(release, wire, lasting_s)
    versions = {member.status()["version"] for member in release.up()}
    for step in steps:
        kube.apply(release.render(**step), between=load.go_on)
        version, size = zip(*((one["version"], one["memory_max_bytes"])
                              for one in (member.status() for member in release.up())))
        assert set(size) == {(48 if "config" in step else 32) << 20}
        assert (set(version) == versions) == ("image" not in step) and len(set(version)) == 1
    release.settle()
    load.use_up()
    assert load.verify(release.up()[0]) >= 4  # each with libpawl was asked at a pod that went
    orderly(kube)
    # One after the other, from the last; the next when the one before is ready.
    assert [(pod, what) for _, what, pod in kube.events[installed:]] == [
        (f"pawl-{number}", what) for _ in steps for number in (2, 1, 0)
        for what in ("deleted", "ended", "made", "ready")], kube.what_happened()
    hosts = {one.host for one in [*kube.kubelets.values(), *kube.past]}
    assert len(hosts) == 3 + 3 * len(steps)


@pytest.mark.parametrize("times, rounds, lasting_s", [
    pytest.param(SHORT, 1, 15, id="short"),
    pytest.param(AS_IT_IS, 2, 150, marks=pytest.mark.soak, id="long")])
def test_one_pod_to_five_to_two_move_the_keys_whose_owner_changes(make_release, wire, times, rounds,
                                                                  lasting_s):
    """Pods come and go all at once, as podManagementPolicy says."""
    release = make_release(replicas=1, **times)
    release.install()
    load = Load(release, wire, lasting_s)
    keys = Keys(release, wire, 300)
    for replicas in (5, 2) * rounds:
        before = keys.look()
        release.kube.apply(release.render(replicas=replicas))
        release.settle()
        load.go_on()
        moved, least = keys.verify(before)
        print(f"to {replicas}: {moved} of {len(keys.slots)} keys moved, {least} had to")
        assert least > 0
        if replicas == 5:
            load.more()
    load.use_up()
    assert load.verify(release.up()[-1]) > 0
    orderly(release.kube)
    assert len(release.kube.past) == 3 * rounds


@pytest.mark.parametrize("times, noticed_s, lasting_s", [
    pytest.param(SHORT, 0, 25, id="short"),
    pytest.param(AS_IT_IS, 40, 120, marks=pytest.mark.soak, id="long")])
def test_a_member_lost_without_notice_is_missed_for_its_lease(make_release, wire, times, noticed_s,
                                                              lasting_s):
    """The owner of the counted key, with its machine; the Service leads to it until the control
    plane has noticed, @noticed_s after the loss at least, and later than the others did. Then the
    pod comes back elsewhere, with its name and its volume."""
    release = make_release(**times)
    kube = release.kube
    release.install()
    load = Load(release, wire, lasting_s, deadline_ms=1000)
    tokens = Tokens(release, wire)
    host = Owners(wire, release, b"counted").now().kubelet.host
    number, lost = next((n, one) for n, one in kube.kubelets.items() if one.host == host)
    victim = next(member for member in release.up() if member.kubelet is lost)
    tokens.revoke(victim)
    before, since = load.admitted(), time.monotonic()
    rig.wait_until(lambda: time.monotonic() > since + 1, "a second")
    rig.wait_until(lambda: victim.status()["counter_unsaved_age_ms"] < 800, "it saves")
    lost.lose()
    gone = time.monotonic()
    bound = load.admitted() - before  # what it admitted in the time that the age is in

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        normal = pool.submit(release.settle, 15)
        while not normal.done():
            assert tokens.right(release.up())
        normal.result()
    took_s = time.monotonic() - gone
    rig.wait_until(lambda: time.monotonic() > gone + noticed_s, "the control plane", 60)
    lost.missed()
    assert tokens.right(release.up())
    load.go_on()
    kube.replace(number)
    kube.wait_ready(number)
    release.settle()
    again = kube.kubelets[number]
    assert (again.name, len(release.up())) == (lost.name, 3) and again.host != host
    assert tokens.right(release.up())
    # A client leaves a connection that is silent when five deadlines have passed in a row.
    rig.wait_until(load.calm, "answers for all", 20)
    failed = load.failed()
    load.use_up()
    free, counted, figures = load.stop()
    admitted = sum(one["allowed"] for one in counted)
    print(f"normal after {took_s:.1f} s; {admitted} of {LIMIT} admitted, bound {bound} more; "
          f"{sum(failed)} requests failed")
    assert took_s < 5 + 5  # a lease, and what a busy machine adds
    assert admitted <= LIMIT + bound
    assert sum(one["denied"] for one in free) == 0
    assert [one["failed"] for one in figures] == failed, "it failed after all was normal"
    assert [one.name for one in release.kube.up() if one.restarts] == []


def reloads(member):
    status = member.status()
    return {name: status[name] for name in ("reloads", "reload_failures", "reload_ok",
                                            "tls_reloads", "tls_reload_failures")}


def all_within(release, condition, what, patience_s=2):
    """Until @condition of each member; how long the last took."""
    begun = time.monotonic()
    rig.wait_until(lambda: all(condition(member) for member in release.up()), what, patience_s)
    return time.monotonic() - begun


@pytest.mark.parametrize("times, rolled, lasting_s", [
    pytest.param(SHORT, 0, 15, id="short"),
    pytest.param(AS_IT_IS, 3, 90, marks=pytest.mark.soak, id="long")])
def test_settings_and_certificates_change_under_load(make_release, wire, times, rolled, lasting_s):
    """The kubelet swaps ..data: taken by all within two seconds, and what is wrong by none. The
    long form has a rolling update then: with TLS, members prove the name that all of them share."""
    release = make_release(**times, access={"anonymous": []}, tls={
        "enabled": True, "clients": [{"san": "dns:api.shop.svc", "role": ["check", "read"]}],
        "certManager": {"enabled": True, "issuerName": "ca"}})
    kube, authority = release.kube, Authority(release.folder)
    wanted = release.render().one("Certificate")["spec"]
    secret, names = wanted["secretName"], ",".join(f"DNS:{name}" for name in wanted["dnsNames"])

    def issue(name):
        certificate, key = authority.leaf(name, names)
        kube.held[secret] = {"tls.crt": certificate.read_text(), "tls.key": key.read_text(),
                             "ca.crt": authority.certificate.read_text()}
        return kube.held[secret]

    issue("first")
    mine, its_key = authority.leaf("api", "DNS:api.shop.svc")
    options = ["--tls-ca", authority.certificate, "--tls-cert", mine, "--tls-key", its_key]
    release.install()
    assert release.helm_test()["members"] == 3
    load = Load(release, wire, lasting_s, options=options, tls={
        "PAWL_TLS_CA": str(authority.certificate), "PAWL_TLS_CERTIFICATE": str(mine),
        "PAWL_TLS_KEY": str(its_key)})

    def asked(*words):
        return [release.ask("check", "--limit", "api", *words, options=options)[0]
                for _ in range(15)]

    assert asked("anna") == [0] * 10 + [1] * 5
    rendered = release.render(config={**CONFIG, "limits": {"api": {"rate": "12/hour"}}})
    kube.apply(rendered)
    took = all_within(release, lambda one: reloads(one)["reloads"] == 1, "the new limits")
    assert asked("anna")[:3] == [0, 0, 1]
    load.go_on()

    began = {member.name: reloads(member) for member in release.up()}
    fresh = issue("second")
    for one in kube.up():
        one.pod.rotate(secret, fresh)
    took_tls = all_within(release, lambda one: reloads(one)["tls_reloads"] ==
                          began[one.name]["tls_reloads"] + 1, "the new certificate")
    for one in kube.up():
        shown = release.shown(one, options)
        assert shown == fresh["tls.crt"].strip(), one.name
    load.go_on()
    print(f"settings taken after {took:.2f} s, certificates after {took_tls:.2f} s")

    broken = rendered.config.replace("12/hour", "12/fortnight")
    line = next(i for i, text in enumerate(broken.splitlines(), 1) if "fortnight" in text)
    before = {member.name: reloads(member) for member in release.up()}
    for one in kube.up():
        one.pod.volumes["config"].put({"pawld.yaml": broken})
    all_within(release, lambda one: reloads(one) == {
        **before[one.name], "reload_failures": before[one.name]["reload_failures"] + 1,
        "reload_ok": False}, "that it is refused")
    for member in release.up():
        refused = member.events("reload_refused")[-1]
        assert f"pawld.yaml:{line}:" in json.dumps(refused) and "fortnight" in json.dumps(refused)
        assert "\npawl_config_last_reload_successful 0\n" in release.metrics(member.kubelet)
    assert asked("berta") == [0] * 12 + [1] * 3
    load.go_on()

    kube.apply(release.render())
    all_within(release, lambda one: reloads(one)["reload_ok"], "what is right again")
    assert asked("carl") == [0] * 10 + [1] * 5
    assert kube.past == []
    if rolled:
        kube.apply(release.render(config=OTHER), between=load.go_on)
        release.settle()
    load.use_up()
    load.verify(release.up()[0])
    orderly(kube)
    assert len(kube.past) == rolled


@pytest.mark.parametrize("times, away", [
    pytest.param({**SHORT, "termination": {"gracePeriodSeconds": 15, "preStopSeconds": 1,
                                           "drainSeconds": 6}}, 1, id="short"),
    pytest.param(AS_IT_IS, 3, marks=pytest.mark.soak, id="long")])
def test_a_rolling_update_without_the_engine_keeps_revocations(make_release, wire, times, away):
    """Primary and replica are gone while @away of three pods are replaced, and come back empty. The
    update goes on, one pod after the other; no probe of liveness fails, so nobody restarts
    anything; each pod has what its volume holds."""
    release = make_release(**times)
    kube = release.kube
    release.install()
    installed = len(kube.events)
    tokens = Tokens(release, wire)
    tokens.revoke(release.up()[0])
    for member in release.up():  # the fact is on each disk: no level says that
        rig.wait_until(lambda one=member: one.status()["journal_kept"] >= len(tokens.revoked),
                       "all in the journal")
    assert tokens.right(release.up())
    steps = []

    def between():
        steps.append(time.monotonic())
        if len(steps) == 1:
            for engine in release.engines.engines:
                engine.kill()
        assert tokens.right([one for one in release.up() if one.kubelet.ready], stale=True)
        if len(steps) == 1 + away:
            for engine in release.engines.engines:
                engine.start()

    kube.apply(release.render(config=OTHER), between=between)
    release.settle(60)
    rig.wait_until(lambda: tokens.right(release.up()), "all fresh")
    everybody = [*kube.kubelets.values(), *kube.past]
    assert {one.name: (one.restarts, one.misses["liveness"], one.killed) for one in everybody
            } == dict.fromkeys(("pawl-0", "pawl-1", "pawl-2"), (0, 0, False))
    assert [(pod, what) for _, what, pod in kube.events[installed:] if what != "not ready"] == [
        (f"pawl-{number}", what) for number in (2, 1, 0)
        for what in ("deleted", "ended", "made", "ready")], kube.what_happened()
    # The engine has been told again: who comes with an empty volume knows it from there.
    kube.apply(release.render(config=OTHER, replicas=4))
    release.settle()
    assert tokens.right(release.up())


def not_ready_why(release, kubelet):
    return json.loads(release.http(kubelet, "/readyz"))["reasons"]


@pytest.mark.parametrize("times", [
    pytest.param({**SHORT, "termination": {"gracePeriodSeconds": 15, "preStopSeconds": 1,
                                           "drainSeconds": 6}}, id="short"),
    pytest.param(AS_IT_IS, marks=pytest.mark.soak, id="long")])
def test_without_volumes_a_rollout_waits_for_the_engine(make_release, wire, times):
    """A new pod that knows nothing is not ready while others may know: the next, whose memory is
    all that is left, stays. Where nobody knows anything there is nothing to wait for."""
    release = make_release(persistence={"enabled": False}, **times)
    kube, engines = release.kube, release.engines.engines
    release.install()
    assert release.helm_test()["members"] == 3
    tokens = Tokens(release, wire)
    tokens.revoke(release.up()[0])
    rig.wait_until(lambda: tokens.right(release.up()), "revoked everywhere")
    for engine in engines:
        engine.kill()

    kube.renew([2])
    fresh = kube.kubelets[2]
    period_s = fresh.pod.container["readinessProbe"]["periodSeconds"]
    kube.wait(lambda: fresh.misses["readiness"] * period_s > 18, "more than who is alone waits")
    assert not_ready_why(release, fresh) == ["facts_unknown"]
    old = [one for one in release.up() if one.kubelet is not fresh]
    assert len(old) == 2 and tokens.right(old, stale=True)
    assert (fresh.misses["liveness"], fresh.restarts) == (0, 0)
    for engine in engines:
        engine.start()
    kube.wait_ready(2)
    release.settle(60)
    rig.wait_until(lambda: tokens.right(release.up()), "told again by the old ones")

    for engine in engines:
        engine.kill()
    kube.renew([0, 1, 2])  # a power cut
    for number in range(3):
        kube.wait_ready(number)
    for member in release.up():
        assert len(member.events("ready_without_facts")) == 1, member.name
        assert tokens.statuses(member, tokens.revoked) == {wire.TOKEN_UNDECIDED}
    assert [one.restarts for one in kube.up()] == [0, 0, 0]
