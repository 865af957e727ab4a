"""May you: roles, owners, members, grants, scopes."""


def test_roles_are_required_per_view(api):
    plain = api.bearer("anna")
    api.role(api.person("cleo"), "editor")
    editor = api.access("cleo")
    body = {"name": "pin", "price_cents": 5}
    assert api.status("GET", "/products/", bearer=plain) == 200
    assert api.status("POST", "/products/", body, plain) == 403
    assert api.status("POST", "/products/", body, editor) == 201
    assert api.status("POST", "/organisations/", {"name": "x"}, editor) == 403
    api.role(api.person("mona"), "manager")
    assert api.status("POST", "/organisations/", {"name": "x"}, api.access("mona")) == 201
    assert api.status("POST", "/products/", body, api.bearer("root", is_staff=True)) == 201


def product(api):
    from documents.models import Product

    return str(Product.objects.create(name="pawl", price_cents=990).pk)


def test_orders_are_seen_by_their_owner_alone(api):
    anna, bert = api.bearer("anna"), api.bearer("bert")
    made = api.ask("POST", "/orders/", {"product": product(api), "quantity": 2}, anna).json()
    path = f"/orders/{made['id']}/"
    assert api.status("GET", path, bearer=anna) == 200
    assert api.status("GET", path, bearer=bert) == 404
    assert api.ask("GET", "/orders/", bearer=bert).json()["count"] == 0


def test_reviews_are_read_by_all_and_changed_by_their_owner(api):
    anna, bert = api.bearer("anna"), api.bearer("bert")
    made = api.ask("POST", "/reviews/", {"product": product(api), "stars": 4}, anna).json()
    path = f"/reviews/{made['id']}/"
    assert [api.status("GET", path, bearer=one) for one in (bert, "")] == [200, 200]
    for method in ("PATCH", "DELETE"):
        assert api.status(method, path, {"stars": 1}, bert) == 403
        assert api.status(method, path, {"stars": 1}) == 401
    assert api.status("PATCH", path, {"stars": 5}, anna) == 200
    assert api.status("DELETE", path, bearer=anna) == 204


def test_a_document_is_deleted_and_shared_by_its_owner_or_staff(api):
    anna, bert = api.bearer("anna"), api.bearer("bert")
    root = api.bearer("root", is_staff=True)
    me = api.me(bert).json()["id"]
    for who in (anna, root):
        path = f"/documents/{api.document(anna)['id']}/"
        assert api.status("POST", path + "share/", {"user": me, "may_change": True}, who) == 204
        assert api.status("PATCH", path, {"title": "mine now"}, bert) == 200
        assert api.status("POST", path + "share/", {"user": me}, bert) == 403
        assert api.status("DELETE", path, bearer=bert) == 403
        assert api.status("DELETE", path, bearer=who) == 204


def test_grants_are_made_with_the_document_and_checked_by_method(api):
    anna, bert = api.bearer("anna"), api.bearer("bert")
    path = f"/documents/{api.document(anna)['id']}/"
    me = api.me(bert).json()["id"]
    assert [api.status(method, path, {"title": "x"}, bert) for method in (
        "GET", "PUT", "PATCH", "DELETE")] == [404] * 4
    api.ask("POST", path + "share/", {"user": me}, anna)
    assert [api.status(method, path, {"title": "x"}, bert) for method in (
        "GET", "PUT", "PATCH", "DELETE")] == [200, 403, 403, 403]
    api.ask("POST", path + "share/", {"user": me, "may_change": True}, anna)
    assert api.status("PATCH", path, {"title": "x"}, bert) == 200
    assert api.ask("GET", "/documents/", bearer=bert).json()["count"] == 1
    api.ask("DELETE", path + "share/", {"user": me}, anna)
    assert api.status("GET", path, bearer=bert) == 404
    assert api.ask("GET", "/documents/", bearer=bert).json()["count"] == 0


def test_members_of_the_organisation_read_its_documents(api):
    from documents.models import Organisation

    anna, bert, dora = (api.person(name) for name in ("anna", "bert", "dora"))
    ours = Organisation.objects.create(name="Ratchet Ltd")
    ours.members.add(anna, bert)
    access = {name: api.access(name) for name in ("anna", "bert", "dora")}
    path = f"/documents/{api.document(access['anna'], organisation=str(ours.pk))['id']}/"
    assert [api.status("GET", path, bearer=access[name]) for name in access] == [200, 200, 404]
    assert api.status("PATCH", path, {"title": "x"}, access["bert"]) == 403
    ours.members.remove(bert)
    assert api.status("GET", path, bearer=access["bert"]) == 404
    foreign = api.ask("POST", "/documents/", {"title": "x", "organisation": str(ours.pk)},
                      access["dora"])
    assert "organisation" in foreign.json()["fields"]


def test_staff_reads_every_document_and_changes_none(api):
    anna, root = api.bearer("anna"), api.bearer("root", is_staff=True)
    path = f"/documents/{api.document(anna)['id']}/"
    assert api.status("GET", path, bearer=root) == 200
    assert api.status("PATCH", path, {"title": "x"}, root) == 403


def test_reading_and_writing_want_their_own_scopes(api):
    api.application()
    body = {"name": "pin", "price_cents": 5}
    reads, writes = (api.client_token(f"products:{kind}") for kind in ("read", "write"))
    assert [api.status("GET", "/products/", bearer=one) for one in (reads, writes)] == [200, 403]
    assert [api.status("POST", "/products/", body, one) for one in (reads, writes)] == [403, 201]
    assert api.status("GET", "/products/", bearer=api.client_token("orders:read")) == 403


def test_a_token_for_products_does_not_reach_the_account(api):
    user = api.person()
    _, token = api.service_token(user, "products:read products:write")
    assert api.status("GET", "/products/", bearer=token) == 200
    for method, path in (("GET", "/me/"), ("GET", "/documents/"), ("PATCH", "/me/")):
        assert api.status(method, path, {}, token) == 403
